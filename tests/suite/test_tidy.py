"""What killed writers leave goes with whoever takes over, and at a suite's end; a living one's files stay."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from amlrepro.cli import carry_out as command
from amlrepro.cli.options import PlanOptions, open_plan
from amlrepro.launch.executors import Settings
from amlrepro.launch.job import Task
from amlrepro.launch.progress import JobProgress, Outcome
from amlrepro.machine import machine, writer
from amlrepro.rundir import RunDir
from amlrepro.suite.experiment import load_experiments
from amlrepro.suite.lease import Owner, acquire, lease_path, tidy

# Takes the lease and is killed in the midst of writing: the state, and a checkpoint by the safetensors library.
KILLED = """
import os, signal, sys
from pathlib import Path
from amlrepro.files import atomic_path
from amlrepro.rundir import RunDir
from amlrepro.suite.lease import acquire
run = RunDir(Path(sys.argv[1]))
acquire(run, print)
run.checkpoints.mkdir()
(run.checkpoints / ".tmpAbCd12").touch()
with atomic_path(run.state):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path / "runs" / "one")


def kill_a_writer(run: RunDir) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(run.path)], check=False)
    assert left(run) == [".lease.json", ".state.json", ".tmpAbCd12"]


def left(run: RunDir) -> list[str]:
    """Temporary files, and the lease, by the beginning of their names."""
    found = [path.name for path in run.path.rglob(".*") if path.is_file() and path.name != ".lease.lock"]
    names = [name if name.startswith(".tmp") else "." + ".".join(name.split(".")[1:-3]) for name in found]
    return sorted([*names, *([".lease.json"] if lease_path(run).exists() else [])])


def test_whoever_takes_over_sweeps(run: RunDir) -> None:
    kill_a_writer(run)
    with acquire(run, print):
        assert left(run) == [".lease.json"]
    assert left(run) == []


def test_a_dead_owner_of_another_host_is_swept_by_name_and_nobody_else(run: RunDir) -> None:
    there = replace(Owner.me(), machine="another host", host="another", token="theirs", pid=4321)
    run.path.mkdir(parents=True)
    lease_path(run).write_text(json.dumps(asdict(there)))
    run.beat()
    (run.path / f".state.json.{writer(there.machine, there.pid)}.x.tmp").touch()
    neighbour = run.path / f".state.json.{writer(there.machine, there.pid + 1)}.x.tmp"  # its supervisor may live
    mine = run.path / f".state.json.{writer()}.x.tmp"
    for path in (neighbour, mine):
        path.touch()
    tidy(run)  # it may live: nothing is done
    assert len(left(run)) == 4
    with acquire(run, print, expiry=0.0):
        assert sorted(path for path in run.path.glob(".*.tmp")) == sorted([neighbour, mine])


def test_a_number_that_another_process_of_this_machine_has_by_now_is_not_swept(run: RunDir) -> None:
    run.path.mkdir(parents=True)
    lease_path(run).write_text(json.dumps(asdict(replace(Owner.me(), token="old", started="1"))))
    mine = run.path / f".state.json.{writer(machine())}.x.tmp"
    mine.touch()
    with acquire(run, print):
        assert mine.exists()


def test_tidy_removes_a_dead_lease_and_the_rest_of_a_replay_only_of_what_is_done(run: RunDir) -> None:
    kill_a_writer(run)
    run.replay.mkdir()
    tidy(run)
    assert left(run) == []
    assert run.replay.exists()
    tidy(run, done=True)
    assert not run.replay.exists()
    assert left(run) == []


def test_tidy_leaves_a_run_at_work_alone(run: RunDir) -> None:
    with acquire(run, print):
        theirs = run.checkpoints / ".tmpAbCd12"
        theirs.parent.mkdir()
        theirs.touch()
        tidy(run, done=True)
        assert theirs.exists()


class Careless:
    """An executor whose workers do their tasks and are killed at their very end."""

    places = "nowhere"
    finished = True

    def __init__(self, tasks: list[Task]) -> None:
        self.tasks = tasks
        self.outcomes = [Outcome(task, True) for task in tasks]
        for task in tasks:
            kill_a_writer(task.job.run)

    def step(self) -> None:
        pass

    def progress(self) -> list[JobProgress]:
        return []

    def stop(self, *_: object, **__: object) -> None:
        pass


def test_the_end_of_a_suite_leaves_no_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(name: str, tasks: list[Task], settings: Settings) -> Careless:
        return Careless(tasks[:2])

    monkeypatch.setattr(command, "make_executor", careless)
    monkeypatch.setattr(command, "_prepare", lambda *_: None)
    options = PlanOptions(profile="smoke", store=tmp_path)
    opened = open_plan(load_experiments(["table5"]), options, command="a test")
    command.carry_out(opened, command.WorkOptions(), lambda: None)
    folders = sorted((tmp_path / "smoke" / "runs").iterdir())
    assert len(folders) == 2
    assert [left(RunDir(folder)) for folder in folders] == [[], []]
