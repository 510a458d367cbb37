"""Runs by the names a user types: an id, or the beginning of one."""

from __future__ import annotations

from pathlib import Path

from amlrepro.config import PROFILES
from amlrepro.errors import UserError, unknown_name
from amlrepro.suite.store import Store


def stores(root: Path, profile: str | None) -> list[Store]:
    """The stores under a folder: one profile's, or all. Raises `UserError` for an unknown profile."""
    if profile is not None and profile not in PROFILES:
        raise unknown_name("profile", profile, PROFILES)
    return [Store(root, name) for name in PROFILES if profile in (None, name)]


def find_run(root: Path, profile: str | None, name: str) -> tuple[Store, str]:
    """The run called `name`, or the only one whose id begins so, and its store; raises `UserError` for none or many."""
    runs = [(store, run_id) for store in stores(root, profile) for run_id in store.run_ids()]
    found = [pair for pair in runs if pair[1].startswith(name)]
    exact = [pair for pair in found if pair[1] == name]
    if not found:
        if not runs:
            raise UserError(f"unknown run {name!r}", where=root, found="a store without runs")
        raise unknown_name("run", name, [run_id for _, run_id in runs], root)
    if len(exact or found) > 1:
        listed = ", ".join(f"{run_id} ({store.profile})" for store, run_id in exact or found)
        hint = "choose one by --profile" if exact else "give more of the id"
        raise UserError(f"several runs begin with {name!r}", found=listed, hint=hint)
    return (exact or found)[0]
