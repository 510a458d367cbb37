"""`amlris plan --budget`, `run --chosen` and `run --until-decided` as typed. Nothing is trained: jobs are pretended."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_store import finish_run, make_records, write_records

from amlrepro.cli import carry_out as module
from amlrepro.cli.budget import parse_budget
from amlrepro.cli.carry_out import WorkOptions
from amlrepro.cli.main import main
from amlrepro.cli.options import PlanOptions, open_plan
from amlrepro.cli.until_decided import UntilDecided
from amlrepro.errors import UserError
from amlrepro.files import write_text
from amlrepro.launch.job import Task, make_tasks
from amlrepro.launch.local import Outcome
from amlrepro.suite.chosen import Choice, Chosen, write_chosen
from amlrepro.suite.experiment import load_experiments
from amlrepro.suite.store import Store

SEEDS = ("--seeds", "0", "1", "2", "3", "4")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AMLRIS_CONFIG", str(tmp_path / "none.yaml"))
    monkeypatch.delenv("AMLRIS_DATA", raising=False)
    return tmp_path


def call(*arguments: str) -> int:
    """Exit code of `amlris ...`."""
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    return int(end.value.code or 0)


class Jobs:
    """Stands in for executors: every task ends at once, with a quality by method; the rounds are noted."""

    def __init__(self, store: Store, apart: float = 0.1, failing: int | None = None) -> None:
        self.store, self.apart, self.failing = store, apart, failing
        self.rounds: list[list[int]] = []

    def __call__(self, opened: object, tasks: list[Task], work: object) -> list[Outcome]:
        self.rounds.append(sorted({task.planned.config.seed for task in tasks}))
        return [self._end(task) for task in tasks]

    def _end(self, task: Task) -> Outcome:
        run, seed = task.planned, task.planned.config.seed
        if seed == self.failing:
            return Outcome(task, False, False, "it broke")
        finish_run(self.store, run)
        for name in ("last", *(f"epoch{epoch}" for epoch in run.config.exec.milestones)):
            write_text(self.store.run(run.run_id).checkpoint(name), "")
        quality = 0.5 + (self.apart if run.config.strategy == "aml" else 0.0) + 0.001 * seed
        for evaluation in run.evals:
            write_records(self.store, run, evaluation, make_records(quality, 200, 40, seed=1))
        return Outcome(task, True)


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> Jobs:
    made = Jobs(Store(Path("results"), "smoke"))
    monkeypatch.setattr(module, "_do", made)
    monkeypatch.setattr(module, "_prepare", lambda *_: None)
    return made


def test_budgets_are_hours() -> None:
    assert [parse_budget(text) for text in ("100h", "55", "90min", "3 d", "0.5h")] == [100, 55, 1.5, 72, 0.5]
    for text in ("", "ten", "-5h", "5w"):
        with pytest.raises(UserError, match="not a budget"):
            parse_budget(text)


def test_plan_of_a_budget(capsys: pytest.CaptureFixture[str]) -> None:
    """10 h: harness and readings first; R02 and R06 do not fit; what to type for it."""
    assert call("plan", "table2", "table7", "--assume-data", "--budget", "10h") == 0
    text = capsys.readouterr().out
    assert "10 A800 hours, by the paper's rates" in text
    assert "does not fit" in text
    assert "amlris verify-harness" in text
    assert "amlris run table2 table7 --seeds 0 1 2 3 4 --chosen chosen.json" in text
    assert call("plan", "table2", "--assume-data", "--budget", "10h", "--json") == 0
    values = json.loads(capsys.readouterr().out)
    assert values["spent"] <= values["budget"] == 10


def test_wrong_budgets_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("plan", "table2", "--assume-data", "--budget", "much") == 2
    assert "not a budget" in capsys.readouterr().err
    assert call("plan", "table2", "--assume-data", "--write", "x.json") == 2
    assert "--budget beside it" in capsys.readouterr().err
    assert call("plan", "table2", "--assume-data", "--budget", "10h", "--write", "x.json") == 2
    assert "provisional" in capsys.readouterr().err
    assert not Path("x.json").exists()
    assert call("plan", "table2", "--profile", "smoke", "--budget", "10h") == 2
    assert "train one first" in capsys.readouterr().err


def test_three_seeds_first_and_no_more_where_they_decide(jobs: Jobs, capsys: pytest.CaptureFixture[str]) -> None:
    """AML is 10 points above in each of three seeds: seeds 3 and 4 of both DETRIS are not started, the table says so,
    and once more it is the same. No claim is about Table 2's CARIS: it was asked for by itself, and runs."""
    arguments = ("run", "table2", "--profile", "smoke", *SEEDS, "--until-decided")
    assert call(*arguments) == 0
    text = capsys.readouterr().out
    assert jobs.rounds == [[0, 1, 2], [3, 4]]
    assert "until decided: 4 runs are not started" in text
    assert "3 claims settled at 3 seeds: 3 decided" in text
    assert text.rstrip().endswith("until decided: 4 runs left out")  # nothing here says what they cost
    assert "3 of 5 seeds (not started:" in text
    absent = set(jobs.store.read(jobs.store.stopped))
    assert len(absent) == 4
    assert all(run_id.startswith("detris") for run_id in absent)
    assert len(jobs.store.run_ids()) == 16
    jobs.rounds.clear()
    assert call(*arguments) == 0
    assert jobs.rounds == []
    capsys.readouterr()
    assert call("run", "table2", "--profile", "smoke", *SEEDS) == 0  # all of them after all
    assert jobs.rounds == [[3, 4]]
    assert len(jobs.store.run_ids()) == 20
    assert "3 of 5 seeds" not in capsys.readouterr().out


