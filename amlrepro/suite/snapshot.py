"""A store for one report: every file is read once, and long calculations are done once for as long as they hold."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

from amlrepro.config import EvalConfig
from amlrepro.errors import UserError
from amlrepro.files import canonical_hash, read_json, write_json
from amlrepro.rundir import RunDir
from amlrepro.suite.store import RunStatus, Store, T


class Snapshot(Store):
    """A store that remembers what it has read, for as long as one report takes. What is there and how
    far runs are is taken when it is first asked for, and so is what is `remembered` (cells, arms); a file that has
    changed is read again.

    Results of `calculated` are kept in `cache.json` of the store by what they were calculated from, and written by
    `keep`.
    """

    def __init__(self, store: Store) -> None:
        super().__init__(store.root, store.profile)
        self._values: dict[Path, tuple[tuple[int, int], Any]] = {}
        self._states: dict[str, RunStatus] = {}
        self._folders: dict[str, RunDir] = {}
        self._present: dict[tuple[str, EvalConfig], bool] = {}
        self._remembered: dict[Hashable, Any] = {}
        self._cache = self.folder / "cache.json"
        self._calculated: dict[str, Any] | None = None
        self._changed = False

    def run(self, run_id: str) -> RunDir:
        """The folder of a run."""
        if run_id not in self._folders:
            self._folders[run_id] = super().run(run_id)
        return self._folders[run_id]

    def read(self, path: Path) -> Any:
        """The JSON value of a file of the store; None where there is none. Not to be changed by who reads it."""
        try:
            found = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        stamp = (found.st_mtime_ns, found.st_size)
        known = self._values.get(path)
        if known is None or known[0] != stamp:
            self._values[path] = known = (stamp, read_json(path))
        return known[1]

    def status(self, run_id: str) -> RunStatus:
        """State of one run."""
        if run_id not in self._states:
            self._states[run_id] = super().status(run_id)
        return self._states[run_id]

    def eval_present(self, run_id: str, evaluation: EvalConfig) -> bool:
        """Whether the records of an evaluation are there and are of the run's present weights."""
        key = (run_id, evaluation)
        if key not in self._present:
            self._present[key] = super().eval_present(run_id, evaluation)
        return self._present[key]

    def remembered(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gave when it was first asked for under this key."""
        if key not in self._remembered:
            self._remembered[key] = make()
        value: T = self._remembered[key]
        return value

    def calculated(self, kind: str, origin: Any, calculate: Callable[[], Any]) -> Any:
        """The JSON value that `calculate` gives, from the cache where that has it."""
        if origin is None:
            return calculate()
        if self._calculated is None:
            with contextlib.suppress(UserError, FileNotFoundError):  # a broken cache is no cache
                self._calculated = read_json(self._cache)
            if not isinstance(self._calculated, dict):
                self._calculated = {}
        key = canonical_hash([kind, origin], 24)
        if key not in self._calculated:
            self._calculated[key] = calculate()
            self._changed = True
        return self._calculated[key]

    def keep(self) -> None:
        """Write what was calculated anew; a store that cannot be written is still readable."""
        if self._changed:
            with contextlib.suppress(UserError):
                write_json(self._cache, self._calculated)
            self._changed = False
