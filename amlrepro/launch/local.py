"""Jobs on this machine, as many at a time as there are slots. Torch-free."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from amlrepro.errors import UserError
from amlrepro.files import disk_errors
from amlrepro.launch.capacity import killed_for_memory
from amlrepro.launch.failures import Failure, classify
from amlrepro.launch.job import DONE, HELD, USER_ERROR, Job, Task, left
from amlrepro.launch.progress import TRAINING_SHARE, JobProgress, Outcome, progress_of
from amlrepro.launch.slots import Slot
from amlrepro.launch.starter import Process, Starter, start_several
from amlrepro.launch.submissions import changing
from amlrepro.suite.cancel import REASON as CANCELLED
from amlrepro.suite.cancel import cancel_requested
from amlrepro.suite.lease import EXPIRY_SECONDS, held, last_beat

__all__ = ["TRAINING_SHARE", "JobProgress", "LocalExecutor", "Outcome"]
FULL_BYTES = 1 << 20
TAIL_BYTES = 20_000
FAULTS = 2  # failures in a row, by fault of the machine, after which a slot is left out
LOOK_SECONDS = 1.0  # between two looks at a run that another launcher has


class StartsJobs(Protocol):
    """What starts jobs in a slot (`starter.Starter`)."""

    def start(self, job: Job, log: Path) -> Process:
        """Start a job; what it says is appended to the log."""

    def close(self) -> None:
        """End what stands by."""


@dataclass
class _Place:
    """A slot with what starts jobs in it. faults: failures in a row that were the machine's."""

    slot: Slot
    starter: StartsJobs
    faults: int = 0


@dataclass
class _Entry:
    """A task that has no outcome. failures: in a row, without an update in between. avoid: slots at fault."""

    task: Task
    failures: int = 0
    avoid: set[str] = field(default_factory=set)
    looked: float = float("-inf")
    seen: object = None  # another's lease and its heartbeat, and since when they are as they are
    since: float = 0.0
    elsewhere: bool = False


@dataclass
class _Running:
    entry: _Entry
    places: list[_Place]
    process: Process
    log_begin: int
    step: int
    memory_kills: int
    since: float = field(default_factory=time.time)


