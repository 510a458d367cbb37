"""What a launcher makes of SLURM jobs that failed, without SLURM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from amlrepro.config import EvalConfig, RunConfig
from amlrepro.launch import slurm
from amlrepro.launch.cluster import ClusterSettings
from amlrepro.launch.job import Task, make_tasks
from amlrepro.launch.slurm import SlurmExecutor
from amlrepro.launch.submissions import write_end
from amlrepro.suite.plan import PlannedRun
from amlrepro.suite.store import Store

MEMORY = "OutOfMemoryError: CUDA out of memory"


@pytest.fixture
def submitted(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Parameters of every call of sbatch; the first is job 1, and so on."""
    made: list[dict[str, Any]] = []

    def submit(folder: Path, calls: list[Any], parameters: dict[str, Any], requeues: int) -> str:
        made.append(parameters)
        return str(len(made))

    monkeypatch.setattr(slurm, "require_slurm", lambda: None)
    monkeypatch.setattr(slurm, "submit_array", submit)
    monkeypatch.setattr(slurm, "STORE_SECONDS", 0.0)
    monkeypatch.setattr(slurm, "PER_LOOK", 0.0)
    return made


@pytest.fixture
def task(tmp_path: Path) -> Task:
    planned = PlannedRun(RunConfig(), "", 50, evals=[EvalConfig(dataset="refcoco", split="val")])
    (made,) = make_tasks(Store(tmp_path, "paper"), [planned])
    return made


def executor(task: Task, tmp_path: Path, **settings: Any) -> SlurmExecutor:
    made = SlurmExecutor([task], ClusterSettings(**settings), tmp_path / "paper", retries=2)
    made.step()
    return made


def test_a_node_at_fault_is_left_out_and_tries_have_an_end(
    submitted: list[dict[str, Any]], task: Task, tmp_path: Path
) -> None:
    made = executor(task, tmp_path, exclude="slow7")
    for number, node in enumerate(("bad1", "bad2", "bad1"), 1):
        write_end(made.logs, str(number), 1, "node", node)
        made.step()
    assert [parameters["exclude"] for parameters in submitted] == ["slow7", "bad1,slow7", "bad1,bad2,slow7"]
    (outcome,) = made.outcomes
    assert not outcome.done
    assert "machine or GPU" in str(outcome.remedy)


def test_progress_between_failures_begins_the_count_anew(
    submitted: list[dict[str, Any]], task: Task, tmp_path: Path
) -> None:
    made = executor(task, tmp_path)
    for number in range(1, 6):
        task.job.run.write_state("preempted", step=100 * number)
        write_end(made.logs, str(number), -9, "killed", "node1")
        made.step()
    assert len(submitted) == 6
    assert not made.outcomes


def test_what_another_try_cannot_mend_is_not_submitted_again(
    submitted: list[dict[str, Any]], task: Task, tmp_path: Path
) -> None:
    made = executor(task, tmp_path)
    task.job.run.write_state("failed", reason=MEMORY)
    write_end(made.logs, "1", 1, "memory", "node1")
    made.step()
    (outcome,) = made.outcomes
    assert (outcome.done, outcome.reason, len(submitted)) == (False, MEMORY, 1)
    assert "--jobs-per-gpu 1" in str(outcome.remedy)


def test_what_a_job_of_another_launcher_did_is_taken_in(
    submitted: list[dict[str, Any]], task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two launchers: the second submits nothing, and sees the end in the store."""
    first, second = executor(task, tmp_path), executor(task, tmp_path)
    assert (len(submitted), second.adopted, second.job_ids) == (1, 1, [])
    monkeypatch.setattr(SlurmExecutor, "_complete", lambda self, task: True)
    write_end(first.logs, "1", 0, None, "node1")
    for made in (first, second):
        made.step()
        assert [outcome.done for outcome in made.outcomes] == [True]
