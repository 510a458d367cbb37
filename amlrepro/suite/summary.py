"""A plan in numbers: what is missing, what it costs, what sharing saves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from amlrepro.suite.plan import Plan, PlannedRun
from amlrepro.suite.store import Store


@dataclass(frozen=True)
class RunSummary:
    """One planned run beside the store. hours, hours_left: A800 hours by the paper's rates, None where unknown."""

    planned: PlannedRun
    state: str
    epoch: int
    evals_there: int
    hours: float | None
    hours_left: float | None

    @property
    def complete(self) -> bool:
        return self.hours_left in (None, 0.0) and self.epoch >= self.planned.until and self.all_evaluated

    @property
    def all_evaluated(self) -> bool:
        return self.evals_there == len(self.planned.evals)


@dataclass(frozen=True)
class PlanSummary:
    """Totals. rows_served: rows of blocks that the runs feed, each counted once a run: what would be trained without
    sharing; hours_unshared: what that would cost."""

    runs: tuple[RunSummary, ...]
    evals: int
    evals_there: int
    hours: float | None
    hours_left: float | None
    rows_served: int
    hours_unshared: float | None
    unavailable: tuple[str, ...]


def summarize(plan: Plan, store: Store | None) -> PlanSummary:
    """Set a plan beside the store (None: beside nothing)."""
    runs = tuple(_run(planned, store) for planned in plan.runs.values())
    served = {run.planned.run_id: _rows(plan, run.planned) for run in runs}
    return PlanSummary(
        runs=runs,
        evals=sum(len(run.planned.evals) for run in runs),
        evals_there=sum(run.evals_there for run in runs),
        hours=_total(run.hours for run in runs),
        hours_left=_total(run.hours_left for run in runs),
        rows_served=sum(served.values()),
        hours_unshared=_total(None if run.hours is None else run.hours * served[run.planned.run_id] for run in runs),
        unavailable=tuple(dict.fromkeys(cell.reason for cell in plan.cells if cell.reason)),
    )


def as_json(plan: Plan, summary: PlanSummary) -> dict[str, Any]:
    """The plan as plain values, for `--json`."""
    return {
        "profile": plan.profile,
        "source": plan.source,
        "data_root": plan.data_root,
        "preset": plan.preset,
        "seeds": list(plan.seeds),
        "experiments": [experiment.id for experiment in plan.experiments],
        "runs": [
            {
                "run_id": run.planned.run_id,
                "preset": run.planned.preset,
                "train": run.planned.config.data.train,
                "seed": run.planned.config.seed,
                "until": run.planned.until,
                "state": run.state,
                "epoch": run.epoch,
                "evaluations": [evaluation.eval_id for evaluation in run.planned.evals],
                "evaluations_there": run.evals_there,
                "a800_hours": run.hours,
                "a800_hours_left": run.hours_left,
                "used_by": run.planned.used_by,
            }
            for run in summary.runs
        ],
        "evaluations": summary.evals,
        "evaluations_there": summary.evals_there,
        "a800_hours": summary.hours,
        "a800_hours_left": summary.hours_left,
        "rows_served": summary.rows_served,
        "a800_hours_unshared": summary.hours_unshared,
        "unavailable": list(summary.unavailable),
    }


def _run(planned: PlannedRun, store: Store | None) -> RunSummary:
    if store is None:
        return RunSummary(planned, "unknown", 0, 0, planned.cost_hours, planned.cost_hours)
    status, missing = store.status(planned.run_id), store.missing(planned)
    left = None if planned.cost_hours is None else planned.cost_hours * missing.epochs / planned.until
    there = len(planned.evals) - len(missing.evals)
    return RunSummary(planned, status.state, status.epoch, there, planned.cost_hours, left)


def _rows(plan: Plan, planned: PlannedRun) -> int:
    """How many rows of blocks a run feeds; what only a check needs is no row."""
    checks = {f"{check.experiment}/{check.name}" for check in plan.checks}
    return sum(user not in checks for user in planned.used_by)


def _total(values: Any) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
