"""Runs by the names a user types: an id, or the beginning of one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from amlrepro.config import PROFILES
from amlrepro.errors import UserError, unknown_name
from amlrepro.suite.orders import read_orders
from amlrepro.suite.store import Store

AnyProfile = Annotated[str | None, typer.Option("--profile", help="Only this profile.", show_default="all")]


def stores(root: Path, profile: str | None) -> list[Store]:
    """The stores under a folder: one profile's, or all. Raises `UserError` for an unknown profile."""
    if profile is not None and profile not in PROFILES:
        raise unknown_name("profile", profile, PROFILES)
    return [Store(root, name) for name in PROFILES if profile in (None, name)]


def find_run(root: Path, profile: str | None, name: str) -> tuple[Store, str]:
    """The run called `name`, or the only one whose id begins so, and its store; raises `UserError` for none or many."""
    return _one(root, _known(root, profile), name)


def choose_runs(root: Path, profile: str | None, names: Sequence[str]) -> list[tuple[Store, str]]:
    """The runs meant by names of runs (or beginnings) and of experiments that were asked for, each once; all of them
    where there are no names. Raises `UserError` for a name that is neither."""
    runs = _known(root, profile)
    if not names:
        return [(store, run_id) for store, run_id, _ in runs]
    chosen: dict[tuple[str, str], tuple[Store, str]] = {}
    for name in names:
        fed = [(store, run_id) for store, run_id, feeds in runs if name in feeds]
        for store, run_id in fed or [_one(root, runs, name)]:
            chosen[store.profile, run_id] = store, run_id
    return list(chosen.values())


def _known(root: Path, profile: str | None) -> list[tuple[Store, str, set[str]]]:
    """All runs that there are or that were asked for, with the experiments they feed."""
    out = []
    for store in stores(root, profile):
        feeds: dict[str, set[str]] = {run_id: set() for run_id in store.run_ids()}
        for order in read_orders(store):
            for run_id, run in order.values["runs"].items():
                feeds.setdefault(run_id, set()).update(user.partition("/")[0] for user in run["used_by"])
        out += [(store, run_id, names) for run_id, names in feeds.items()]
    return out


def _one(root: Path, runs: Sequence[tuple[Store, str, set[str]]], name: str) -> tuple[Store, str]:
    found = [(store, run_id) for store, run_id, _ in runs if run_id.startswith(name)]
    exact = [pair for pair in found if pair[1] == name]
    if not found:
        if not runs:
            raise UserError(f"unknown run {name!r}", where=root, found="a store without runs")
        names = dict.fromkeys([*(run_id for _, run_id, _ in runs), *sorted(set().union(*(fed for *_, fed in runs)))])
        raise unknown_name("run", name, names, root)
    if len(exact or found) > 1:
        listed = ", ".join(f"{run_id} ({store.profile})" for store, run_id in exact or found)
        hint = "choose one by --profile" if exact else "give more of the id"
        raise UserError(f"several runs begin with {name!r}", found=listed, hint=hint)
    return (exact or found)[0]
