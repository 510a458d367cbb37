"""What status learns of SLURM, and how seldom it asks."""

from __future__ import annotations

from pathlib import Path

import pytest

from amlrepro.launch.slurm_states import SlurmStates
from amlrepro.suite.overview import Overview, RunView

ANSWER = "12_0|PENDING\n12_1|RUNNING\n12_2|CANCELLED by 1000\n12_3|PREEMPTED\n"


@pytest.fixture(autouse=True)
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An `sacct` that notes what it is asked."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (tmp_path / "answer").write_text(ANSWER, "utf-8")
    program = programs / "sacct"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >> {tmp_path}/asked\ncat {tmp_path}/answer\n', "utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    return tmp_path / "asked"


def overview(*jobs: str, state: str = "queued") -> Overview:
    return Overview("demo", tuple(RunView("demo", f"run{job}", state, job_id=job) for job in jobs), ())


def queries(asked: Path) -> int:
    return len(asked.read_text("utf-8").splitlines()) if asked.exists() else 0


def test_states_of_queued_jobs(tmp_path: Path, asked: Path) -> None:
    seen = SlurmStates(tmp_path / "demo").judge(overview("12_0", "12_1", "12_2", "12_3")).runs
    assert [run.state for run in seen] == ["queued", "running", "interrupted", "queued"]  # preempted ones may return
    assert seen[1].phase == "starting"
    assert seen[2].reason == "SLURM ended job 12_2: CANCELLED"
    assert queries(asked) == 1


def test_one_query_a_minute_however_often_one_looks(tmp_path: Path, asked: Path) -> None:
    watching = SlurmStates(tmp_path / "demo")
    for _ in range(5):
        watching.judge(overview("12_0"))
    again = SlurmStates(tmp_path / "demo").judge(overview("12_1"))  # the command given again
    assert again.runs[0].state == "running"
    assert queries(asked) == 1
    SlurmStates(tmp_path / "demo", seconds=0.0).judge(overview("12_0"))
    assert queries(asked) == 2


def test_nobody_asks_when_nothing_is_queued(tmp_path: Path, asked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    SlurmStates(tmp_path / "demo").judge(overview("12_0", state="running"))
    SlurmStates(tmp_path / "demo").judge(Overview("demo", (RunView("demo", "local", "queued"),), ()))
    assert queries(asked) == 0
    monkeypatch.setenv("PATH", "/nonexistent")  # a machine without SLURM
    assert SlurmStates(tmp_path / "demo").judge(overview("12_0")).runs[0].state == "queued"
