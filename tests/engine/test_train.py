"""The loop against thirty official steps; what it records, when it stops, and what it refuses."""

from __future__ import annotations

import json
import math
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_refer import AML, make_refer, tiny_config

from amlrepro.aml.strategies import Plain
from amlrepro.config import parse_config
from amlrepro.data.batch import Batch
from amlrepro.data.tokens import SPECIAL, Tokenizer
from amlrepro.engine import limits as limits_module
from amlrepro.engine import session as session_module
from amlrepro.engine import validation as validation_module
from amlrepro.engine.checkpoint import read_meta
from amlrepro.engine.evaluate import evaluate
from amlrepro.engine.numerics import Precision
from amlrepro.engine.signals import Preempted
from amlrepro.engine.train import train
from amlrepro.errors import UserError
from amlrepro.models import load_official
from amlrepro.rundir import RunDir


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_refer(tmp_path_factory.mktemp("refer") / "data", train=8, val=2)


@pytest.mark.slow
def test_follows_the_official_training(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """caris_micro_training.json: losses to 1e-4, gradient norms before clipping, learning rates of thirty steps."""
    official = json.loads((shared / "parity" / "caris_micro_training.json").read_text())
    io = torch.load(shared / "parity" / "caris_micro_official_io.pt", weights_only=True)
    model: Any = load_official("caris", shared / "parity" / "caris_micro_official_sd.pth", text_heads=4)
    model.requires_grad_(True)
    model.train = lambda mode=True: torch.nn.Module.train(model, False)  # the fixture's steps have no dropout

    def batches(start: int, stop: int, *_: int) -> Iterator[Batch]:
        for update in range(start, stop):
            yield Batch(
                io["image"], io["input_ids"], io["attention_mask"], io["target"].long(), torch.arange(2), update
            )

    data = SimpleNamespace(
        steps_per_epoch=10, n_refs=2, n_sentences=2, n_images=2, batches=batches, tokenizer=Tokenizer("words", SPECIAL)
    )
    monkeypatch.setattr(session_module, "open_training", lambda *_: data)
    monkeypatch.setattr(session_module, "open_validation", lambda *_: None)
    monkeypatch.setattr(session_module, "build_model", lambda *_: model)
    training = {"horizon": 10, "warmup": 10, "batch": 2}
    execution = {"until": 3, "log_every": 1, "device": "cpu", "threads": 1}
    train(parse_config({"train": training, "exec": execution}), RunDir(tmp_path / "run"))

    rows = [row for row in RunDir(tmp_path / "run").history_rows() if row["kind"] == "step"]
    assert [row["lr"] for row in rows] == pytest.approx(official["lr_heads"], rel=1e-9)
    assert [row["loss"] for row in rows] == pytest.approx(official["losses"], rel=1e-4)
    assert [row["grad_norm"] for row in rows] == pytest.approx(official["grad_norms"], rel=1e-2)


def test_history_state_and_checkpoints(root: Path, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    told: list[dict[str, Any]] = []
    train(tiny_config(root, **AML, **{"exec.milestones": (0, 2), "exec.log_every": 3}), run, told.append)
    rows = run.history_rows()
    assert [row for row in told if row["kind"] != "progress"] == rows
    steps, epochs, validations = ([r for r in rows if r["kind"] == k] for k in ("step", "epoch", "validation"))
    assert [(r["step"], r["epoch"]) for r in steps] == [(3, 1), (6, 2), (9, 3), (12, 3)]
    assert [(r["step"], r["epoch"]) for r in epochs] == [(4, 1), (8, 2), (12, 3)]
    assert [(r["step"], r["epoch"], r["samples"]) for r in validations] == [(4, 1, 8), (12, 3, 8)]
    # both divide the same twelve losses into equal parts
    assert math.fsum(r["loss"] for r in steps) / 4 == pytest.approx(math.fsum(r["loss"] for r in epochs) / 3)
    # at update 11 of 12 the polynomial decay has (1 - 11/12)^0.9 of the rate left
    assert steps[-1]["lr"] == pytest.approx(1e-3 * (1 / 12) ** 0.9)
    assert {"masked_blocks", "weak_blocks", "untouched", "fully_masked", "weak_pixels"} <= epochs[0].keys()
    assert all(r["memory_mb"] > 0 and r["images_per_s"] > 0 and r["seconds"] > 0 for r in epochs)
    assert all(r["grad_norm"] > 0 and r["skipped"] == 0 and r["eta_s"] >= 0 for r in steps)

    state = run.read_state()
    assert (state["state"], state["epoch"], state["step"], state["steps_per_epoch"]) == ("done", 3, 12, 4)
    best = max(validations, key=lambda r: r["oiou"])
    assert state["best"] == {"oiou": best["oiou"], "epoch": best["epoch"]}
    assert state["best_by"] == best["by"] == "oIoU on refcoco val, 112 x 112"
    names = sorted(p.name for p in run.checkpoints.iterdir())
    expected = ["best", "epoch0", "epoch2", "last"]
    assert names == sorted(f"{name}.{suffix}" for name in expected for suffix in ("json", "safetensors"))
    assert read_meta(run.checkpoint("best"))["epoch"] == best["epoch"]
    assert read_meta(run.milestone(2))["step"] == 8
    assert run.heartbeat.exists()
    provenance = json.loads(run.provenance.read_text())
    assert (provenance["data"]["refs"], provenance["data"]["sentences"], provenance["data"]["images"]) == (16, 32, 8)


def test_training_lowers_the_loss(root: Path, tmp_path: Path) -> None:
    changes = {"train.horizon": 15, "train.lr": 3e-3, "exec.validate_at": ()}
    train(tiny_config(root, **changes), RunDir(tmp_path / "run"))
    losses = [r["loss"] for r in RunDir(tmp_path / "run").history_rows() if r["kind"] == "epoch"]
    assert losses[-1] < 0.8 * losses[0]


def test_a_finished_run_is_left_alone(root: Path, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    config = tiny_config(root, **{"train.horizon": 1})
    train(config, run)
    before = {p: p.read_bytes() for p in [run.history, *run.checkpoints.iterdir()]}
    train(config, run)
    assert {p: p.read_bytes() for p in [run.history, *run.checkpoints.iterdir()]} == before
    assert run.read_state()["state"] == "done"


def test_without_val_there_is_no_best(tmp_path: Path) -> None:
    root = make_refer(tmp_path / "data", train=4, val=0)
    run = RunDir(tmp_path / "run")
    train(tiny_config(root), run)
    assert not run.checkpoint("best").exists()
    assert run.read_state()["best"] == "none: this data has no val split"
    assert {row["kind"] for row in run.history_rows()} == {"step", "epoch"}


@pytest.mark.parametrize(("number", "ending"), [(signal.SIGTERM, Preempted), (signal.SIGINT, KeyboardInterrupt)])
def test_signals_leave_a_resumable_state(
    root: Path, tmp_path: Path, number: signal.Signals, ending: type[BaseException]
) -> None:
    run = RunDir(tmp_path / "run")

    def after_three(row: dict[str, Any]) -> None:
        if row["kind"] == "step" and row["step"] == 3:
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    with pytest.raises(ending):
        train(tiny_config(root, **{"exec.log_every": 1}), run, after_three)
    assert signal.getsignal(number) is before
    state = run.read_state()
    assert (state["state"], state["step"]) == ("preempted", 3)
    assert read_meta(run.checkpoint("last"))["step"] == 3
    train(tiny_config(root), run)
    assert run.read_state()["state"] == "done"


def test_a_signal_in_validation_closes_the_epoch_next_time(root: Path, tmp_path: Path) -> None:
    run, whole = RunDir(tmp_path / "run"), RunDir(tmp_path / "whole")
    config = tiny_config(root, **{"exec.validate_at": (3,), "exec.eval_batch": 1})
    train(config, whole)

    def interrupted(*arguments: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return evaluate(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validation_module, "evaluate", interrupted)
        with pytest.raises(Preempted):
            train(config, run)
    assert read_meta(run.checkpoint("last"))["resume"]["closed"] == 2
    train(config, run)
    timings = ("images_per_s", "eta_s", "memory_mb", "seconds")
    rows, expected = (
        [{k: v for k, v in r.items() if k not in timings} for r in d.history_rows()] for d in (run, whole)
    )
    assert rows == expected


def test_works_outside_the_main_thread(root: Path, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    thread = threading.Thread(target=train, args=(tiny_config(root, **{"train.horizon": 1}), run))
    thread.start()
    thread.join()
    assert run.read_state()["state"] == "done"


def overflow_at(patch: pytest.MonkeyPatch, *updates: int) -> None:
    """The loss of these updates is infinite."""
    original = Plain.losses

    def losses(self: Plain, model: Any, batch: Batch) -> dict[str, torch.Tensor]:
        out = original(self, model, batch)
        return {**out, "loss": out["loss"] * math.inf} if batch.update in updates else out

    patch.setattr(Plain, "losses", losses)


def test_divergence_is_a_failure_with_a_reason(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overflow_at(monkeypatch, 5)
    run = RunDir(tmp_path / "run")
    with pytest.raises(UserError, match="diverged"):
        train(tiny_config(root), run)
    state = run.read_state()
    assert (state["state"], state["epoch"]) == ("failed", 1)
    assert "loss or gradient is not finite" in state["reason"]
    assert "update 6, epoch 2" in state["reason"]
    assert not run.checkpoint("last").exists()


def test_a_scaler_skips_and_counts(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a gradient scaler an overflow is skipped, counted and left out of the means; too many in a row end a run."""
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    monkeypatch.setattr(session_module, "choose_precision", lambda *_: Precision("cpu", None, scaler))
    overflow_at(monkeypatch, 2, 3, 7)
    run = RunDir(tmp_path / "run")
    train(tiny_config(root, **{"exec.log_every": 6}), run)
    rows = [r for r in run.history_rows() if r["kind"] == "step"]
    assert [r["skipped"] for r in rows] == [2, 1]
    assert all(math.isfinite(r["loss"]) and math.isfinite(r["grad_norm"]) for r in rows)
    assert read_meta(run.checkpoint("last"))["resume"]["scaler"]["scale"] == 4.0 / 2**3
    monkeypatch.setattr(limits_module, "SKIPPED_LIMIT", 2)
    with pytest.raises(UserError, match="diverged"):
        train(tiny_config(root), RunDir(tmp_path / "hopeless"))


def test_bad_input_writes_nothing(root: Path, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    with pytest.raises(UserError, match="horizon"):
        train(tiny_config(root, **{"exec.until": 4}), run)
    with pytest.raises(UserError, match="data root"):
        train(tiny_config(tmp_path / "nowhere"), run)
    assert not run.path.exists()


def test_another_runs_checkpoint_is_refused(root: Path, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    train(tiny_config(root, **{"exec.until": 1}), run)
    last = run.checkpoint("last").read_bytes()
    with pytest.raises(UserError, match="checkpoint of another run"):
        train(tiny_config(root, **{"train.lr": 2e-3}), run)
    run.checkpoint("last").write_bytes(last[: len(last) // 2])
    with pytest.raises(UserError, match="torn"):
        train(tiny_config(root), run)
