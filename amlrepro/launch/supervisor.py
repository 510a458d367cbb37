"""What a SLURM task runs: it starts the worker as a child, ends it in time, and has the job requeued. Torch-free."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

from filelock import Timeout

from amlrepro.files import disk_errors, write_json
from amlrepro.launch.failures import REMEDIES, Failure, classify
from amlrepro.launch.job import DONE, HELD, USER_ERROR, Job, left
from amlrepro.launch.processes import command, without_place
from amlrepro.launch.submissions import begun_path, changing, mark_queued, open_jobs, write_end
from amlrepro.launch.worker import PARENT
from amlrepro.rundir import RunDir
from amlrepro.schema import parse_strict
from amlrepro.suite.cancel import REASON, cancel_requested
from amlrepro.suite.lease import held, tidy

if TYPE_CHECKING:
    from submitit.core.job_environment import JobEnvironment
    from submitit.core.utils import DelayedSubmission

TERMINATED = 128 + signal.SIGTERM
KILLED_SOON = 600.0  # seconds in which SLURM follows up the SIGTERM that ended the worker
PAUSE = 5.0
POLL_SECONDS = 0.1
TAIL_BYTES = 20_000


class JobFailed(Exception):
    """The worker did not reach its end; the message says why."""


@dataclass
class Supervisor:
    """A callable for submitit. job: JSON of the `Job`. folder: of the submissions. retries: how often a worker that was
    killed is started again. patience: seconds that the worker has to save.

    The worker is a child of its own, so that this process never imports torch and answers signals at once.
    """

    job: str
    folder: str
    retries: int = 2
    patience: float = 60.0
    _child: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)
    _code: int | None = field(default=None, init=False, repr=False)
    _attempts: int = field(default=0, init=False, repr=False)

    def __call__(self) -> int:
        """Do the job; returns 0. Raises `JobFailed` otherwise, on which SLURM counts the job as failed."""
        import submitit

        place = submitit.JobEnvironment()
        try:
            code, failure = self._carry_out(place)
        except Exception as error:  # submitit raises in its signal's handler when there were too many timeouts
            self._finish(place, TERMINATED, Failure("preempted", str(error), REMEDIES["preempted"], False))
            raise
        self._finish(place, code, failure)
        if failure is not None:
            raise JobFailed(failure.text)
        return code

    def checkpoint(self) -> DelayedSubmission:
        """What submitit calls on its signal, before the time limit or at preemption: the worker saves and ends, and the
        job is requeued."""
        import submitit
        from submitit.helpers import DelayedSubmission

        self._end_worker()
        run = self._job().run
        # The signal may have come while this very thread had the lock: then the state is told a little less.
        with contextlib.suppress(Timeout), changing(run).acquire(timeout=5.0):
            mark_queued(run, submitit.JobEnvironment().job_id, "stopped by SLURM; requeued, and goes on from there")
        return DelayedSubmission(replace(self))

    def _carry_out(self, place: JobEnvironment) -> tuple[int, Failure | None]:
        """Exit code of the last worker, and why it is not 0. A worker that was killed is started again; not so on a
        node that is at fault: the launcher then asks for another one."""
        path = begun_path(Path(self.folder), place.job_id, place.global_rank)
        while True:
            self._attempts += 1
            job = self._job() if place.num_tasks > 1 else left(self._job())
            with changing(job.run):
                write_json(path, job.model_dump(mode="json"))
                if place.global_rank == 0:
                    self._begin(job, place)
            if job.empty:
                return DONE, None
            cancelled = place.num_tasks == 1 and cancel_requested(job.run)
            step = _step(job.run)
            code, said = (TERMINATED, "") if cancelled else self._work(job, path, place)
            if place.num_tasks == 1 and _step(job.run) > step:
                self._attempts = 1  # failures are counted in a row, without progress in between
            if code == DONE:
                self._hand_on(job, place)
                return DONE, None
            if code == TERMINATED:
                self._await_slurm(job)
            if code == -signal.SIGKILL:
                time.sleep(PAUSE)  # if it was SLURM that ends the job, this process is next
            failure = classify(code, _reason(job.run), said)
            # Of several processes all have to come to the same answer, whoever's fault it was.
            again = failure.retry and failure.cause != "node" if place.num_tasks == 1 else True
            if not again or self._attempts > self.retries or code in (HELD, TERMINATED, USER_ERROR):
                return code, failure

    def _begin(self, job: Job, place: JobEnvironment) -> None:
        """Say that this job has the run; or that the run is done, when nothing is left."""
        if not job.empty:
            mark_queued(job.run, place.job_id)
        elif held(job.run) is None:
            job.run.write_state("done")

    def _work(self, job: Job, path: Path, place: JobEnvironment) -> tuple[int, str]:
        """Start the worker and wait for its end: its exit code, and the end of what it said."""
        with disk_errors(job.run.log):
            log = job.run.log.open("ab")
        with log:
            begin = log.tell()
            if place.global_rank == 0:
                title = f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} SLURM job {place.job_id} on {socket.gethostname()}\n"
                log.write(title.encode())
                log.flush()
            self._code = None
            self._child = _start(path, log, place)
            threading.Thread(target=self._reap, args=(self._child,), daemon=True).start()
            while self._code is None:
                time.sleep(POLL_SECONDS)
        with job.run.log.open("rb") as said:
            said.seek(max(begin, said.seek(0, os.SEEK_END) - TAIL_BYTES))
            return self._code, said.read().decode("utf-8", "replace")

    def _reap(self, child: subprocess.Popen[bytes]) -> None:
        # A thread, since waiting takes a lock, which a signal handler in the main thread could find taken.
        self._code = child.wait()

    def _end_worker(self) -> None:
        """Let the worker save and end; kill it after `patience`. Called from a signal handler."""
        if self._child is None or self._code is not None:
            return
        self._child.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + self.patience
        while self._code is None:
            if time.monotonic() > deadline:
                os.killpg(self._child.pid, signal.SIGKILL)
                deadline += self.patience
            time.sleep(POLL_SECONDS)

    def _await_slurm(self, job: Job) -> None:
        """The worker was told by SLURM to end (a preemption without submitit's signal, or scancel): SLURM will end this
        process too and requeue the job if it is to go on. To return now would count as the job's end."""
        deadline = time.monotonic() + KILLED_SOON
        while time.monotonic() < deadline and not cancel_requested(job.run):
            time.sleep(1.0)

    def _hand_on(self, job: Job, place: JobEnvironment) -> None:
        """When another job of SLURM is to go on with the run (its evaluations), say so in its state."""
        known = list(open_jobs(job.run.path.parents[1], job.run.path.name)) if place.global_rank == 0 else []
        mine = [number for number, (_, _, job_id) in enumerate(known) if job_id == place.job_id]
        later = known[mine[0] + 1 :] if mine else []
        if later:
            with changing(job.run):
                mark_queued(job.run, later[0][2])

    def _finish(self, place: JobEnvironment, code: int, failure: Failure | None) -> None:
        """Leave word of the end for launchers, and of a failure in the run's state."""
        if place.global_rank != 0:
            return
        run = self._job().run
        node = os.environ.get("SLURMD_NODENAME") or socket.gethostname()
        if failure is not None and code != HELD:
            with changing(run):
                if held(run) is None and cancel_requested(run):
                    run.write_state("preempted", reason=REASON)
                elif held(run) is None:
                    run.write_state("failed", reason=failure.text, failure=failure.record(node, self._attempts))
        tidy(run)  # after a worker that was killed; a launcher on another host could not tell that it is dead
        write_end(Path(self.folder), place.job_id, code, failure.cause if failure else None, node)

    def _job(self) -> Job:
        return parse_strict(Job, json.loads(self.job), "a submitted job")


def _start(path: Path, log: IO[bytes], place: JobEnvironment) -> subprocess.Popen[bytes]:
    environment = {**without_place(os.environ), "PYTHONUNBUFFERED": "1", "TOKENIZERS_PARALLELISM": "false"}
    environment[PARENT] = str(os.getpid())
    if place.num_tasks > 1:
        from submitit.helpers import TorchDistributedEnvironment

        torchrun = TorchDistributedEnvironment()
        environment |= {
            "RANK": str(torchrun.rank),
            "WORLD_SIZE": str(torchrun.world_size),
            "LOCAL_RANK": str(torchrun.local_rank),
            "LOCAL_WORLD_SIZE": str(torchrun.local_world_size),
            "MASTER_ADDR": torchrun.master_addr,
            "MASTER_PORT": str(torchrun.master_port),
        }
    return subprocess.Popen(
        command(path, 1),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=True,
        # SLURM sends submitit's signal to all processes of a job; the worker waits for its SIGTERM.
        preexec_fn=_ignore_signal,
    )


def _ignore_signal() -> None:
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)


def _step(run: RunDir) -> int:
    return int(run.read_state().get("step", 0))


def _reason(run: RunDir) -> str | None:
    state = run.read_state()
    return str(state["reason"]) if state.get("state") == "failed" and state.get("reason") else None
