"""A plan in numbers: what is missing, what it costs, what sharing saves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from amlrepro.suite.benched import Measures, read_measures
from amlrepro.suite.plan import Plan, PlannedRun
from amlrepro.suite.rates import PAPER, Price, Rates, price
from amlrepro.suite.store import Store


@dataclass(frozen=True)
class RunSummary:
    """One planned run beside the store. hours, hours_left: GPU hours of its training, price: of all of it, by the rates
    of the summary; None where unknown."""

    planned: PlannedRun
    state: str
    epoch: int
    evals_there: int
    probes_there: int
    hours: float | None
    hours_left: float | None
    price: Price

    @property
    def trained(self) -> bool:
        """Whether this takes a training at all; time and memory are measured without one."""
        return self.planned.until > 0

    @property
    def training_done(self) -> bool:
        return self.trained and self.state != "unknown" and self.epoch >= self.planned.until


@dataclass(frozen=True)
class PlanSummary:
    """Totals. rows_served: rows of blocks that the runs feed, each counted once a run; asked: trainings of all tables
    and figures when each trains for itself; trainings: unique ones; trainings_done: those in the store. hours, ...:
    GPU hours by `rates`; hours_unshared: of `asked`; measures: what was benched of the measures for speed, and
    hours_fast what training and scoring cost together with all of them."""

    runs: tuple[RunSummary, ...]
    trainings: int
    trainings_done: int
    asked: int
    rows_served: int
    evals: int
    evals_there: int
    probes: int
    probes_there: int
    hours: float | None
    hours_left: float | None
    hours_unshared: float | None
    validation_hours: float | None
    evaluation_hours: float | None
    probe_hours: float | None
    unavailable: tuple[str, ...]
    rates: Rates = PAPER
    measures: Measures | None = None
    hours_fast: float | None = None

    @property
    def hours_in_all(self) -> float | None:
        """GPU hours of training and scoring together."""
        return _total([self.hours, self.validation_hours, self.evaluation_hours, self.probe_hours])


def summarize(plan: Plan, store: Store | None, rates: Rates = PAPER) -> PlanSummary:
    """Set a plan beside the store (None: beside nothing), and price it."""
    runs = tuple(_run(planned, store, price(planned, plan, rates)) for planned in plan.runs.values())
    trained = [run for run in runs if run.trained]
    asking = {run.planned.run_id: _experiments(run.planned) for run in trained}
    measures = read_measures(store.root, store.profile) if store is not None else None
    reasons = [cell.reason for cell in plan.cells] + [figure.reason for figure in plan.figures]
    return PlanSummary(
        runs=runs,
        trainings=len(trained),
        trainings_done=sum(run.training_done for run in trained),
        asked=sum(asking.values()),
        rows_served=sum(_rows(plan, run.planned) for run in trained),
        evals=sum(len(run.planned.evals) for run in runs),
        evals_there=sum(run.evals_there for run in runs),
        probes=sum(len(run.planned.probes) for run in runs),
        probes_there=sum(run.probes_there for run in runs),
        hours=_total(run.hours for run in runs),
        hours_left=_total(run.hours_left for run in runs),
        hours_unshared=_total(None if r.hours is None else r.hours * asking[r.planned.run_id] for r in trained),
        validation_hours=_total(run.price.validation for run in runs),
        evaluation_hours=_total(run.price.evaluation for run in runs),
        probe_hours=_total(run.price.probes for run in runs),
        unavailable=tuple(dict.fromkeys(reason for reason in reasons if reason)),
        rates=rates,
        measures=measures,
        hours_fast=_total(_fast(measures, run) for run in runs) if measures else None,
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
                "probes": [probe.probe_id for probe in run.planned.probes],
                "probes_there": run.probes_there,
                "gpu_hours": run.hours,
                "gpu_hours_left": run.hours_left,
                "gpu_hours_validation": run.price.validation,
                "gpu_hours_evaluation": run.price.evaluation,
                "gpu_hours_probes": run.price.probes,
                "used_by": run.planned.used_by,
            }
            for run in summary.runs
        ],
        "gpu": summary.rates.gpu,
        "rates": [
            {"kind": each.kind, "gpu": each.gpu, "images_per_s": each.images_per_s, "runs": each.runs}
            for each in summary.rates.measured.values()
        ],
        "trainings": summary.trainings,
        "trainings_done": summary.trainings_done,
        "trainings_asked": summary.asked,
        "evaluations": summary.evals,
        "evaluations_there": summary.evals_there,
        "probes": summary.probes,
        "probes_there": summary.probes_there,
        "gpu_hours": summary.hours,
        "gpu_hours_left": summary.hours_left,
        "gpu_hours_validation": summary.validation_hours,
        "gpu_hours_evaluation": summary.evaluation_hours,
        "gpu_hours_probes": summary.probe_hours,
        "rows_served": summary.rows_served,
        "gpu_hours_unshared": summary.hours_unshared,
        "gpu_hours_in_all": summary.hours_in_all,
        "gpu_hours_with_all_measures": summary.hours_fast,
        "unavailable": list(summary.unavailable),
    }


def _run(planned: PlannedRun, store: Store | None, costs: Price) -> RunSummary:
    if store is None:
        return RunSummary(planned, "unknown", 0, 0, 0, costs.training, costs.training, costs)
    status, missing = store.status(planned.run_id), store.missing(planned)
    left = costs.training
    if left is not None and planned.until:
        left *= missing.epochs / planned.until
    evals, probes = len(planned.evals) - len(missing.evals), len(planned.probes) - len(missing.probes)
    return RunSummary(planned, status.state, status.epoch, evals, probes, costs.training, left, costs)


def _fast(measures: Measures, run: RunSummary) -> float | None:
    """A run's hours with all measures for speed."""
    costs = run.price
    if costs.training is None:
        return None
    scoring = sum(hours or 0.0 for hours in (costs.validation, costs.evaluation, costs.probes))
    return measures.hours(run.planned.config, costs.training, scoring)


def _experiments(planned: PlannedRun) -> int:
    """How many tables and figures need a run."""
    return len({user.split("/")[0] for user in planned.used_by})


def _rows(plan: Plan, planned: PlannedRun) -> int:
    """How many rows of blocks a run feeds; what only a check needs is no row."""
    checks = {f"{check.experiment}/{check.name}" for check in plan.checks}
    return sum(user not in checks for user in planned.used_by)


def _total(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
