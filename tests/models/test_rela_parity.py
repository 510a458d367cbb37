"""ReLA at full size against what the official code computes from the same weights."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from amlrepro.models import load_official
from amlrepro.models.rela.model import ReLA, RelaOutput
from amlrepro.models.rela.official import to_official

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("full_size")]


@pytest.fixture(scope="module")
def recipe(shared: Path) -> ModuleType:
    """The module that makes official weights and inputs from their names."""
    spec = importlib.util.spec_from_file_location("parity_recipe", shared / "parity/recipe.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def weights(recipe: ModuleType) -> dict[str, Tensor]:
    state: dict[str, Tensor] = recipe.state_dict("rela_base")
    return state


@pytest.fixture(scope="module")
def base(weights: dict[str, Tensor]) -> Iterator[ReLA]:
    model = load_official("rela", {"model": weights, "iteration": 149_999})
    assert isinstance(model, ReLA)
    yield model
    del model


def test_all_official_keys_map_and_none_is_left_over(
    recipe: ModuleType, base: ReLA, weights: dict[str, Tensor]
) -> None:
    back = to_official(base)
    official = {key: shape for key, shape, _ in recipe.keys("rela_base")}
    assert {key: tuple(value.shape) for key, value in back.items()} == official
    assert all(torch.equal(back[key], value) for key, value in weights.items())


def test_parameters_count_as_published(base: ReLA) -> None:
    """In millions; BERT trains ten of its twelve layers, without embeddings."""
    parts = {"vision": 96.1, "pixel": 5.54, "regions": 14.99, "text": 108.9}
    for part, millions in parts.items():
        count = sum(p.numel() for p in base.get_submodule(part).parameters()) / 1e6
        assert count == pytest.approx(millions, abs=0.05 if millions > 50 else 0.005), part
    layer = sum(p.numel() for p in base.text.bert.encoder.layer[0].parameters())
    assert sum(p.numel() for p in base.text.parameters() if p.requires_grad) == 10 * layer


# The recipe rounds the picture to whole grey levels. These two values lie within float32's last digit of a half, and
# the machine that made the outputs rounded them so; a level more or less there moves single positions by up to 0.008.
ROUNDED = {(0, 1, 33, 56): 199.0, (0, 2, 57, 391): 140.0}


def close(ours: Tensor, official: np.ndarray, name: str) -> None:
    """At most 1e-3 of the array's standard deviation apart."""
    reference = torch.from_numpy(official)
    assert ours.shape == reference.shape, name
    assert float((ours - reference).abs().max()) <= 1e-3 * float(reference.std()), name


def test_outputs_agree(shared: Path, recipe: ModuleType, base: ReLA) -> None:
    """Also: the masks equal on 99.95 % of pixels."""
    official = np.load(shared / "parity/rela_base_outputs.npz")
    inputs = recipe.inputs("rela_base")
    for place, value in ROUNDED.items():
        assert abs(float(inputs["image"][place]) - value) <= 1
        inputs["image"][place] = value
    with torch.inference_mode():
        encoded = base.encode(inputs["image"], inputs["input_ids"], inputs["attention_mask"])
        _, features = base.pixel(encoded.visual.levels)
        output = base.segment(encoded)
    levels = encoded.visual.levels
    assert output.no_target is not None
    ours = {
        "text": encoded.textual.tokens,
        "res2_first8": levels[0][:, :8, ::4, ::4],
        "res3_first8": levels[1][:, :8, ::2, ::2],
        "res4_first8": levels[2][:, :8],
        "res5_first64": levels[3][:, :64],
        "mask_features_first8": features[:, :8, ::4, ::4],
        "mask_logits": output.logits,
        "minimap_logits": output.minimap,
        "no_target_logits": output.no_target,
    }
    assert set(ours) == set(official.files)
    for name, value in ours.items():
        close(value, official[name], name)
    masks = base.predict(output, (480, 480))
    stored = RelaOutput(torch.from_numpy(official["mask_logits"]), (480, 480), minimap=output.minimap)
    assert float((masks == base.predict(stored, (480, 480))).float().mean()) >= 0.9995
