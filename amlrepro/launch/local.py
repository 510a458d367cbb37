"""Jobs on this machine: a subprocess each, as many at a time as there are slots. Torch-free."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import IO, Any

from amlrepro.files import disk_errors
from amlrepro.launch.job import DONE, HELD, USER_ERROR, Task, write_job
from amlrepro.launch.slots import Slot
from amlrepro.launch.worker import PARENT

FULL_BYTES = 1 << 20
TRAINING_SHARE = 0.95  # of a job that trains and evaluates, for its progress


@dataclass(frozen=True)
class Outcome:
    """How a job ended. user_error: the user can mend it. reason: None when it is done."""

    task: Task
    done: bool
    user_error: bool = False
    reason: str | None = None


@dataclass(frozen=True)
class JobProgress:
    """Where a job stands, from the run's `state.json`.

    phase: waiting, starting, training, evaluating, done, failed, interrupted. fraction: of its training and evaluations
    together, 0 to 1.
    """

    task: Task
    phase: str
    epoch: int = 0
    fraction: float = 0.0
    loss: float | None = None
    images_per_s: float | None = None
    eta_s: float | None = None


@dataclass
class _Running:
    task: Task
    slot: Slot
    process: subprocess.Popen[bytes]
    log: IO[bytes]
    since: float


class LocalExecutor:
    """Runs tasks in their order, one in each slot. Call `step` until `finished`; a failed job stops no other."""

    def __init__(self, tasks: list[Task], slots: list[Slot]) -> None:
        self.tasks = tasks
        self.outcomes: list[Outcome] = []
        self._waiting = list(tasks)
        self._free = list(slots)
        self.places = f"{len(slots)} at a time ({', '.join(slot.name for slot in slots)})"
        self._running: list[_Running] = []
        self._losses: dict[str, float] = {}  # the last known: right after an epoch's end there is none yet

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
                self._free.append(running.slot)
                running.log.close()
                self.outcomes.append(_outcome(running.task, code))
        while self._free and self._waiting and not self._must_wait(self._waiting[0]):
            self._start(self._waiting.pop(0), self._free.pop(0))

    def _must_wait(self, task: Task) -> bool:
        """Whether a task has to wait for those that run: it, or one of them, is to be alone."""
        return bool(self._running) and (task.alone or any(running.task.alone for running in self._running))

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
                running.process.kill()
                running.process.wait()
        for running in self._running:
            running.log.close()
        self._running.clear()

    def progress(self) -> list[JobProgress]:
        """Where every task stands, in order."""
        ended = {outcome.task.name: outcome for outcome in self.outcomes}
        started = {running.task.name: running.since for running in self._running}
        jobs = [_progress(task, ended.get(task.name), started.get(task.name)) for task in self.tasks]
        self._losses.update({job.task.name: job.loss for job in jobs if job.loss is not None})
        return [replace(job, loss=self._losses.get(job.task.name)) for job in jobs]

    def _start(self, task: Task, slot: Slot) -> None:
        run = task.job.run
        job = write_job(task.job)
        with disk_errors(run.log):
            log = run.log.open("ab")
            log.write(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} {slot.name}\n".encode())
            log.flush()
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "TOKENIZERS_PARALLELISM": "false", **slot.environment}
        process = subprocess.Popen(
            [sys.executable, "-m", "amlrepro.launch.worker", str(job)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**environment, PARENT: str(os.getpid())},
            start_new_session=True,  # Ctrl-C reaches this process only, which then asks the workers to save
        )
        self._running.append(_Running(task, slot, process, log, time.time()))


def _outcome(task: Task, code: int) -> Outcome:
    if code == DONE:
        return Outcome(task, True)
    state = task.job.run.read_state()
    reason = state.get("reason") if state.get("state") == "failed" and code != HELD else None
    return Outcome(task, False, code in (USER_ERROR, HELD), reason or _silent_end(task, code))


def _silent_end(task: Task, code: int) -> str:
    """Why a worker ended that could leave no reason in its state."""
    path = task.job.run.path
    if shutil.disk_usage(path).free < FULL_BYTES:
        return f"the disk is full\n  where:    {path}\n  next:     free some space, then give the same command again"
    if code == -signal.SIGKILL:
        return "killed from outside; the machine may have run out of memory"
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    said = _last_error(task)
    return said or f"ended with exit code {code}"


def _last_error(task: Task) -> str | None:
    """The last error message in the log, of this start."""
    text = task.job.run.log.read_text("utf-8", "replace").rpartition("\n--- ")[2]
    found = text.rpartition("error: ")
    return found[2].strip() if found[1] else None


def _progress(task: Task, outcome: Outcome | None, since: float | None) -> JobProgress:
    state: dict[str, Any] = task.job.run.read_state()
    epoch = int(state.get("epoch", 0))
    if outcome is not None:
        return JobProgress(task, "done" if outcome.done else "failed", epoch, 1.0 if outcome.done else 0.0)
    if since is None:
        return JobProgress(task, "waiting", epoch)
    if state.get("updated", 0) < since:
        return JobProgress(task, "starting", epoch)
    share = TRAINING_SHARE if task.job.train else 0.0
    evaluation = state.get("evaluation") or ({"done": 0, "total": 1} if state["state"] == "done" else None)
    if evaluation:  # also between training and the first evaluation, when the state is `done` for a moment
        return JobProgress(task, "evaluating", epoch, share + (1 - share) * evaluation["done"] / evaluation["total"])
    steps = state.get("steps_per_epoch", 1) * max(1, task.planned.until)
    return JobProgress(
        task,
        "training",
        epoch,
        share * min(1.0, state.get("step", 0) / steps),
        state.get("loss"),
        state.get("images_per_s"),
        state.get("eta_s"),
    )
