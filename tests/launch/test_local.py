"""Jobs as subprocesses: order, crashes, interruption. The workers are stand-ins that train nothing."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from amlrepro.config import EvalConfig, RunConfig
from amlrepro.files import write_text
from amlrepro.launch import local
from amlrepro.launch.job import Task, make_tasks, read_job, write_job
from amlrepro.launch.local import LocalExecutor
from amlrepro.launch.slots import Slot
from amlrepro.rundir import RunDir
from amlrepro.suite.plan import PlannedRun
from amlrepro.suite.store import Store

VAL = EvalConfig(dataset="refcoco", split="val")

WORKER = """
import json, signal, sys, time
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
mark("done", epoch=50)
"""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store whose jobs are done by the stand-in."""
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    popen = local.subprocess.Popen

    def start(command: list[str], **options: object) -> object:
        assert command[:3] == [sys.executable, "-m", "amlrepro.launch.worker"]
        return popen([sys.executable, "-S", str(script), *command[3:]], **options)  # type: ignore[call-overload]

    monkeypatch.setattr(local.subprocess, "Popen", start)
    return Store(tmp_path / "results", "demo")


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
    executor = LocalExecutor(work, [Slot("a"), Slot("b")])
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
    finish(LocalExecutor(work, [Slot("only")]))
    order = (store.folder / "runs" / "order.txt").read_text().split()
    assert order == ["refcoco+", "refcocog", "refcoco"]


def test_stop_lets_jobs_save_and_starts_no_more(store: Store) -> None:
    work = tasks(store, ("refcoco", 4), ("refcoco+", 4), ("refcocog", 4))
    executor = LocalExecutor(work, [Slot("a"), Slot("b")])
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
