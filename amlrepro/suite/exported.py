"""What exporters share: where they may write, and what they say of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amlrepro.data.specs import is_multi_target
from amlrepro.errors import UserError
from amlrepro.metrics.compute import DEFAULT_METRICS, GENERALIZED_METRICS
from amlrepro.metrics.summary import MetricValue, read_metrics


@dataclass(frozen=True)
class Exported:
    """files: written, in order. left_out: what was not, with the reason."""

    folder: Path
    files: tuple[Path, ...]
    left_out: tuple[str, ...] = ()


def usual_metrics(path: Path, meta: Mapping[str, Any]) -> dict[str, MetricValue]:
    """The metrics that evaluations of this kind are summarised by. path: the evaluation's JSON; meta: its content."""
    names = GENERALIZED_METRICS if is_multi_target(meta["eval"]["dataset"]) else DEFAULT_METRICS
    return read_metrics(path, names, values=meta)


def claim_folder(folder: Path, force: bool) -> None:
    """Raise `UserError` for a folder that is a file, or is not empty without `force`; what is there stays."""
    if folder.exists() and not folder.is_dir():
        raise UserError("not a folder", where=folder)
    if folder.is_dir() and not force:
        there = sorted(path.name for path in folder.iterdir())
        if there:
            found = ", ".join(there[:3]) + (", ..." if len(there) > 3 else "")
            hint = "name another folder, or replace files of the same names by --force"
            raise UserError("this folder is not empty", where=folder, found=found, hint=hint)
