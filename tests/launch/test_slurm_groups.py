"""What SLURM gets: arrays by class, order and dependencies; and what it says of jobs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from amlrepro.config import EvalConfig, ProbeConfig, RunConfig
from amlrepro.launch import slurm_groups, slurm_query
from amlrepro.launch.cluster import ClusterSettings
from amlrepro.launch.job import Task, make_tasks
from amlrepro.launch.slurm_groups import Group, dependency, make_groups, make_parts
from amlrepro.launch.slurm_query import SlurmQuery
from amlrepro.launch.submissions import Submission, open_jobs, record, submissions_folder, write_end
from amlrepro.suite.plan import PlannedRun
from amlrepro.suite.store import Store

VAL = EvalConfig(dataset="refcoco", split="val")
COST = ProbeConfig(kind="cost", checkpoint="last")


def tasks(tmp_path: Path, *runs: tuple[int, int, list[EvalConfig], list[ProbeConfig]]) -> list[Task]:
    """Tasks of runs, each with seed, processes, evaluations and probes."""
    planned = [
        PlannedRun(RunConfig().with_changes({"seed": seed, "exec.processes": processes}), "", 50, (), evals, probes)
        for seed, processes, evals, probes in runs
    ]
    return make_tasks(Store(tmp_path, "paper"), planned)


def groups(made: list[Task]) -> list[Group]:
    return make_groups([part for task in made for part in make_parts(task)], ClusterSettings())


def seeds(group: Group) -> list[int]:
    return [part.job.config.seed for part in group.parts]


def test_one_process_trains_and_evaluates_in_one_array(tmp_path: Path) -> None:
    (only,) = groups(tasks(tmp_path, *[(seed, 1, [VAL], []) for seed in range(5)]))
    assert (only.job_class.kind, only.job_class.processes, len(only.parts), only.waits) == ("training", 1, 5, None)
    assert all(part.job.train and part.job.evals == [VAL] for part in only.parts)


def test_several_processes_leave_evaluations_to_a_smaller_array_in_the_same_order(tmp_path: Path) -> None:
    made = tasks(tmp_path, (0, 8, [], []), (1, 8, [VAL], []), (2, 1, [VAL], []), (3, 8, [VAL], []))
    single, many, evaluations = groups(made)
    assert [group.job_class.processes for group in (single, many, evaluations)] == [1, 8, 1]
    assert many.parameters["ntasks_per_node"] == 8
    assert seeds(many)[: len(evaluations.parts)] == seeds(evaluations)
    assert set(seeds(evaluations)) == {1, 3}
    assert all(part.job.train and not part.job.evals for part in many.parts)
    assert all(not p.job.train and p.job.evals == [VAL] and p.job.config.exec.processes == 1 for p in evaluations.parts)
    assert evaluations.waits == "each waits for its run's training"
    # SLURM matches elements 0, 1 of the one array with those of the other; a single job waits for one element.
    assert dependency(evaluations, ["7_0", "7_1"])["dependency"] == "aftercorr:7"
    assert dependency(evaluations, ["7_1", "7_0"])["dependency"] == "afterok:7_1:7_0"
    (task,) = tasks(tmp_path, (9, 2, [VAL], []))
    last = groups([task])[-1]
    assert dependency(last, ["7"])["dependency"] == "afterok:7"
    assert dependency(last, ["7"])["additional_parameters"]["kill-on-invalid-dep"] == "yes"


def test_measurements_come_last_and_have_a_node_for_themselves(tmp_path: Path) -> None:
    training, measurement = groups(tasks(tmp_path, (0, 1, [VAL], [COST]), (1, 1, [VAL], [])))
    assert (len(training.parts), len(measurement.parts)) == (2, 1)
    assert measurement.parameters["exclusive"] is True
    assert dependency(measurement, ["7_0"])["dependency"] == "afterany:7_0"
    assert dependency(measurement, []) == {}


def test_large_arrays_are_split_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm_groups, "LARGEST_ARRAY", 3)
    made = groups(tasks(tmp_path, *[(seed, 2, [VAL], []) for seed in range(7)]))
    assert [(group.job_class.kind, len(group.parts)) for group in made] == [
        *[("training", 3), ("training", 3), ("training", 1)],
        *[("evaluation", 3), ("evaluation", 3), ("evaluation", 1)],
    ]
    for first, second in zip(made[:3], made[3:], strict=True):
        assert seeds(first) == seeds(second)


def test_jobs_are_found_again_from_the_store_alone(tmp_path: Path) -> None:
    folder = submissions_folder(tmp_path)
    record(folder, Submission("12", "training", ("a", "b"), 1.0))
    record(folder, Submission("13", "evaluation", ("b",), 2.0))
    write_end(folder, "12_0", 0, None, "node1")
    (folder / "14.json").write_text('{"torn')
    assert list(open_jobs(tmp_path)) == [("b", "training", "12_1"), ("b", "evaluation", "13")]
    assert list(open_jobs(tmp_path, "a")) == []


@pytest.fixture
def sacct(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for sacct that prints a file and counts its calls."""
    answer = tmp_path / "answer"
    path = tmp_path / "sacct"
    path.write_text(f"#!/bin/sh\n/bin/echo call >>{tmp_path}/calls\n/bin/cat {answer}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return answer


def test_one_query_for_all_and_not_before_its_time(sacct: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(slurm_query, "monotonic", lambda: now[0])
    sacct.write_text("5_0|COMPLETED\n5_1|CANCELLED by 1000\n5_2|RUNNING\n5_[3-4,7%2]|PENDING\n6|NODE_FAIL\n")
    query = SlurmQuery(60.0)
    jobs = [*(f"5_{number}" for number in (0, 1, 2, 3, 4, 7)), "6"]
    for _ in range(5):
        query.refresh(jobs)
        now[0] += 10
    assert (sacct.parent / "calls").read_text() == "call\n"
    assert [job for job in jobs if query.over(job)] == ["5_0", "5_1"]  # a lost node's job may be requeued
    now[0] += 60
    assert query.refresh(jobs)
    assert [job for job in jobs if query.over(job)] == ["5_0", "5_1", "6"]
    assert not query.over("99")


def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("srun", "squeue"):
        (tmp_path / name).symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert set(slurm_query.missing_programs()) == {"sbatch", "scontrol"}


def test_accounting_that_lags_is_asked_again_by_the_queue(sacct: Path) -> None:
    squeue = sacct.parent / "squeue"
    squeue.write_text("#!/bin/sh\necho '5_0|PENDING'\n")
    squeue.chmod(0o755)
    sacct.write_text("")
    query = SlurmQuery(0.0)
    query.refresh(["5_0", "5_1"])
    assert not query.known
    query.refresh(["5_0", "5_1"])
    assert query.known == {"5_0": "PENDING", "5_1": "UNKNOWN"}
    assert [job for job in ("5_0", "5_1") if query.over(job)] == ["5_1"]
    sacct.write_text("5_0|COMPLETED\n")
    query.refresh(["5_0"])
    assert query.over("5_0")
