"""A store with the printed numbers as results, plus noise between seeds and whatever a test wants to be true."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from injected_store import inject

from amlrepro.config import EvalConfig
from amlrepro.files import read_json, write_json
from amlrepro.suite.plan import Plan, PlannedRun
from amlrepro.suite.store import Store

Change = Callable[[PlannedRun, EvalConfig, str], float]  # run, evaluation, metric -> points to add


def fill_seeds(store: Store, plan: Plan, sigma: float, change: Change | None = None, random_seed: int = 0) -> None:
    """Inject the printed numbers, then move each metric of each evaluation by normal noise, most of it the same for all
    of a run's metrics and splits, and by `change`."""
    inject(store, plan)
    random = np.random.default_rng(random_seed)
    for run in plan.runs.values():
        own = random.normal(0, sigma)
        for evaluation in run.evals:
            path = store.run(run.run_id).eval_meta(evaluation.eval_id)
            values = dict(read_json(path))
            _shift(values["summary"]["metrics"], run, evaluation, own + random.normal(0, sigma / 10), change)
            write_json(path, values)


def set_samples(store: Store, plan: Plan, counts: Mapping[str, int]) -> None:
    """Say of every evaluation that its split's samples are all there. counts: by `dataset split`."""
    for run in plan.runs.values():
        for evaluation in run.evals:
            path = store.run(run.run_id).eval_meta(evaluation.eval_id)
            values = dict(read_json(path))
            values["samples"] = counts.get(f"{evaluation.dataset} {evaluation.split}", values["samples"])
            write_json(path, values)


def _shift(
    metrics: dict[str, dict[str, float]], run: PlannedRun, evaluation: EvalConfig, noise: float, change: Change | None
) -> None:
    for name, entry in metrics.items():
        points = noise + (change(run, evaluation, name) if change else 0.0)
        for key in ("value", "low", "high"):
            entry[key] += points
