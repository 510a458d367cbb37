"""The entry point of all executors: `python -m amlrepro.launch.worker JOB.json` trains, evaluates and probes a run."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from amlrepro.engine.peers import PeerFailed
from amlrepro.errors import UserError
from amlrepro.launch.job import CRASHED, DONE, HELD, USER_ERROR, Job, left, read_job
from amlrepro.rundir import RunDir, State
from amlrepro.suite.cancel import REASON as CANCELLED
from amlrepro.suite.cancel import cancel_requested
from amlrepro.suite.lease import LeaseHeld, acquire
from amlrepro.suite.store import discard

if TYPE_CHECKING:
    from amlrepro.engine.distributed import World
    from amlrepro.engine.peers import Word

PARENT = "AMLRIS_PARENT"
PROGRESS_SECONDS = 2.0


def main(arguments: list[str]) -> int:
    """Carry out the job in a file; returns the exit code."""
    signal.signal(signal.SIGTERM, _terminate)
    return carry_out(read_job(Path(arguments[0])))


def carry_out(job: Job) -> int:
    """Do a job; returns the exit code: 0 done, 2 a user error, 75 another process is at it, 1 a crash.

    SIGTERM ends it with 143 after saving; the same job then goes on from there. Where torchrun's environment names
    several processes, all of them are given the same job: they train and evaluate together, and the first one has the
    lease and writes. One that is alone does only what the store still misses when it gets the lease.
    """
    signal.signal(signal.SIGTERM, _terminate)
    parent = int(os.environ[PARENT]) if os.environ.get(PARENT) else None
    try:
        world = _world()
        if world is not None and not world.is_main:
            threading.Thread(target=_watch_parent, args=(parent,), daemon=True).start()
            return _help(job, world)
        with acquire(job.run, _lost, watch_parent=parent):
            return _guarded(job if world else left(job), world)
    except LeaseHeld as error:
        print(f"error: {error}", file=sys.stderr)
        return HELD
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return USER_ERROR


def _world() -> World | None:
    """This process among several; None when it is alone."""
    if "WORLD_SIZE" not in os.environ:
        return None
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # DDP warns of settings that are meant as they are
    from amlrepro.engine.distributed import World

    world = World.from_environment()
    return None if world.alone else world


def _guarded(job: Job, world: World | None) -> int:
    """Do the job and leave its outcome in `state.json`."""
    try:
        _work(job, world)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        _mark(job.run, "failed", reason=str(error))
        return USER_ERROR
    except Exception as error:
        _mark(job.run, "failed", reason=_told(error))
        return CRASHED
    except (SystemExit, KeyboardInterrupt):
        _mark(job.run, "preempted", **({"reason": CANCELLED} if cancel_requested(job.run) else {}))
        raise
    _mark(job.run, "done")
    return DONE


def _help(job: Job, world: World) -> int:
    """Do a share of the job beside the process that writes."""
    try:
        _share(job, world)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return USER_ERROR
    except Exception as error:
        _told(error)
        return CRASHED
    return DONE


def _told(error: Exception) -> str:
    """The reason of a crash; its traceback goes to the log, unless it is another process's."""
    if isinstance(error, PeerFailed):
        print(f"error: {error}", file=sys.stderr)
        return str(error)
    traceback.print_exception(error)
    return f"{type(error).__name__}: {error}"


def _work(job: Job, world: World | None) -> None:
    if job.fresh:
        discard(job.run)
    _share(job, world)
    total = len(job.evals) + len(job.probes)
    for number, probe in enumerate(job.probes, len(job.evals)):
        from amlrepro.engine.probes import run_probe

        _mark(job.run, "running", evaluation={"done": number, "total": total})
        run_probe(job.run, job.config, probe, _watch(job.run, number, total))


def _share(job: Job, world: World | None) -> None:
    """Training and evaluations, which several processes do together; what follows is for one."""
    if not (job.train or job.evals):
        return
    from amlrepro.engine.distributed import ALONE

    world = world or ALONE
    with world.joined(job.config.exec.device, partial(_left_alone, job, world)):
        _train_and_evaluate(job, world)


def _train_and_evaluate(job: Job, world: World) -> None:
    if job.train:
        from amlrepro.engine.train import train

        train(job.config, job.run, world=world)
    total = len(job.evals) + len(job.probes)
    for number, evaluation in enumerate(job.evals):
        from amlrepro.engine.evaluate import evaluate_run

        if world.is_main:
            _mark(job.run, "running", evaluation={"done": number, "total": total})
        watch = _watch(job.run, number, total) if world.is_main else None
        evaluate_run(job.run, job.config, evaluation, watch, world)


def _left_alone(job: Job, world: World, word: Word) -> None:
    """Another process has failed while this one is waiting for it in a library, out of reach of exceptions."""
    print(f"error: {word.reason}", file=sys.stderr, flush=True)
    if world.is_main:
        _mark(job.run, "failed", reason=word.reason)
    os._exit(USER_ERROR if word.kind == "user" else CRASHED)


def _watch_parent(parent: int | None) -> None:
    """End this process when the one that started it is gone; the lease does so for the one that has it."""
    while parent is not None:
        if os.getppid() != parent:
            _lost("the process that started this one is gone")
            return
        time.sleep(1.0)


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
