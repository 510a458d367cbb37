"""A store in memory: runs done, with the printed numbers as results, noise, and what a test wants to be true."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from injected_store import _entries, _numbers

from amlrepro.config import EvalConfig, ProbeConfig
from amlrepro.metrics.summary import BOOTSTRAP
from amlrepro.suite.plan import Plan, PlannedRun
from amlrepro.suite.snapshot import Snapshot
from amlrepro.suite.store import RunStatus, Store

Change = Callable[[PlannedRun, EvalConfig], float]  # points to add to every metric of an evaluation


class MemoryStore(Snapshot):
    """Results of plans without a file. samples: of every evaluation, or by `dataset split`."""

    def __init__(self, profile: str = "paper") -> None:
        super().__init__(Store(Path("/nowhere"), profile))
        self._files: dict[Path, Any] = {}
        self._runs: dict[str, PlannedRun] = {}
        self._numbers: dict[str, dict[str, dict[str, float]]] = {}

    def put(
        self,
        plan: Plan,
        sigma: float = 0.0,
        change: Change | None = None,
        samples: Mapping[str, int] | None = None,
        random_seed: int = 0,
    ) -> MemoryStore:
        """All runs of a plan: printed numbers, normal noise (most of it the same for all metrics and splits of a run),
        and `change`."""
        random = np.random.default_rng(random_seed)
        numbers = _numbers(plan)
        for run in plan.runs.values():
            self._runs[run.run_id] = run
            own = random.normal(0, sigma)
            mine: dict[str, dict[str, float]] = {}
            for (run_id, what, field, subset), number in numbers.items():
                if run_id == run.run_id:
                    mine.setdefault(f"{what} {subset}", {})[field] = number
            self._numbers[run.run_id] = mine
            for evaluation in run.evals:
                shift = own + random.normal(0, sigma / 10) + (change(run, evaluation) if change else 0.0)
                self._files[self.run(run.run_id).eval_meta(evaluation.eval_id)] = {
                    **self._meta(run, evaluation, shift),
                    "samples": (samples or {}).get(f"{evaluation.dataset} {evaluation.split}", 12),
                }
        return self

    def read(self, path: Path) -> Any:
        """What would lie there."""
        return self._files.get(path)

    def eval_present(self, run_id: str, evaluation: EvalConfig) -> bool:
        """Whether it was put there."""
        return self.run(run_id).eval_meta(evaluation.eval_id) in self._files

    def status(self, run_id: str) -> RunStatus:
        """Done, or absent."""
        run = self._runs.get(run_id)
        return RunStatus(run_id, "done" if run else "absent", run.until if run else 0, None, None, False)

    def probe_values(self, run_id: str, probe: ProbeConfig) -> dict[str, Any] | None:
        """The printed numbers of a probe."""
        found = self._numbers.get(run_id, {}).get(f"{probe.probe_id} ")
        return None if found is None else {"values": found, "epoch": 1}

    def epoch_rows(self, run_id: str) -> dict[int, dict[str, Any]]:
        """The printed losses."""
        found = self._numbers.get(run_id, {})
        rows = {k.strip().removeprefix("epoch"): v for k, v in found.items() if k.startswith("epoch")}
        return {int(epoch): dict(row) for epoch, row in rows.items() if epoch.isdecimal()}

    def _meta(self, run: PlannedRun, evaluation: EvalConfig, shift: float) -> dict[str, Any]:
        summary: dict[str, Any] = {"records": "made up", "bootstrap": BOOTSTRAP}
        for subset in ("all", "unseen"):
            mine = self._numbers[run.run_id].get(f"{evaluation.eval_id} {subset}", {})
            part = {"samples": 12, "images": 6, "metrics": dict(_entries({n: v + shift for n, v in mine.items()}))}
            summary |= part if subset == "all" else {"unseen": part}
        return {"eval_id": evaluation.eval_id, "epoch": run.until, "records_sha256": "made up", "summary": summary}