class LocalExecutor:
    """Runs tasks in their order, one in each slot; several slots where a job has several processes.

    Call `step` until `finished`; a failed job stops no other. retries: how often in a row a job is started again that
    failed for a cause where this can help. tell: shows a line.
    """

    def __init__(
        self,
        tasks: list[Task],
        slots: list[Slot],
        retries: int = 1,
        tell: Callable[[str], None] = lambda line: None,
        starter: Callable[[Mapping[str, str]], StartsJobs] = Starter,
    ) -> None:
        self.tasks = tasks
        self.outcomes: list[Outcome] = []
        self.places = f"{len(slots)} at a time ({', '.join(slot.name for slot in slots)})"
        self._slots = len(slots)
        self._retries = retries
        self._tell = tell
        self._waiting = [_Entry(task) for task in tasks]
        self._free = [_Place(slot, starter(slot.environment)) for slot in slots]
        self._running: list[_Running] = []
        self._losses: dict[str, float] = {}  # the last known: right after an epoch's end there is none yet
        self._require_gpus(slots)

    @property
    def finished(self) -> bool:
        """Whether every task has an outcome."""
        return len(self.outcomes) == len(self.tasks)

    def step(self) -> None:
        """Take in jobs that have ended and start others in their place. Raises `UserError` for a full disk."""
        for running in list(self._running):
            code = running.process.poll()
            if code is not None:
                self._running.remove(running)
                self._take_in(running, code)
        for entry in list(self._waiting):
            needed = self._processes(entry.task)
            if len(self._free) < needed or self._must_wait(entry.task):
                break
            if self._ready(entry):
                self._start(entry, needed)
        if self.finished:
            self._close()

    def stop(self, patience: float = 120.0, tell: Callable[[str], None] | None = None) -> None:
        """Ask all jobs to save and end, and wait for them; after `patience` seconds, or when interrupted, kill them."""
        self._waiting.clear()
        if self._running and tell:
            tell(f"stopping {len(self._running)} running; they save their state first")
        for running in self._running:
            running.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + patience
        try:
            for running in self._running:
                running.process.wait(max(0.0, deadline - time.monotonic()))
        except (KeyboardInterrupt, subprocess.TimeoutExpired):
            for running in self._running:
                running.process.send_signal(signal.SIGKILL)
                running.process.wait()
        self._free += [place for running in self._running for place in running.places]
        self._running.clear()
        self._close()

    def progress(self) -> list[JobProgress]:
        """Where every task stands, in order."""
        ended = {outcome.task.name: outcome for outcome in self.outcomes}
        started = {running.entry.task.name: running.since for running in self._running}
        away = {entry.task.name for entry in self._waiting if entry.elsewhere}
        jobs = [progress_of(t, ended.get(t.name), started.get(t.name), t.name in away) for t in self.tasks]
        self._losses.update({job.task.name: job.loss for job in jobs if job.loss is not None})
        return [replace(job, loss=self._losses.get(job.task.name)) for job in jobs]

    def _require_gpus(self, slots: list[Slot]) -> None:
        """Processes of one job cannot share a GPU."""
        gpus = {slot.gpu for slot in slots if slot.gpu}
        most = max((task.job.config.exec.processes for task in self.tasks), default=1)
        if gpus and most > len(gpus):
            raise UserError(
                "a run has more processes than GPUs are used", where="--gpus", found=len(gpus), expected=most
            )

    def _processes(self, task: Task) -> int:
        return min(task.job.config.exec.processes, self._slots)

    def _must_wait(self, task: Task) -> bool:
        """Whether a task has to wait for those that run: it, or one of them, is to be alone."""
        return bool(self._running) and (task.alone or any(running.entry.task.alone for running in self._running))

    def _ready(self, entry: _Entry) -> bool:
        """Whether a task can be started now: nobody else is at its run, and there is something left to do."""
        now = time.monotonic()
        if now - entry.looked < LOOK_SECONDS:
            return False
        run = entry.task.job.run
        owner = held(run)
        if owner is not None:
            entry.looked = now
            seen = owner.token, last_beat(run)
            if seen != entry.seen:
                entry.seen, entry.since = seen, now
            # An owner on another host that has long been silent may be dead: the worker finds out.
            entry.elsewhere = owner.alive() is True or now - entry.since < EXPIRY_SECONDS
            return not entry.elsewhere
        entry.elsewhere = False
        if cancel_requested(run):
            self._end(entry, Outcome(entry.task, False, True, CANCELLED))
            return False
        if left(entry.task.job).empty:  # another launcher did it
            self._end(entry, Outcome(entry.task, True))
            return False
        return True

    def _start(self, entry: _Entry, needed: int) -> None:
        places = self._choose(entry, needed)
        if not places:
            return
        run = entry.task.job.run
        name = " ".join(place.slot.name for place in places)
        with disk_errors(run.log):
            run.path.mkdir(parents=True, exist_ok=True)
            with run.log.open("ab") as log:
                log.write(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} {name}\n".encode())
                begin = log.tell()
        job = left(entry.task.job)
        if job.config.exec.processes > 1:
            process = start_several(job, [place.slot.environment for place in places], run.log)
        else:
            process = places[0].starter.start(job, run.log)
        for place in places:
            self._free.remove(place)
        self._waiting.remove(entry)
        step = int(run.read_state().get("step", 0))
        self._running.append(_Running(entry, places, process, begin, step, killed_for_memory()))

    def _choose(self, entry: _Entry, needed: int) -> list[_Place]:
        """Free places, on different GPUs; none when there are too few. A task does not go back to a place at fault
        unless there are no others."""
        every = [*self._free, *(place for running in self._running for place in running.places)]
        others = len([place for place in every if place.slot.name not in entry.avoid])
        chosen: list[_Place] = []
        for place in self._free:
            if others >= needed and place.slot.name in entry.avoid:
                continue
            if place.slot.gpu is None or place.slot.gpu not in [other.slot.gpu for other in chosen]:
                chosen.append(place)
        return chosen[:needed] if len(chosen) >= needed else []

    def _take_in(self, running: _Running, code: int) -> None:
        """What becomes of a task whose job has ended, and of its slots."""
        entry = running.entry
        if code == DONE:
            for place in running.places:
                place.faults = 0
            self._free += running.places
            self.outcomes.append(Outcome(entry.task, True))
            return
        if entry.task.job.fresh and code != HELD:  # what it has done since counts
            entry.task = replace(entry.task, job=entry.task.job.model_copy(update={"fresh": False}))
        self._waiting.insert(0, entry)
        if code == HELD:
            self._free += running.places
            return
        if cancel_requested(entry.task.job.run):
            self._free += running.places
            self._end(entry, Outcome(entry.task, False, True, CANCELLED))
            return
        failure = self._judge(running, code)
        advanced = int(entry.task.job.run.read_state().get("step", 0)) > running.step
        entry.failures = 1 if advanced else entry.failures + 1
        if failure.cause == "node":
            entry.avoid.update(place.slot.name for place in running.places)
        self._free_or_leave_out(running.places, failure)
        if failure.retry and entry.failures <= self._retries and self._slots >= 1:
            self._tell(f"{entry.task.name}: {failure.text.splitlines()[0]}; started again")
            return
        self._note(entry, failure, " ".join(place.slot.name for place in running.places))
        self._end(entry, Outcome(entry.task, False, code == USER_ERROR, failure.text, failure.remedy))

    def _judge(self, running: _Running, code: int) -> Failure:
        run = running.entry.task.job.run
        state = run.read_state()
        reason = state.get("reason") if state.get("state") == "failed" and state["updated"] >= running.since else None
        with run.log.open("rb") as log:
            log.seek(max(running.log_begin, log.seek(0, os.SEEK_END) - TAIL_BYTES))
            tail = log.read().decode("utf-8", "replace")
        if reason is None and shutil.disk_usage(run.path).free < FULL_BYTES:
            reason = f"the disk is full\n  where:    {run.path}"
        return classify(code, reason, tail, out_of_memory=killed_for_memory() > running.memory_kills)

    def _free_or_leave_out(self, places: list[_Place], failure: Failure) -> None:
        for place in places:
            place.faults = place.faults + 1 if failure.cause == "node" else 0
            if place.faults < FAULTS:
                self._free.append(place)
                continue
            self._slots -= 1
            place.starter.close()
            said = failure.text.splitlines()[0]
            self._tell(f"{place.slot.name} is left out: {place.faults} jobs in a row failed there ({said})")
        if self._slots == 0:
            for entry in list(self._waiting):
                self._end(entry, Outcome(entry.task, False, False, f"no slot is left: {failure.text}", failure.remedy))

    def _note(self, entry: _Entry, failure: Failure, slot: str) -> None:
        """Leave the failure in the run's state, unless somebody else has it by now."""
        run = entry.task.job.run
        with changing(run):
            if held(run) is None:
                known = {k: v for k, v in run.read_state().items() if k not in ("state", "updated", "reason", "queued")}
                known["failure"] = failure.record(f"{socket.gethostname()} {slot}", entry.failures)
                run.write_state("failed", reason=failure.text, **known)

    def _end(self, entry: _Entry, outcome: Outcome) -> None:
        if entry in self._waiting:
            self._waiting.remove(entry)
            self.outcomes.append(outcome)

    def _close(self) -> None:
        for place in self._free:
            place.starter.close()
