"""The worker: outcomes in `state.json` and exit codes, with stand-ins for training and evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from amlrepro.config import EvalConfig, RunConfig
from amlrepro.engine import evaluate, train
from amlrepro.errors import UserError
from amlrepro.files import write_text
from amlrepro.launch import worker
from amlrepro.launch.job import Job, left, write_job
from amlrepro.rundir import RunDir
from amlrepro.suite.cancel import request_cancel
from amlrepro.suite.lease import Owner, lease_path, read_owner

VAL = EvalConfig(dataset="refcoco", split="val")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the worker asked for, in order."""
    made: list[str] = []

    def train_run(config: RunConfig, run: RunDir, **_: object) -> None:
        assert read_owner(run) is not None
        made.append(f"train {config.run_id}")
        run.write_state("done", epoch=50)

    def evaluate_run(run: RunDir, config: RunConfig, evaluation: EvalConfig, watch: Any, world: Any) -> None:
        assert run.read_state()["state"] == "running"
        made.append(f"evaluate {evaluation.split}")

    monkeypatch.setattr(train, "train", train_run)
    monkeypatch.setattr(evaluate, "evaluate_run", evaluate_run)
    monkeypatch.setattr(worker.signal, "signal", lambda *_: None)
    monkeypatch.delenv(worker.PARENT, raising=False)
    return made


def job(tmp_path: Path, **changes: Any) -> Job:
    values = {"folder": str(tmp_path / "run"), "config": RunConfig(), "train": True, "evals": [VAL], **changes}
    return Job(**values)


def test_trains_then_evaluates_under_a_lease(tmp_path: Path, calls: list[str]) -> None:
    made = job(tmp_path)
    assert worker.main([str(write_job(made))]) == 0
    assert calls == [f"train {RunConfig().run_id}", "evaluate val"]
    state = made.run.read_state()
    assert (state["state"], state["epoch"]) == ("done", 50)
    assert "evaluation" not in state
    assert read_owner(made.run) is None


def test_a_trained_run_is_only_evaluated(tmp_path: Path, calls: list[str]) -> None:
    made = job(tmp_path, train=False)
    made.run.write_state("done", epoch=50)
    assert worker.main([str(write_job(made))]) == 0
    assert calls == ["evaluate val"]


def test_force_deletes_what_was_there(tmp_path: Path, calls: list[str]) -> None:
    made = job(tmp_path, fresh=True)
    path = write_job(made)
    for name in ("checkpoints/last.safetensors", "history.jsonl"):
        (made.run.path / name).parent.mkdir(exist_ok=True)
        (made.run.path / name).write_text("old")
    assert worker.main([str(path)]) == 0
    assert not made.run.history.exists()
    assert not made.run.checkpoint("last").exists()


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [(UserError("image missing", where="a.jpg"), 2, "image missing"), (ValueError("a bug"), 1, "ValueError: a bug")],
)
def test_failures_leave_their_reason(
    tmp_path: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch, error: Exception, code: int, reason: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(train, "train", fail)
    made = job(tmp_path)
    assert worker.main([str(write_job(made))]) == code
    state = made.run.read_state()
    assert state["state"] == "failed"
    assert state["reason"].startswith(reason)
    assert read_owner(made.run) is None  # the next attempt need not wait


def test_a_request_to_stop_leaves_a_resumable_state(
    tmp_path: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise SystemExit(143)

    monkeypatch.setattr(evaluate, "evaluate_run", stop)
    made = job(tmp_path)
    with pytest.raises(SystemExit):
        worker.main([str(write_job(made))])
    assert made.run.read_state()["state"] == "preempted"
    assert made.run.read_state()["epoch"] == 50


def test_a_cancelled_run_says_so(tmp_path: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    made = job(tmp_path)

    def cancelled(*_: object, **__: object) -> None:
        request_cancel(made.run)
        raise SystemExit(143)  # as the heartbeat's thread asks for

    monkeypatch.setattr(train, "train", cancelled)
    with pytest.raises(SystemExit):
        worker.main([str(write_job(made))])
    state = made.run.read_state()
    assert (state["state"], state["reason"]) == ("preempted", "cancelled")


def test_what_others_did_meanwhile_is_not_done_again(tmp_path: Path, calls: list[str]) -> None:
    made = job(tmp_path, folder=str(tmp_path / "results" / "demo" / "runs" / RunConfig().run_id))
    path = write_job(made)
    write_text(made.run.checkpoint("last"), "")
    made.run.write_state("done", epoch=50)
    assert worker.main([str(path)]) == 0
    assert calls == ["evaluate val"]


def test_initial_weights_are_made_once(tmp_path: Path, calls: list[str]) -> None:
    """A job that ends before the first epoch is a job all the same, and is nothing when the weights are there."""
    config = RunConfig().with_changes({"exec.until": 0, "exec.milestones": [0, 10]})
    folder = tmp_path / "results" / "demo" / "runs" / config.run_id
    made = job(tmp_path, folder=str(folder), config=config)
    assert left(made).train
    write_text(made.run.checkpoint("epoch0"), "")
    assert not left(made).train
    assert not left(made.model_copy(update={"train": False})).train


def test_a_run_in_other_hands_is_left_alone(
    tmp_path: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = job(tmp_path)
    path = write_job(made)
    monkeypatch.setattr(worker, "acquire", _refuse)
    assert worker.main([str(path)]) == 75
    assert calls == []
    assert "being worked on" in capsys.readouterr().err
    assert not lease_path(made.run).exists()


def _refuse(run: RunDir, *_: object, **__: object) -> None:
    from amlrepro.suite.lease import LeaseHeld

    raise LeaseHeld(f"run {run.path.name} is being worked on by another process", found=Owner.me().pid)
