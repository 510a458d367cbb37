"""Jobs under SLURM through submitit: one array a class of jobs, requeued by submitit's checkpointing. Torch-free.

How things stand is read from the store; SLURM is asked once a minute, for jobs that it ended before they could leave a
word.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from amlrepro.errors import UserError
from amlrepro.files import disk_errors
from amlrepro.launch.cluster import ClusterSettings, Kind
from amlrepro.launch.failures import REMEDIES, RETRIED, Cause
from amlrepro.launch.job import DONE, HELD, USER_ERROR, Task, left
from amlrepro.launch.progress import JobProgress, Outcome, progress_of
from amlrepro.launch.slurm_groups import Group, Part, dependency, make_groups, make_parts
from amlrepro.launch.slurm_query import SlurmQuery, require_slurm
from amlrepro.launch.submissions import (
    Submission,
    begun_path,
    changing,
    ended_jobs,
    log_path,
    mark_queued,
    open_jobs,
    read_end,
    record,
    submission_lock,
    submissions_folder,
)
from amlrepro.launch.supervisor import Supervisor
from amlrepro.suite.cancel import REASON, cancel_requested
from amlrepro.suite.lease import EXPIRY_SECONDS, acquire, held, last_beat
from amlrepro.suite.store import Store, discard

STORE_SECONDS = 2.0
PER_LOOK = 0.01  # seconds between two looks at the store, for each task
SAVE_SHARE = 0.75  # of the time before the end in which a worker may save


@dataclass
class _Watched:
    """A task under way. jobs: kind and id of its jobs, in order. attempts: failures that were not its own, in a row
    without an update in between. step: at the last one. seen, since: another's lease and heartbeat, and when they last
    changed, while they are in the way."""

    task: Task
    jobs: list[tuple[Kind, str]] = field(default_factory=list)
    attempts: int = 0
    step: int = 0
    seen: object = None
    since: float = 0.0


class SlurmExecutor:
    """Submits tasks, those excepted that SLURM already has, and watches the store. See `Executor`.

    store: folder of the profile's results, on a file system that all nodes share. retries: how often a task is
    submitted again after a failure that was not its own. query_seconds: least time between two queries.
    """

    def __init__(
        self, tasks: list[Task], settings: ClusterSettings, store: Path, retries: int = 2, query_seconds: float = 60.0
    ) -> None:
        require_slurm()
        self.tasks = tasks
        self.outcomes: list[Outcome] = []
        self.job_ids: list[str] = []
        self.adopted = 0
        self.places = "under SLURM" + (f", partition {settings.partition}" if settings.partition else "")
        self._settings = settings
        self._retries = retries
        self._store = Store(store.absolute().parent, store.name)
        self._folder = self.logs = submissions_folder(self._store.folder)
        self._query = SlurmQuery(query_seconds)
        self._watched = {task.name: _Watched(task) for task in tasks}
        self._bad_nodes: set[str] = set()
        self._submitted = False
        self._looked = float("-inf")
        self._progress: dict[str, JobProgress] = {}

    @property
    def finished(self) -> bool:
        return len(self.outcomes) == len(self.tasks)

    def step(self) -> None:
        """Submit at the first call; then look at the store every few seconds, and at SLURM every minute."""
        if not self._submitted:
            self._submitted = True
            self._adopt_and_submit(list(self._watched.values()))
        if time.monotonic() - self._looked < max(STORE_SECONDS, PER_LOOK * len(self.tasks)):
            return
        self._looked = time.monotonic()
        open_ones = [each for each in self._watched.values() if each.task.name not in self._ended]
        told = ended_jobs(self._folder)
        self._query.refresh(job for each in open_ones for _, job in each.jobs if job not in told)
        again = [each for each in open_ones if self._look(each, told)]
        if again:
            self._adopt_and_submit(again)
        self._progress = {each.task.name: _standing(each.task) for each in open_ones}

    def progress(self) -> list[JobProgress]:
        ended = {outcome.task.name: outcome for outcome in self.outcomes}
        return [self._show(task, ended.get(task.name)) for task in self.tasks]

    def stop(self, patience: float = 120.0, tell: Callable[[str], None] | None = None) -> None:
        """Stop watching. The jobs stay with SLURM."""
        if tell and not self.finished:
            tell("the jobs stay with SLURM; the same command watches them again, amlris cancel ends them")

    @property
    def _ended(self) -> set[str]:
        return {outcome.task.name for outcome in self.outcomes}

    def _show(self, task: Task, outcome: Outcome | None) -> JobProgress:
        if outcome is not None:
            return JobProgress(task, "done" if outcome.done else "failed", fraction=1.0 if outcome.done else 0.0)
        return self._progress.get(task.name) or JobProgress(task, "waiting")

    def _adopt_and_submit(self, watched: list[_Watched]) -> None:
        """Submit what SLURM does not have yet."""
        with disk_errors(self._folder), submission_lock(self._folder):
            known = self._alive({each.task.run_id for each in watched})
            todo: list[Part] = []
            for each in watched:
                each.task = replace(each.task, job=left(each.task.job))
                if each.task.job.empty:  # somebody else was faster
                    self.outcomes.append(Outcome(each.task, True))
                    continue
                for part in make_parts(each.task):
                    job_id = known.get(part.key)
                    if job_id is None:
                        todo.append(part)
                    else:
                        each.jobs = [*(j for j in each.jobs if j[0] != part.job_class.kind), (part.key[1], job_id)]
                        self.adopted += 1
            settings = self._settings
            if self._bad_nodes:
                left_out = ",".join(sorted({*filter(None, [settings.exclude]), *self._bad_nodes}))
                settings = settings.model_copy(update={"exclude": left_out})
            for group in make_groups(todo, settings):
                self._submit(group, known)
        self._query.wait()

    def _alive(self, run_ids: set[str]) -> dict[tuple[str, Kind], str]:
        """Jobs of these runs that SLURM still has, by run and kind."""
        found = {(run, kind): job for run, kind, job in open_jobs(self._store.folder) if run in run_ids}
        self._query.refresh(found.values())
        return {key: job for key, job in found.items() if not self._query.over(job)}

    def _submit(self, group: Group, known: dict[tuple[str, Kind], str]) -> None:
        """One call of sbatch. known: job ids by run and kind; those of the group are added."""
        first = [
            known[(p.task.run_id, kind)] for p in group.parts for kind in p.after if (p.task.run_id, kind) in known
        ]
        parameters = {**group.parameters, **dependency(group, first)}
        for part in group.parts:
            if part.job.fresh:
                with acquire(part.job.run, lambda reason: None):
                    discard(part.job.run)
        folder = str(self._folder)
        patience = SAVE_SHARE * self._settings.save_seconds
        calls = [
            Supervisor(part.job.model_copy(update={"fresh": False}).model_dump_json(), folder, self._retries, patience)
            for part in group.parts
        ]
        job_id = submit_array(self._folder, calls, parameters, self._settings.requeues)
        made = Submission(job_id, group.job_class.kind, tuple(part.task.run_id for part in group.parts), time.time())
        record(self._folder, made)
        self.job_ids.append(job_id)
        for number, part in enumerate(group.parts):
            known[part.key] = made.element(number)
            each = self._watched[part.task.name]
            each.jobs = [
                *(j for j in each.jobs if j[0] != part.job_class.kind),
                (part.job_class.kind, made.element(number)),
            ]
            if not part.after:
                with changing(part.job.run):
                    if not begun_path(self._folder, made.element(number)).exists():
                        mark_queued(part.job.run, made.element(number))

    def _look(self, each: _Watched, told: set[str]) -> bool:
        """Whether a task is to be submitted again; takes in its outcome when it ended. told: jobs that left word."""
        failed = None
        for _, job_id in each.jobs:
            if job_id not in told and not self._query.over(job_id):
                if failed is None:
                    return False
                break  # it waits for one that failed, and never starts
            end = read_end(self._folder, job_id) if job_id in told else None
            well = end["code"] == DONE if end else self._query.known.get(job_id) == "COMPLETED"
            if not well and failed is None:
                failed = job_id, end
        if self._complete(each.task):
            self.outcomes.append(Outcome(each.task, True))
            return False
        # All went well and something is missing: they were jobs of an earlier command that asked for less.
        return self._failed(each, *(failed or (each.jobs[-1][1], {"code": None, "cause": "preempted"})))

    def _complete(self, task: Task) -> bool:
        """Whether the store has all that the task was to make."""
        missing = self._store.missing(task.planned)
        if task.alone:
            return not any(probe.kind == "cost" for probe in missing.probes)
        return not missing.epochs and not missing.evals and all(probe.kind == "cost" for probe in missing.probes)

    def _failed(self, each: _Watched, job_id: str, end: dict[str, Any] | None) -> bool:
        """Take in a failed job; whether its task is to be submitted again."""
        code, cause = (end["code"], end["cause"]) if end else (None, _cause(self._query.known.get(job_id, "")))
        if code == HELD and self._elsewhere(each):
            return False  # whoever has it will leave its word in the store; then what is missing is submitted
        if cause == "node" and end:
            self._bad_nodes.add(str(end["node"]))
        step = int(each.task.job.run.read_state().get("step", 0))
        each.attempts = 1 if step > each.step else each.attempts + (code != HELD)
        each.step = step
        if cancel_requested(each.task.job.run):
            self.outcomes.append(Outcome(each.task, False, True, REASON))
            return False
        if (code == HELD or cause in RETRIED) and each.attempts <= self._retries:
            return True
        state = each.task.job.run.read_state()
        reason = state.get("reason") if state.get("state") == "failed" else None
        said = reason or f"SLURM ended job {job_id}: {self._query.known.get(job_id, 'unknown')}"
        log = f"\n  log:      {log_path(self._folder, job_id)}"
        remedy = REMEDIES.get(cause)
        self.outcomes.append(Outcome(each.task, False, code == USER_ERROR, said if reason else said + log, remedy))
        return False

    def _elsewhere(self, each: _Watched) -> bool:
        """Whether another process has the run. An owner on another host that has long been silent may be dead: a worker
        finds out."""
        owner = held(each.task.job.run)
        if owner is None:
            return False
        seen = owner.token, last_beat(each.task.job.run)
        if seen != each.seen:
            each.seen, each.since = seen, time.monotonic()
        return owner.alive() is True or time.monotonic() - each.since < EXPIRY_SECONDS


def submit_array(folder: Path, calls: list[Supervisor], parameters: dict[str, Any], requeues: int) -> str:
    """Submit supervisors in one call of sbatch; the id of the array, or of the job when there is one.

    Raises `UserError` with what sbatch said when it refuses.
    """
    import submitit
    from submitit.core.utils import FailedJobError

    executor = submitit.SlurmExecutor(folder=folder, max_num_timeout=requeues)
    executor.update_parameters(**parameters)
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # submitit prints what sbatch says beside raising it
            jobs = executor.submit_array(calls)
    except FailedJobError as error:
        hint = "see whether the cluster answers (sinfo), or change its settings (--cluster, --partition, --gres, ...)"
        raise UserError("sbatch refuses the jobs", found=str(error).strip(), hint=hint) from None
    for link in folder.glob(".submission_file_*.sh"):
        link.unlink(missing_ok=True)
    return str(jobs[0].job_id).split("_")[0]


def _cause(state: str) -> Cause:
    """Why SLURM ended a job that left no word, as `failures` calls it."""
    known: dict[str, Cause] = {"PREEMPTED": "preempted", "TIMEOUT": "preempted", "OUT_OF_MEMORY": "memory"}
    known |= {"NODE_FAIL": "node", "BOOT_FAIL": "node", "UNKNOWN": "node", "COMPLETED": "preempted"}
    known["FAILED"] = "killed"  # a supervisor that fails leaves word: this one was not started, or was killed
    return known.get(state, "error")


def _standing(task: Task) -> JobProgress:
    """Where a task stands that SLURM has, from the run's `state.json`."""
    state = task.job.run.read_state()
    if task.alone or state.get("state") != "running":
        return JobProgress(task, "queued", int(state.get("epoch", 0)))
    return progress_of(task, None, since=0.0)
