"""Two hundred jobs in one array: how often SLURM is called, what the store knows, and who submits again."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from slurm_jobs import calls, until, wrapped

from amlrepro.config import EvalConfig, RunConfig, dump_config
from amlrepro.files import write_text
from amlrepro.launch import slurm, slurm_query
from amlrepro.launch.cluster import ClusterSettings
from amlrepro.launch.job import Task, make_tasks
from amlrepro.launch.slurm import SlurmExecutor
from amlrepro.suite.plan import PlannedRun
from amlrepro.suite.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("slurm")]

NUMBER = 200
FASTER = 120.0  # a minute between queries passes in half a second


@pytest.fixture
def tasks(tmp_path: Path) -> list[Task]:
    configs = [RunConfig().with_changes({"seed": seed, "exec.device": "cpu"}) for seed in range(NUMBER)]
    evaluation = EvalConfig(dataset="refcoco", split="val")
    runs = [PlannedRun(config, "baseline", 50, evals=[evaluation]) for config in configs]
    return make_tasks(Store(tmp_path / "results", "paper"), runs)


def test_one_submission_and_one_query_a_minute(
    cluster: Path, tmp_path: Path, tasks: list[Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in wrapped(tmp_path / "bin", "sbatch", "sacct", "squeue", "scontrol").items():
        monkeypatch.setenv(name, value)
    begin = time.monotonic()
    clock = time.monotonic
    monkeypatch.setattr(slurm_query, "monotonic", lambda: begin + FASTER * (clock() - begin))
    monkeypatch.setattr(slurm, "STORE_SECONDS", 0.0)
    monkeypatch.setattr(slurm, "PER_LOOK", 0.0)
    settings = ClusterSettings(jobs_at_once=7, options={"hold": True})
    executor = SlurmExecutor(tasks, settings, tmp_path / "results" / "paper")
    executor.step()
    assert calls(tmp_path / "bin", "sbatch") == 1
    states = [task.job.run.read_state() for task in tasks]
    assert {state["state"] for state in states} == {"queued"}
    (array,) = executor.job_ids
    assert [state["queued"]["job_id"] for state in states] == [f"{array}_{number}" for number in range(NUMBER)]

    other = SlurmExecutor(tasks, settings, tmp_path / "results" / "paper")
    other.step()
    assert (other.job_ids, other.adopted) == ([], NUMBER)
    assert calls(tmp_path / "bin", "sbatch") == 1

    watched = clock()
    while clock() - watched < 3:  # six minutes
        executor.step()
        time.sleep(0.01)
    minutes = FASTER * (clock() - begin) / 60
    asked = sum(calls(tmp_path / "bin", name) for name in ("sacct", "squeue", "scontrol"))
    assert 1 + 1 <= asked <= 1 + minutes  # the other launcher's one among them
    assert {job.phase for job in executor.progress()} == {"queued"}

    taken = [task.run_id for task in tasks[:3]]
    for task in tasks[:3]:
        write_text(task.job.run.config, dump_config(task.job.config))
    command = [sys.executable, "-m", "amlrepro.cli.main", "cancel", *taken, "--store", str(tmp_path / "results")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert f"taken out of SLURM's queue: {array}_0, {array}_1, {array}_2" in said
    subprocess.run(["scancel", array], check=True)  # the rest, as an administrator does
    until(lambda: executor.step() or executor.finished)
    reasons = {outcome.task.run_id: str(outcome.reason) for outcome in executor.outcomes}
    assert len(reasons) == NUMBER
    assert {reasons.pop(name) for name in taken} == {"cancelled"}
    assert all("CANCELLED" in reason for reason in reasons.values())
    assert calls(tmp_path / "bin", "sbatch") == 1
