"""Strict loading with one clear message."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from amlrepro.errors import UserError
from amlrepro.models.identify import describe


def some(keys: list[str], n: int = 8) -> str:
    """The first `n` names and how many more there are."""
    return ", ".join(keys[:n]) + (f" and {len(keys) - n} more" if len(keys) > n else "")


def mismatches(expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """Names that are missing, left over, or of another shape; empty where all fits."""
    shapes = [
        f"{key} {tuple(tensors[key].shape)} instead of {tuple(value.shape)}"
        for key, value in expected.items()
        if key in tensors and tensors[key].shape != value.shape
    ]
    found = {
        "missing": [key for key in expected if key not in tensors],
        "unexpected": [key for key in tensors if key not in expected],
        "of another shape": shapes,
    }
    return {kind: keys for kind, keys in found.items() if keys}


def misfit(what: str, found: Mapping[str, list[str]], where: object) -> UserError:
    """The error for weights that do not fit, with the keys."""
    text = "; ".join(f"{len(keys)} {kind}: {some(keys)}" for kind, keys in found.items())
    return UserError(f"the weights do not fit {what}", where=where, found=text, expected="every key, and no other")


def load_fitting(
    module: nn.Module, tensors: Mapping[str, Tensor], source: str | Path | Mapping[str, Any], what: str
) -> None:
    """Copy `tensors` into `module`, which must want exactly these; raises `UserError` otherwise, and copies nothing."""
    where: object = "a state dict in memory" if isinstance(source, Mapping) else source
    expected = module.state_dict()
    found = mismatches(expected, tensors)
    if not found:
        module.load_state_dict(dict(tensors))
        return
    if not set(expected) & set(tensors):
        raise UserError(f"this is no {what} file", where=where, found=describe(tensors))
    raise misfit(what, found, where)
