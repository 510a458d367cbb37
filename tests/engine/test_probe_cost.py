"""Cost probes: plausible numbers, no trace; and the weights before training, which other probes look at."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_refer import AML, make_refer, tiny_config

from amlrepro.config import ProbeConfig
from amlrepro.engine.history import Journal
from amlrepro.engine.probes import cost, run_probe
from amlrepro.engine.probes.cost import resident_mb
from amlrepro.engine.session import Session
from amlrepro.engine.train import train
from amlrepro.errors import UserError
from amlrepro.metrics.probes import read_record
from amlrepro.rundir import RunDir


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_refer(tmp_path_factory.mktemp("refer") / "data", train=4, val=1)


def test_cost_needs_no_training_and_leaves_none(root: Path, tmp_path: Path) -> None:
    run, config, probe = RunDir(tmp_path / "run"), tiny_config(root, **AML), ProbeConfig(kind="cost", steps=4)
    seen: list[tuple[int, int]] = []
    state = torch.get_rng_state()
    run_probe(run, config, probe, lambda done, total: seen.append((done, total)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert torch.equal(torch.get_rng_state(), state)
    assert [path.relative_to(run.path) for path in run.path.rglob("*") if path.is_file()] == [
        Path("probes") / f"{probe.probe_id}.json"
    ]
    record = read_record(run.probes / f"{probe.probe_id}.json")
    assert (record["run_id"], record["checkpoint"], record["weights_sha256"]) == (config.run_id, None, None)
    assert record["device"].startswith("CPU")
    assert record["device"].endswith("threads: 1")
    values = record["values"]
    assert (values.pop("allocator_mb"), values.pop("others_mb")) == (None, None)
    assert all(math.isfinite(number) and number > 0 for number in values.values())
    assert values["seconds_per_step_q1"] <= values["seconds_per_step"] <= values["seconds_per_step_q3"]
    assert values["images_per_s"] == pytest.approx(4 / values["seconds_per_step"])
    assert (values["steps"], values["steps_per_epoch"]) == (4, 2)  # 8 refs in batches of 4
    assert values["time_min_per_epoch"] == pytest.approx(2 * values["seconds_per_step"] / 60)
    assert 100 < values["memory_mb"] < 20_000


def test_long_probes_are_cut_into_windows(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine updates in four stretches of two: the last update is not counted."""
    monkeypatch.setattr(cost, "WINDOWS", 4)
    seen: list[int] = []
    values = cost.time_updates(tiny_config(root), 9, lambda done, total: seen.append(done))
    assert seen == [2, 4, 6, 8]
    assert values["steps"] == 8


def test_errors_come_back(root: Path, tmp_path: Path) -> None:
    config = tiny_config(root, **{"data.train": "refcoco+"})
    with pytest.raises(UserError, match="refcoco"):
        run_probe(RunDir(tmp_path / "run"), config, ProbeConfig(kind="cost", steps=1))
    assert not (tmp_path / "run").exists()


def test_resident_memory_is_of_this_process() -> None:
    before = resident_mb()
    held = torch.ones(64 * 2**20 // 4)
    assert resident_mb() >= before
    assert resident_mb() > 64
    del held


def test_the_timed_update_is_the_trained_one(root: Path, tmp_path: Path) -> None:
    """Two updates of a session are the first epoch of the training loop, bit by bit."""
    config = tiny_config(root, **AML, **{"exec.until": 1, "exec.validate_at": ()})
    train(config, RunDir(tmp_path / "run"))
    folder = RunDir(tmp_path / "none")
    session = Session(config, folder, Journal(folder, None))
    for batch in session.data.batches(0, 2):
        session.update(batch)
    stored = load_file(tmp_path / "run" / "checkpoints" / "last.safetensors")
    ours = session.model.state_dict()
    assert all(torch.equal(stored[f"model/{name}"], tensor) for name, tensor in ours.items())
    assert not folder.path.exists()


def test_weights_before_training_can_be_asked_for_later(root: Path, tmp_path: Path) -> None:
    """A milestone 0 that comes too late is made without training; it equals that of a run that kept it."""
    early, late = RunDir(tmp_path / "early"), RunDir(tmp_path / "late")
    config = tiny_config(root, **AML, **{"train.horizon": 1, "exec.validate_at": ()})
    train(config.with_changes({"exec.milestones": (0,)}), early)
    train(config, late)
    assert not late.milestone(0).exists()
    rows = late.history_rows()
    train(config.with_changes({"exec.milestones": (0,)}), late)
    assert late.history_rows() == rows
    assert late.read_state()["state"] == "done"
    assert late.read_state()["epoch"] == 1
    assert not (late.path / "replay").exists()
    kept, made = (load_file(run.milestone(0)) for run in (early, late))
    assert kept.keys() == made.keys()
    assert all(torch.equal(kept[name], made[name]) for name in kept)
    trained = load_file(late.checkpoint("last"))
    assert any(not torch.equal(trained[name], tensor) for name, tensor in made.items())


def test_epoch_rows_hold_mean_loss_time_and_memory(root: Path, tmp_path: Path) -> None:
    """Q43: the mean over the epoch's updates; here a row for each update stands beside it."""
    run = RunDir(tmp_path / "run")
    changes = {"exec.log_every": 1, "train.horizon": 2, "exec.validate_at": (), "exec.checkpoint_seconds": 0}
    train(tiny_config(root, **AML, **changes), run)
    rows = run.history_rows()
    epochs = [row for row in rows if row["kind"] == "epoch"]
    assert len(epochs) == 2
    for row in epochs:
        losses = [step["loss"] for step in rows if step["kind"] == "step" and step["epoch"] == row["epoch"]]
        assert len(losses) == 2
        assert row["loss"] == pytest.approx(sum(losses) / 2, rel=1e-12)
        assert row["images_per_s"] == pytest.approx(8 / row["seconds"], rel=1e-2)
        assert row["memory_mb"] > 0
