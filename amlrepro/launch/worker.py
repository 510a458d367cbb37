"""The entry point of all executors: `python -m amlrepro.launch.worker JOB.json` trains, evaluates and probes a run."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from amlrepro.errors import UserError
from amlrepro.launch.job import CRASHED, DONE, HELD, USER_ERROR, Job, read_job
from amlrepro.rundir import RunDir, State
from amlrepro.suite.lease import LeaseHeld, acquire
from amlrepro.suite.store import discard

PARENT = "AMLRIS_PARENT"
PROGRESS_SECONDS = 2.0


def main(arguments: list[str]) -> int:
    """Do a job; returns the exit code: 0 done, 2 a user error, 75 another process is at it, 1 a crash.

    SIGTERM ends it with 143 after saving; the same job then goes on from there.
    """
    signal.signal(signal.SIGTERM, _terminate)
    job = read_job(Path(arguments[0]))
    parent = os.environ.get(PARENT)
    try:
        with acquire(job.run, _lost, watch_parent=int(parent) if parent else None):
            return _guarded(job)
    except LeaseHeld as error:
        print(f"error: {error}", file=sys.stderr)
        return HELD
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return USER_ERROR


def _guarded(job: Job) -> int:
    """Do the job and leave its outcome in `state.json`."""
    try:
        _work(job)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        _mark(job.run, "failed", reason=str(error))
        return USER_ERROR
    except Exception as error:
        traceback.print_exc()
        _mark(job.run, "failed", reason=f"{type(error).__name__}: {error}")
        return CRASHED
    except (SystemExit, KeyboardInterrupt):
        _mark(job.run, "preempted")
        raise
    _mark(job.run, "done")
    return DONE


def _work(job: Job) -> None:
    if job.fresh:
        discard(job.run)
    if job.train:
        from amlrepro.engine.train import train

        train(job.config, job.run)
    total = len(job.evals) + len(job.probes)
    for number, evaluation in enumerate(job.evals):
        from amlrepro.engine.evaluate import evaluate_run

        _mark(job.run, "running", evaluation={"done": number, "total": total})
        evaluate_run(job.run, job.config, evaluation, _watch(job.run, number, total))
    for number, probe in enumerate(job.probes, len(job.evals)):
        from amlrepro.engine.probes import run_probe

        _mark(job.run, "running", evaluation={"done": number, "total": total})
        run_probe(job.run, job.config, probe, _watch(job.run, number, total))


def _watch(run: RunDir, number: int, total: int) -> Callable[[int, int], None]:
    """Progress of an evaluation for `state.json`, every few seconds."""
    last = time.monotonic()

    def watch(samples: int, of: int) -> None:
        nonlocal last
        if time.monotonic() - last >= PROGRESS_SECONDS:
            last = time.monotonic()
            _mark(run, "running", evaluation={"done": number + samples / of, "total": total})

    return watch


def _mark(run: RunDir, state: State, **more: Any) -> None:
    """Change the state, keeping what else `state.json` says. A disk that is full must not hide the first error."""
    known = {key: value for key, value in run.read_state().items() if key not in ("state", "updated", "reason")}
    known.pop("evaluation", None)
    try:
        run.write_state(state, **{**known, **more})
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _lost(reason: str) -> None:
    """The heartbeat's thread found that this process must not go on."""
    print(f"stopping: {reason}", file=sys.stderr, flush=True)
    if "took over" in reason:
        os._exit(HELD)  # the folder is another's: nothing may be written any more
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
