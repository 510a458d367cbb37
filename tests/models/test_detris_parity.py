"""DETRIS at full size against what the official code computes from the same weights."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from amlrepro.models import load_official
from amlrepro.models.detris.model import DETRIS
from amlrepro.models.detris.official import to_official

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("full_size")]


@pytest.fixture(scope="module")
def recipe(shared: Path) -> ModuleType:
    """The module that makes official weights and inputs from their names."""
    spec = importlib.util.spec_from_file_location("parity_recipe", shared / "parity" / "recipe.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def weights(recipe: ModuleType) -> dict[str, Tensor]:
    state: dict[str, Tensor] = recipe.state_dict("detris_base")
    return state


@pytest.fixture(scope="module")
def model(weights: dict[str, Tensor]) -> DETRIS:
    loaded = load_official("detris", {"epoch": 1, "state_dict": {f"module.{k}": v for k, v in weights.items()}})
    assert isinstance(loaded, DETRIS)
    return loaded


def test_counts_and_keys(recipe: ModuleType, model: DETRIS, weights: dict[str, Tensor]) -> None:
    assert sum(p.numel() for p in model.parameters()) == 175_529_778
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 25_518_129
    back = to_official(model)
    assert {key: tuple(value.shape) for key, value in back.items()} == {
        key: shape for key, shape, _ in recipe.keys("detris_base")
    }
    assert all(torch.equal(back[key], value) for key, value in weights.items())


def test_outputs(recipe: ModuleType, model: DETRIS, shared: Path) -> None:
    """At most 1e-3 of each array's standard deviation; masks equal on 99.95 % of pixels."""
    stored = np.load(shared / "parity" / "detris_base_outputs.npz")
    inputs = recipe.inputs("detris_base")
    with torch.no_grad():
        encoded = model.encode(inputs["image"], inputs["input_ids"], inputs["attention_mask"])
        output = model.segment(encoded)
        neck = model.neck(encoded.visual.levels, encoded.textual.extra["state"])
    levels = encoded.visual.levels
    ours = {
        "logits": output.logits,
        "text": encoded.textual.tokens,
        "text_state": encoded.textual.extra["state"],
        "vis_block4_first8": levels[0][:, :8],
        "vis_block8_first8": levels[1][:, :8],
        "vis_block11_first8": levels[2][:, :8],
        "neck_first8": neck[:, :8],
    }
    assert set(stored.files) == set(ours)
    for name, value in ours.items():
        official = torch.from_numpy(stored[name])
        assert value.shape == official.shape, name
        assert (value - official).abs().max() <= 1e-3 * official.std(), name
    official = torch.from_numpy(stored["logits"])
    same = (output.logits.sigmoid() > 0.35) == (official.sigmoid() > 0.35)
    assert same.float().mean() >= 0.9995
