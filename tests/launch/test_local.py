"""Jobs as subprocesses: order, crashes, interruption. The workers are stand-ins that train nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from amlrepro.config import EvalConfig, RunConfig
from amlrepro.errors import UserError
from amlrepro.files import write_text
from amlrepro.launch.job import Job, Task, make_tasks, read_job, write_job
from amlrepro.launch.local import LocalExecutor
from amlrepro.launch.slots import Slot
from amlrepro.rundir import RunDir
from amlrepro.suite.cancel import request_cancel
from amlrepro.suite.lease import Owner, lease_path
from amlrepro.suite.plan import PlannedRun
from amlrepro.suite.store import Store

VAL = EvalConfig(dataset="refcoco", split="val")

WORKER = """
import json, os, signal, sys, time
from pathlib import Path
job = json.loads(Path(sys.argv[-1]).read_text())
folder = Path(job["folder"])
def mark(state, **more):
    (folder / "state.json").write_text(json.dumps({"state": state, "updated": time.time(), **more}))
def stop(*_):
    mark("preempted", epoch=1)
    sys.exit(143)
signal.signal(signal.SIGTERM, stop)
with (folder.parent / "order.txt").open("a") as f:
    f.write(job["config"]["data"]["train"] + "\\n")
seed = job["config"]["seed"]
mark("running", epoch=0, step=0, steps_per_epoch=1)
if seed == 1:
    mark("failed", reason="no such picture")
    sys.exit(2)
if seed == 2:
    raise RuntimeError("a bug")
if seed == 3:
    signal.raise_signal(signal.SIGKILL)
if seed == 4:
    time.sleep(60)
if seed == 5 and os.environ["SLOT"] == "bad":
    sys.stderr.write("RuntimeError: CUDA error: uncorrectable ECC error encountered\\n")
    sys.exit(1)
if seed == 6:
    mark("failed", reason="torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.")
    sys.exit(1)
if seed == 7:
    tries = folder / "tries"
    tries.write_text(tries.read_text() + "x" if tries.exists() else "x")
    if len(tries.read_text()) < 3:
        mark("running", epoch=0, step=len(tries.read_text()))
        signal.raise_signal(signal.SIGKILL)
mark("done", epoch=50)
"""


class StandIn:
    """Starts the stand-in in place of a worker."""

    script: Path

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment

    def start(self, job: Job, log: Path) -> subprocess.Popen[bytes]:
        path = write_job(job)
        with log.open("ab") as said:
            command = [sys.executable, "-S", str(self.script), str(path)]
            return subprocess.Popen(command, env={**os.environ, **self.environment}, stdout=said, stderr=said)

    def close(self) -> None:
        pass


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store whose jobs are done by the stand-in."""
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    monkeypatch.setattr(StandIn, "script", script, raising=False)
    return Store(tmp_path / "results", "demo")


def executor_of(work: list[Task], *names: str, **options: Any) -> LocalExecutor:
    return LocalExecutor(work, [Slot(name, {"SLOT": name}) for name in names], starter=StandIn, **options)


def tasks(store: Store, *runs: tuple[str, int]) -> list[Task]:
    configs = [RunConfig().with_changes({"data.train": train, "seed": seed}) for train, seed in runs]
    return make_tasks(store, [PlannedRun(c, "baseline", 50, evals=[VAL]) for c in configs])


def finish(executor: LocalExecutor) -> None:
    begin = time.monotonic()
    while not executor.finished and time.monotonic() - begin < 30:
        executor.step()
        time.sleep(0.02)
    assert executor.finished


def test_a_failed_job_stops_no_other_and_says_why(store: Store) -> None:
    work = tasks(store, ("refcoco", 1), ("refcoco", 2), ("refcoco", 3), ("refcoco", 0))
    executor = executor_of(work, "a", "b")
    finish(executor)
    by_seed = {outcome.task.planned.config.seed: outcome for outcome in executor.outcomes}
    assert [by_seed[seed].done for seed in range(4)] == [True, False, False, False]
    assert (by_seed[1].reason, by_seed[1].user_error) == ("no such picture", True)
    assert "a bug" in str(by_seed[2].reason) or "exit code 1" in str(by_seed[2].reason)
    assert not by_seed[2].user_error
    assert "memory" in str(by_seed[3].reason)
    log = store.run(by_seed[2].task.run_id).log.read_text()
    assert "RuntimeError: a bug" in log
    assert {p.phase for p in executor.progress()} == {"done", "failed"}


def test_longest_first(store: Store) -> None:
    configs = {
        "refcoco": {"train.epoch_refs": 100},
        "refcoco+": {"train.epoch_refs": 300},
        "refcocog": {"train.epoch_refs": 200},
    }
    made = [RunConfig().with_changes({"data.train": train, **more}) for train, more in configs.items()]
    work = make_tasks(store, [PlannedRun(c, "baseline", 50, evals=[VAL]) for c in made])
    finish(executor_of(work, "only"))
    order = (store.folder / "runs" / "order.txt").read_text().split()
    assert order == ["refcoco+", "refcocog", "refcoco"]


def test_stop_lets_jobs_save_and_starts_no_more(store: Store) -> None:
    work = tasks(store, ("refcoco", 4), ("refcoco+", 4), ("refcocog", 4))
    executor = executor_of(work, "a", "b")
    executor.step()
    running = [store.run(task.run_id) for task in work[:2]]
    begin = time.monotonic()
    while not all(run.read_state().get("state") == "running" for run in running) and time.monotonic() - begin < 20:
        time.sleep(0.02)
    executor.stop()
    assert [run.read_state()["state"] for run in running] == ["preempted", "preempted"]
    assert not store.run(work[2].run_id).path.exists()
    assert store.missing(work[0].planned).epochs == 49  # it goes on from epoch 1


