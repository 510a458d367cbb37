"""Jobs under SLURM that are interrupted in every way it knows end with the bits of a run that was left alone."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from safetensors.numpy import load_file
from slurm_jobs import at_update, bring_back, ended, job_state, release, scontrol, smoke_tasks, stepd, until

from amlrepro.launch.cluster import ClusterSettings
from amlrepro.launch.job import Task
from amlrepro.launch.local import LocalExecutor
from amlrepro.launch.slots import Slot
from amlrepro.launch.slurm import SlurmExecutor

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("slurm")]

# 60 updates, each saved.
LONG = ("train.horizon=30", "exec.validate_at=[30]", "exec.checkpoint_seconds=0")


def long_task(folder: Path) -> Task:
    (task,) = smoke_tasks(folder, 1, *LONG)
    return task


def submit(task: Task, **settings: object) -> tuple[SlurmExecutor, str]:
    """Submit one task; the executor and its job."""
    store = task.job.run.path.parents[1]
    executor = SlurmExecutor([task], ClusterSettings.model_validate({"time": "30", **settings}), store)
    executor.step()
    return executor, executor.job_ids[0]


def finish(executor: SlurmExecutor | LocalExecutor) -> None:
    until(lambda: executor.step() or executor.finished)
    assert [outcome.reason for outcome in executor.outcomes] == [None]


def told(executor: SlurmExecutor, job_id: str) -> str:
    """What submitit said of the job's signals."""
    return "".join(path.read_text() for path in executor.logs.glob(f"{job_id}_0_log.*"))


def kill_then_reach_the_limit(task: Task, executor: SlurmExecutor, job_id: str) -> None:
    """The worker is killed; later the time limit comes near."""
    begin = time.monotonic()
    killed = at_update(task.job.run, 5)
    os.kill(killed, signal.SIGKILL)
    until(lambda: ended(killed))
    late = at_update(task.job.run, 12)
    assert late != killed
    os.kill(late, signal.SIGSTOP)  # time passes, training does not
    minutes = math.ceil((time.monotonic() - begin + 20) / 60)
    scontrol("update", f"JobId={job_id}", f"TimeLimit={minutes}")
    until(lambda: "Caught signal SIGUSR2" in told(executor, job_id))
    os.kill(late, signal.SIGCONT)
    release(job_id, "TimeLimit=30")
    finish(executor)


def preempt_then_lose_the_node(task: Task, executor: SlurmExecutor, job_id: str) -> None:
    """A partition of higher priority takes the node; later the node goes down, and comes back."""
    first = at_update(task.job.run, 5)
    os.kill(first, signal.SIGSTOP)
    higher = ["sbatch", "-p", "main", "-w", "amlnode2", "-c", "2", "-o", "/dev/null", "--wrap", "sleep 1"]
    subprocess.run(higher, check=True, capture_output=True, cwd=task.job.run.path)
    until(lambda: "SIGTERM" in told(executor, job_id) or job_state(job_id) == "PENDING")
    with contextlib.suppress(ProcessLookupError):
        os.kill(first, signal.SIGCONT)
    release(job_id)
    second = at_update(task.job.run, 12)
    assert second != first
    scontrol("update", "NodeName=amlnode2", "State=DOWN", "Reason=test")
    until(lambda: ended(second) and not stepd(job_id))  # a node that still ends a job cannot take it again
    until(lambda: bring_back("amlnode2", job_id))
    finish(executor)


def tensors(path: Path) -> dict[str, bytes]:
    """The bits of a checkpoint by name; its metadata name folders."""
    return {name: values.tobytes() for name, values in load_file(path).items()}


@pytest.fixture(scope="module")
def runs(cluster: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[Task, Future[None]]]]:
    """All runs of this file at once, with what is done to them; one is left alone, and not under SLURM."""
    folder = tmp_path_factory.mktemp("survival")
    alone, limit, preempted = (long_task(folder / name) for name in ("alone", "limit", "preempted"))
    limit_job = submit(limit, save_seconds=30, options={"nodelist": "amlnode1"})
    other_job = submit(preempted, partition="scavenge", cpus=2, options={"nodelist": "amlnode2"})
    local = LocalExecutor([alone], [Slot("only", {"OMP_NUM_THREADS": "1"})])
    with ThreadPoolExecutor(3) as pool:
        yield {
            "alone": (alone, pool.submit(finish, local)),
            "limit": (limit, pool.submit(kill_then_reach_the_limit, limit, *limit_job)),
            "preempted": (preempted, pool.submit(preempt_then_lose_the_node, preempted, *other_job)),
        }


@pytest.mark.parametrize("name", ["limit", "preempted"])
def test_interrupted_twice_and_the_same_bits(runs: dict[str, tuple[Task, Future[None]]], name: str) -> None:
    (alone, first), (task, second) = runs["alone"], runs[name]
    for future in (first, second):
        future.result()
    for checkpoint in ("last", "best"):
        assert tensors(task.job.run.checkpoint(checkpoint)) == tensors(alone.job.run.checkpoint(checkpoint))
    (evaluation,) = task.job.evals
    expected = alone.job.run.eval_records(evaluation.eval_id).read_bytes()
    assert task.job.run.eval_records(evaluation.eval_id).read_bytes() == expected
    assert task.job.run.log.read_text().count("--- ") >= 3
    assert task.job.run.read_state()["state"] == "done"


def test_nothing_is_left_in_the_queue(runs: dict[str, tuple[Task, Future[None]]]) -> None:
    for _, future in runs.values():
        future.result()
    until(lambda: subprocess.run(["squeue", "-h"], capture_output=True, text=True, check=True).stdout == "")
