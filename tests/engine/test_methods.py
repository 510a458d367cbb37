"""DETRIS and ReLA through the engine: their own step, their own validation, masks around them; MaskRIS on CARIS."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_refer import AML, make_grefs, make_refer, method_config, tiny_config

from amlrepro.aml.strategies import build_strategy
from amlrepro.config import EvalConfig
from amlrepro.data.loader import open_training
from amlrepro.engine.evaluate import evaluate_run
from amlrepro.engine.train import train
from amlrepro.errors import UserError
from amlrepro.files import read_json
from amlrepro.metrics.compute import value
from amlrepro.metrics.records import Records
from amlrepro.models import build_model
from amlrepro.models.registry import get_spec
from amlrepro.rundir import RunDir


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_grefs(make_refer(tmp_path_factory.mktemp("refer") / "data", train=4, val=2))


BY = {
    "detris": ("miou", "mIoU on refcoco val, each picture's own size, first sentence of each object"),
    "rela": ("ciou", "cIoU on grefcoco val, 112 x 112"),
}


@pytest.mark.parametrize("name", ["detris", "rela"])
def test_trains_and_chooses_the_best_by_its_protocol(root: Path, tmp_path: Path, name: str) -> None:
    """Two epochs of two updates. The score of `best` is that of a stand-alone evaluation of its checkpoint."""
    run = RunDir(tmp_path / "run")
    config = method_config(root, name, **{"exec.milestones": (0,), "exec.log_every": 1})
    train(config, run)
    rows = run.history_rows()
    steps, validations = ([r for r in rows if r["kind"] == k] for k in ("step", "validation"))
    assert [r["lr"] for r in steps] == pytest.approx([1e-3] * 4)
    metric, by = BY[name]
    dataset = config.data.train
    assert [(r["epoch"], r["by"]) for r in validations] == [(1, by), (2, by)]
    state = run.read_state()
    assert state["best_by"] == by
    assert state["best"][metric] == max(r[metric] for r in validations)

    before, after = (load_file(run.checkpoint(n)) for n in ("epoch0", "last"))
    moved = {key for key, tensor in before.items() if not torch.equal(tensor, after[key])}
    unmoved = {key for key in before if key not in moved}
    assert len(moved) > 0.9 * len(before), sorted(unmoved)

    resolution = "original" if name == "detris" else "resized"
    evaluation = EvalConfig.model_validate(
        {"dataset": dataset, "split": "val", "resolution": resolution, "checkpoint": "best"}
    )
    evaluate_run(run, config, evaluation)
    records = Records.read(run.eval_records(evaluation.eval_id))
    chosen = next(r for r in validations if r["epoch"] == state["best"]["epoch"])
    if name == "rela":
        assert chosen["samples"] == len(records) == 2 * (4 + 1 + 1)  # two refs of two sentences, both, nothing
        assert int(records.target_empty.sum()) == 2
        assert value("ciou", records) == pytest.approx(chosen["ciou"])
    else:
        assert (chosen["samples"], len(records)) == (4, 8)
        first = records.intersection[::2] / records.union[::2]
        assert 100 * first.mean() == pytest.approx(chosen["miou"])
        meta = read_json(run.eval_meta(evaluation.eval_id))
        assert meta["scored_at"] == "each picture's own size"


@pytest.mark.parametrize("name", ["detris", "rela"])
def test_trains_with_masks(root: Path, tmp_path: Path, name: str) -> None:
    run = RunDir(tmp_path / "run")
    train(method_config(root, name, **AML, **{"exec.validate_at": (), "train.horizon": 1}), run)
    epochs: list[dict[str, Any]] = [r for r in run.history_rows() if r["kind"] == "epoch"]
    assert len(epochs) == 1
    assert 0 < epochs[0]["masked_blocks"] < 0.6
    assert epochs[0]["s_mean"] > 1 / 8 - 1e-6  # eight tokens at most


VARIANTS: dict[str, dict[str, Any]] = {
    "late": {"pmme.stage": "late"},
    "pred": {"pmme.stage": "pred"},
    "learnable": {"pmme.projection": "learnable"},
    "feature": {"afm.level": "feature"},
}


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_caris_trains_in_every_variant(root: Path, tmp_path: Path, variant: str) -> None:
    """Two updates: losses are finite, masks are counted, `last` holds the projection and nothing says it was fixed."""
    run = RunDir(tmp_path / "run")
    changes: dict[str, Any] = {"train.horizon": 1, "exec.validate_at": (), "exec.log_every": 1}
    train(tiny_config(root, **AML, **VARIANTS[variant], **changes), run)
    rows = run.history_rows()
    steps, (epoch,) = ([r for r in rows if r["kind"] == kind] for kind in ("step", "epoch"))
    assert len(steps) == 2
    assert all(math.isfinite(r["loss"]) and r["loss"] > 0 and math.isfinite(r["grad_norm"]) for r in steps)
    assert 0 < epoch["masked_blocks"] < 1
    assert 0 < epoch["weak_blocks"] <= 1
    last = load_file(run.checkpoint("last"))
    assert "strategy/pmme.projection.vision" in last
    learned = {name for name in last if name.startswith("optimizer/strategy.pmme.projection")}
    assert bool(learned) == (variant == "learnable")


@pytest.mark.parametrize("name", ["detris", "rela"])
@pytest.mark.parametrize("variant", ["late", "pred", "learnable"])
def test_other_models_learn_in_the_variants_too(root: Path, name: str, variant: str) -> None:
    """One update; feature-level masks are CARIS's alone."""
    config = method_config(root, name, **AML, **VARIANTS[variant])
    data = open_training(config, get_spec(name).protocol)
    model = build_model(config, data.tokenizer.vocab_size).train()
    strategy = build_strategy(config, model, data.tokenizer).train()
    losses = strategy.losses(model, next(iter(data.batches(0, 1))))
    losses["loss"].backward()
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in strategy.parameters())
    assert bool(list(strategy.parameters())) == (variant == "learnable")
    stats = strategy.pop_stats()
    assert 0 < stats["s_mean"] <= 1
    feature = config.with_changes({"afm.level": "feature", "pmme.stage": "early", "pmme.projection": "gaussian"})
    with pytest.raises(UserError, match="attention"):
        build_strategy(feature, model, data.tokenizer)


def test_caris_trains_as_maskris(root: Path, tmp_path: Path) -> None:
    """Both losses count by half; 12 of 49 blocks stay; a second run makes the same weights."""
    folders = [RunDir(tmp_path / name) for name in ("once", "again")]
    changes: dict[str, Any] = {"train.horizon": 1, "exec.validate_at": (), "exec.log_every": 1}
    for run in folders:
        train(tiny_config(root, **{"afm.source": "maskris", **changes}), run)
    (epoch,) = (r for r in folders[0].history_rows() if r["kind"] == "epoch")
    assert epoch["masked_blocks"] == pytest.approx(1 - 12 / 49)
    assert epoch["untouched"] == 0
    first, second = (load_file(run.checkpoint("last")) for run in folders)
    assert all(torch.equal(first[key], second[key]) for key in first)