def test_only_what_is_missing_becomes_a_task(store: Store) -> None:
    planned = PlannedRun(RunConfig(), "baseline", 50, evals=[VAL])
    run = store.run(planned.run_id)
    write_text(run.checkpoint("last"), "")
    run.write_state("done", epoch=50)
    (task,) = make_tasks(store, [planned])
    assert (task.job.train, task.job.evals, task.job.fresh) == (False, [VAL], False)
    (again,) = make_tasks(store, [planned], fresh=True)
    assert (again.job.train, again.job.evals, again.job.fresh) == (True, [VAL], True)


def test_a_job_survives_its_file(store: Store) -> None:
    (task,) = tasks(store, ("refcoco+", 7))
    assert read_job(write_job(task.job)) == task.job
    assert task.job.run == RunDir(store.run(task.run_id).path.absolute())


def starts(store: Store) -> int:
    return len((store.folder / "runs" / "order.txt").read_text().split())


def test_only_what_can_help_is_tried_again(store: Store) -> None:
    for seed, retries, expected in ((1, 3, 1), (6, 3, 1), (2, 2, 3), (3, 1, 2)):
        before = starts(store) if (store.folder / "runs" / "order.txt").exists() else 0
        (task,) = tasks(store, ("refcoco", seed))
        executor = executor_of([task], "a", retries=retries)
        finish(executor)
        assert starts(store) - before == expected
        assert not executor.outcomes[0].done


def test_a_failure_is_kept_with_its_cause_and_what_helps(store: Store) -> None:
    (task,) = tasks(store, ("refcoco", 6))
    executor = executor_of([task], "a")
    finish(executor)
    state = task.job.run.read_state()
    assert (state["state"], state["failure"]["cause"], state["failure"]["attempts"]) == ("failed", "memory", 1)
    assert state["failure"]["node"].endswith(" a")
    assert "--jobs-per-gpu 1" in str(executor.outcomes[0].remedy)


def test_a_run_that_goes_on_between_kills_is_not_given_up(store: Store) -> None:
    (task,) = tasks(store, ("refcoco", 7))
    executor = executor_of([task], "a", retries=1)
    finish(executor)
    assert executor.outcomes[0].done  # killed twice, each time some updates further
    assert starts(store) == 3


def test_a_slot_that_fails_again_and_again_is_left_out(store: Store) -> None:
    told: list[str] = []
    names = ("refcoco", "refcoco+", "refcocog", "grefcoco", "combined", "a", "b", "c")  # `good` cannot take them all
    work = tasks(store, *((name, 5) for name in names))
    executor = executor_of(work, "bad", "good", tell=told.append)
    finish(executor)
    assert [outcome.done for outcome in executor.outcomes] == [True] * len(names)
    assert len([line for line in told if line.startswith("bad is left out: 2 jobs in a row failed there")]) == 1
    (task,) = tasks(store, ("refcoco", 5))
    alone = executor_of([task], "bad", retries=5)
    finish(alone)
    assert "no slot is left" in str(alone.outcomes[0].reason)


def test_a_run_that_another_launcher_has_is_waited_for(store: Store) -> None:
    work = tasks(store, ("refcoco", 0), ("refcoco+", 0))
    run = work[0].job.run
    run.path.mkdir(parents=True)
    lease_path(run).write_text(json.dumps(asdict(Owner.me())))  # this process, which lives
    executor = executor_of(work, "a")
    begin = time.monotonic()
    while not executor.outcomes and time.monotonic() - begin < 20:
        executor.step()
        time.sleep(0.02)
    assert [outcome.task for outcome in executor.outcomes] == work[1:]  # the slot did something else meanwhile
    assert executor.progress()[0].phase == "elsewhere"
    planned = work[0].planned
    for path in (run.checkpoint("last"), run.eval_records(VAL.eval_id)):
        write_text(path, "")
    write_text(run.eval_meta(VAL.eval_id), json.dumps({"epoch": 50}))
    run.write_state("done", epoch=50)
    lease_path(run).unlink()
    finish(executor)
    assert executor.outcomes[1].done
    assert starts(store) == 1
    assert store.missing(planned).nothing


def test_a_cancelled_run_is_not_started(store: Store) -> None:
    (task,) = tasks(store, ("refcoco", 0))
    request_cancel(task.job.run)
    executor = executor_of([task], "a")
    finish(executor)
    assert (executor.outcomes[0].done, executor.outcomes[0].reason) == (False, "cancelled")
    assert not (store.folder / "runs" / "order.txt").exists()


def test_processes_of_one_run_have_slots_of_their_own(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    (task,) = tasks(store, ("refcoco", 0))
    config = task.job.config.with_changes({"exec.processes": 2})
    task = replace(task, job=task.job.model_copy(update={"config": config}))
    seen: list[list[str]] = []

    def start(job: Job, environments: list[Mapping[str, str]], log: Path) -> subprocess.Popen[bytes]:
        seen.append([environment["CUDA_VISIBLE_DEVICES"] for environment in environments])
        return subprocess.Popen(["true"])

    monkeypatch.setattr("amlrepro.launch.local.start_several", start)
    gpus = ["0", "0", "1"]
    slots = [Slot(f"gpu{gpu}", {"CUDA_VISIBLE_DEVICES": gpu}, gpu) for gpu in gpus]
    finish(LocalExecutor([task], slots, starter=StandIn))
    assert seen == [["0", "1"]]
    with pytest.raises(UserError, match="more processes than GPUs"):
        LocalExecutor([task], slots[:2], starter=StandIn)
