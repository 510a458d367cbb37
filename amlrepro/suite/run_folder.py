"""What a run's folder holds, told from names and `state.json`: quick, for hundreds of runs. Torch-free."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amlrepro.errors import UserError
from amlrepro.files import read_json
from amlrepro.rundir import RunDir


@dataclass(frozen=True)
class RunFolder:
    """What a run's folder holds. asked: epochs and results asked for, None for runs of no order."""

    run: RunDir
    names: frozenset[str]
    state: dict[str, Any]
    there: frozenset[str]
    asked: tuple[int, tuple[str, ...]] | None

    @property
    def epoch(self) -> int:
        """Epochs that are over."""
        return int(self.state.get("epoch", 0))

    def has(self, what: str) -> bool:
        """Whether an evaluation, a probe or a row of the history is there."""
        kind, _, name = what.partition("/")
        return self.epoch >= int(name) if kind == "epochs" else what in self.there

    @property
    def begun(self) -> bool:
        """Whether anyone has ever started it."""
        return "config.yaml" in self.names

    @property
    def complete(self) -> bool:
        """Whether everything asked for is there."""
        return self.asked is None or (self.epoch >= self.asked[0] and all(map(self.has, self.asked[1])))


def read_folder(run: RunDir, asked: tuple[int, tuple[str, ...]] | None) -> RunFolder:
    """Look at a run's folder; one that is not there holds nothing."""
    names = frozenset(names_in(run.path))
    state: dict[str, Any] = {}
    if "state.json" in names:
        with contextlib.suppress(UserError, OSError):
            state = dict(read_json(run.state))
    there = set()
    if "evals" in names:
        files = frozenset(names_in(run.evals))
        stems = {name.removesuffix(".parquet") for name in files if name.endswith(".parquet")}
        there |= {f"evals/{stem}" for stem in stems if f"{stem}.json" in files}
    if "probes" in names:
        there |= {f"probes/{name.removesuffix('.json')}" for name in names_in(run.probes) if name.endswith(".json")}
    return RunFolder(run, names, state, frozenset(there), asked)


def names_in(folder: Path) -> list[str]:
    """Names in a folder, sorted, without those that begin with a dot; none where there is no folder."""
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []
