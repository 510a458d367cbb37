"""AML around DETRIS (Q06, Q14): first pass in evaluation mode, grids that do not align, both readings, refusals."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from amlrepro.aml.masking import TwoStage
from amlrepro.aml.strategies import build_strategy
from amlrepro.config import RunConfig
from amlrepro.data.batch import Batch
from amlrepro.data.tokens import SPECIAL, Tokenizer
from amlrepro.errors import UserError
from amlrepro.models import build_model
from amlrepro.models.contract import RISModel


def config(**changes: Any) -> RunConfig:
    base = {
        "model.name": "detris", "model.size": "smoke", "init.vision": "scratch", "init.text": "scratch",
        "data.image_size": 112, "data.max_tokens": 8, "data.vocabulary": "words", "afm.tau": 1.0, "afm.rho": 0.5,
        "afm.block": 16, "pmme.dim": 32,
    }  # fmt: skip
    return RunConfig().with_changes({**base, **changes})


def batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    ids = torch.tensor([[2, 7, 9, 3, 0, 0, 0, 0], [2, 5, 6, 7, 8, 9, 10, 3]])
    target = torch.rand(2, 112, 112, generator=generator)
    image = torch.randn(2, 3, 112, 112, generator=generator)
    return Batch(image, ids, (ids > 0).long(), target, torch.arange(2), 0)


def made(settings: RunConfig) -> tuple[RISModel, TwoStage]:
    torch.manual_seed(0)
    model = build_model(settings, 20).train()
    strategy = build_strategy(settings, model, Tokenizer("words", [*SPECIAL, *"abc"]))
    assert isinstance(strategy, TwoStage)
    return model, strategy


def running(model: RISModel) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items() if "running" in name}


@pytest.mark.parametrize("features", ["default", "frozen"])
def test_first_pass_leaves_no_trace(features: str) -> None:
    """Batch statistics move as in one plain pass over the masked image: the first pass does not touch them."""
    settings = config(**{"pmme.features": features})
    model, strategy = made(settings)
    sample = batch()
    before = running(model)
    similarity = strategy.stage_one(model, sample)
    assert similarity.shape == (2, 8, 8)
    assert bool(((similarity > 1 / 8 - 1e-6) & (similarity <= 1)).all())
    assert all(torch.equal(value, before[name]) for name, value in running(model).items())
    assert model.training
    loss = strategy.losses(model, sample)["loss"]
    loss.backward()
    moved = running(model)
    assert any(not torch.equal(value, before[name]) for name, value in moved.items())
    stats = strategy.pop_stats()
    assert 0.2 < stats["masked_blocks"] < 0.8  # tau 1: nearly every block is weak, half of them dropped


def test_readings_differ() -> None:
    similar = []
    for features in ("default", "frozen"):
        model, strategy = made(config(**{"pmme.features": features}))
        similar.append(strategy.stage_one(model, batch()))
    assert not torch.equal(similar[0], similar[1])


@pytest.mark.parametrize("source", ["bert", "words"])
def test_maskris_is_refused(source: str) -> None:
    """It is taught by two channels' cross-entropy; DETRIS has one channel."""
    with pytest.raises(UserError, match="cross-entropy"):
        made(config(**{"afm.source": "maskris", "data.vocabulary": source}))


def test_joint_step_is_refused() -> None:
    """The released step encodes the masked picture apart from the text, which DETRIS cannot."""
    with pytest.raises(UserError):
        made(config(**{"train.step": "joint", "pmme.projection": "text_linear"}))