def test_seeds_go_on_where_a_run_failed(jobs: Jobs, capsys: pytest.CaptureFixture[str]) -> None:
    """Seed 1 fails: no claim has its first look, so nothing is left out; the command tells the failure."""
    jobs.failing = 1
    assert call("run", "table2", "--profile", "smoke", *SEEDS, "--until-decided") == 1
    output = capsys.readouterr()
    assert jobs.rounds == [[0, 1, 2], [3, 4]]
    assert "no run is left out" in output.out
    assert "it broke" in output.err


def test_without_waiting_the_seeds_are_submitted_by_looks(jobs: Jobs, capsys: pytest.CaptureFixture[str]) -> None:
    """First those of the first look and no others; once they are in, what is left of the rest."""
    options = PlanOptions(profile="smoke", seeds="0 1 2 3 4")
    opened = open_plan(load_experiments(["table2"]), options, command="amlris run table2")
    work = WorkOptions(executor="slurm", no_wait=True)
    for rounds in ([[0, 1, 2]], [[0, 1, 2], [3, 4]]):
        tasks = make_tasks(opened.store, opened.plan.runs.values())
        module._by_looks(opened, tasks, work, UntilDecided(opened))
        assert jobs.rounds == rounds
    text = capsys.readouterr().out
    assert "8 runs wait for the first look" in text
    assert "4 runs are not started" in text


def test_there_must_be_seeds_to_stop_at(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("run", "table2", "--profile", "smoke", "--seeds", "0", "1", "2", "--until-decided", "--dry-run") == 2
    assert "--seeds 0 1 2 3 4" in capsys.readouterr().err


def test_chosen_runs_and_nothing_else(jobs: Jobs, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("plan", "table2", "--profile", "smoke", "--seeds", "0", "1", "--json") == 0
    run = next(r for r in json.loads(capsys.readouterr().out)["runs"] if r["run_id"].startswith("caris_plain"))
    chosen = Chosen("smoke", "inferred", {run["run_id"]: Choice(run["until"], frozenset(run["evaluations"][:1]))})
    write_chosen(Path("chosen.json"), chosen)
    assert call("run", "table2", "--profile", "smoke", "--seeds", "0", "1", "--chosen", "chosen.json") == 0
    text = capsys.readouterr().out
    assert jobs.store.run_ids() == [run["run_id"]]
    assert len(list(jobs.store.run(run["run_id"]).evals.glob("*.parquet"))) == 1
    assert "not among the runs that were chosen" in text
    assert call("run", "table2", "--profile", "smoke", "--chosen", "none.json") == 2
    assert "no such file" in capsys.readouterr().err
