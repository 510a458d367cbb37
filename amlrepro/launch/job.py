"""What a worker is told to do: one file a job, so that any executor can start it by command."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from amlrepro.config import EvalConfig, ProbeConfig, RunConfig
from amlrepro.errors import UserError
from amlrepro.files import read_json, write_json
from amlrepro.rundir import RunDir
from amlrepro.schema import Strict, parse_strict
from amlrepro.suite.checkpoints import length
from amlrepro.suite.plan import PlannedRun
from amlrepro.suite.store import Missing, Store

# Exit codes of a worker.
DONE, CRASHED, USER_ERROR, HELD = 0, 1, 2, 75


class Job(Strict):
    """One run's work: train to `config.exec.until` when `train`, then the evaluations and the probes, in order.

    fresh: delete what the run has left first.
    """

    folder: str
    config: RunConfig
    train: bool
    evals: list[EvalConfig]
    probes: list[ProbeConfig] = Field(default_factory=list)
    fresh: bool = False

    @property
    def run(self) -> RunDir:
        return RunDir(Path(self.folder))

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.train or self.evals or self.probes)


@dataclass(frozen=True)
class Task:
    """A job with what a launcher needs to order and show it. weight: relative length. alone: nothing else may run on
    this machine meanwhile, since time and memory are measured."""

    job: Job
    planned: PlannedRun
    weight: float
    alone: bool = False

    @property
    def run_id(self) -> str:
        return self.planned.run_id

    @property
    def name(self) -> str:
        """What the task is called; a run and the measurement of its cost are two."""
        return f"{self.run_id} (time and memory)" if self.alone else self.run_id


def make_tasks(store: Store, runs: Iterable[PlannedRun], fresh: bool = False) -> list[Task]:
    """Tasks for what is missing of the planned runs (all of it when `fresh`), longest first; measurements of time and
    memory come last, each by itself. Raises `UserError` where training would replace an imported run."""
    tasks, measurements = [], []
    for planned in runs:
        initial = planned.until == 0 and bool(planned.milestones)
        whole = Missing(planned, planned.until, tuple(planned.evals), tuple(planned.probes), initial)
        missing = whole if fresh else store.missing(planned)
        if missing.nothing:
            continue
        if missing.epochs and not fresh and store.without_weights(planned.run_id):
            raise _needs_weights(store, planned)
        cost = [probe for probe in missing.probes if probe.kind == "cost"]
        job = Job(
            folder=str(store.run(planned.run_id).path.absolute()),
            config=planned.config,
            train=missing.trains,
            evals=list(missing.evals),
            probes=[probe for probe in missing.probes if probe.kind != "cost"],
            fresh=fresh,
        )
        if job.train or job.evals or job.probes:
            tasks.append(Task(job, planned, _weight(planned, missing)))
        if cost:
            update = {"train": False, "evals": [], "probes": cost, "fresh": False}
            measurements.append(Task(job.model_copy(update=update), planned, 0.0, alone=True))
    return sorted(tasks, key=lambda task: -task.weight) + measurements


def _needs_weights(store: Store, planned: PlannedRun) -> UserError:
    absent = [e.eval_id for e in planned.evals if not store.eval_present(planned.run_id, e)]
    absent += [p.probe_id for p in planned.probes if store.probe_values(planned.run_id, p) is None]
    return UserError(
        f"{planned.run_id} was imported without its weights, and more is asked of them than is there",
        where=store.run(planned.run_id).path,
        found=f"missing: {', '.join(absent[:3]) or 'further epochs'}{', ...' if len(absent) > 3 else ''}",
        hint="import an archive made with --checkpoints; --force trains it anew, in the place of what was imported",
    )


def left(job: Job) -> Job:
    """What the store still misses of a job; all of it when it starts afresh.

    Others may have worked on the run since the job was made: an earlier start of it, or another launcher.
    """
    if job.fresh:
        return job
    until = length(job.config) if job.train and job.config.exec.until != 0 else 0
    milestones = tuple(epoch for epoch in job.config.exec.milestones if epoch <= until) if job.train else ()
    planned = PlannedRun(job.config, "", until, milestones, list(job.evals), list(job.probes))
    missing = Store(job.run.path.parents[1].parent, job.run.path.parents[1].name).missing(planned)
    update = {"train": missing.trains, "evals": list(missing.evals), "probes": list(missing.probes)}
    return job.model_copy(update=update)


def write_job(job: Job) -> Path:
    """Write a job into its run's folder; raises `UserError` for a full disk."""
    path = job.run.path / "job.json"
    write_json(path, job.model_dump(mode="json"))
    return path


def read_job(path: Path) -> Job:
    """Read what `write_job` wrote."""
    return parse_strict(Job, read_json(path), path)


def _weight(planned: PlannedRun, missing: Missing) -> float:
    """Relative length: samples trained on, a sixth more with a first stage (Table 9), and some for each evaluation."""
    config = planned.config
    visited = config.train.epoch_refs or planned.refs or 1
    stage_one = 1.17 if config.strategy == "aml" else 1.0
    return missing.epochs * visited * stage_one + 0.01 * visited * (len(missing.evals) + len(missing.probes))
