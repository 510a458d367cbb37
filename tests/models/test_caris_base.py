"""CARIS at full size against what the official code computes from the same weights."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from amlrepro.models import load_official
from amlrepro.models.caris.model import CARIS
from amlrepro.models.caris.official import official_name

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("full_size")]


@pytest.fixture(scope="module")
def recipe(shared: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("parity_recipe", shared / "parity/recipe.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def base(recipe: ModuleType) -> Iterator[CARIS]:
    model = load_official("caris", recipe.state_dict("caris_base"))
    assert isinstance(model, CARIS)
    yield model
    del model


def close(ours: Tensor, official: np.ndarray) -> None:
    """At most 1e-3 of the array's standard deviation apart."""
    reference = torch.from_numpy(official)
    assert ours.shape == reference.shape
    assert float((ours - reference).abs().max()) <= 1e-3 * float(reference.std())


def test_all_official_keys_map_and_none_is_left_over(recipe: ModuleType, base: CARIS) -> None:
    official = {key: shape for key, shape, kind in recipe.keys("caris_base") if kind == "float"}
    ours = {official_name(name): tuple(p.shape) for name, p in base.named_parameters()}
    assert {**ours, "criterion.seg_criterion.weight": (2,)} == official
    assert len(ours) == 901
    assert sum(p.numel() for p in base.parameters()) == 226_572_664


def test_parameter_groups_count_as_published(base: CARIS) -> None:
    counts = [(len(g.parameters), sum(p.numel() for _, p in g.parameters)) for g in base.parameter_groups()]
    assert counts == [
        (53, 23_874_048),
        (144, 85_017_600),
        (136, 122_936),
        (197, 86_622_080),
        (78, 25_600),
        (293, 30_910_400),
    ]
    assert [(g.role, g.decay) for g in base.parameter_groups()] == [
        ("encoder", False),
        ("encoder", True),
        ("encoder", False),
        ("encoder", True),
        ("rest", False),
        ("rest", True),
    ]


def test_outputs_agree(shared: Path, recipe: ModuleType, base: CARIS) -> None:
    official = np.load(shared / "parity/caris_base_outputs.npz")
    inputs = recipe.inputs("caris_base")
    layers: list[Tensor] = []
    hook = base.decoder.layers[0].register_forward_hook(lambda _m, _i, out: layers.append(out[0]))
    with torch.inference_mode():
        encoded = base.encode(inputs["image"], inputs["input_ids"], inputs["attention_mask"])
        output = base.segment(encoded)
    hook.remove()
    finest, second, third, deepest = encoded.visual.levels
    close(finest[:, :8, ::4, ::4], official["vis_s4_first8"])
    close(second[:, :8, ::2, ::2], official["vis_s8_first8"])
    close(third[:, :8], official["vis_s16_first8"])
    close(deepest[:, :256], official["vis_s32"])
    text = torch.cat([encoded.textual.tokens, encoded.textual.extra["prompts"]], 1)
    close(text, official["text_and_prompts"])
    close(layers[0][:, :, :8], official["decoder_layer0_vision_first8"])
    close(output.logits, official["logits_quarter"])
    reference = torch.from_numpy(official["logits_quarter"])
    masks = base.predict(output, (448, 448))
    output.logits = reference
    assert (masks == base.predict(output, (448, 448))).float().mean() >= 0.9995


def disc_and_corner() -> Tensor:
    """The fixture's target: a disc of radius 90 at row 200, column 150; rows over 250 and columns over 300."""
    row, column = torch.meshgrid(torch.arange(448), torch.arange(448), indexing="ij")
    disc = (row - 200) ** 2 + (column - 150) ** 2 < 90**2
    corner = (row > 250) & (column > 300)
    return torch.stack([disc, corner]).long()


def test_one_official_training_step(shared: Path, recipe: ModuleType, base: CARIS) -> None:
    """The fixture's class weights are the recipe's noise. To save memory, Swin's inner values are computed again and
    samples go one at a time: the loss is sum(w l) / sum(w) over both, so each counts by its share of the weights."""
    base.visual.swin.set_grad_checkpointing(True)
    official = json.loads((shared / "parity/caris_base_training.json").read_text())
    inputs, target = recipe.inputs("caris_base"), disc_and_corner()
    share = base.class_weights[target].sum((1, 2))
    share = share / share.sum()
    loss = 0.0
    for b in range(2):
        output = base(*(inputs[name][b : b + 1] for name in ("image", "input_ids", "attention_mask")))
        part = base.loss(output, target[b : b + 1])["loss"] * share[b]
        part.backward()
        loss += float(part.detach())
    total = float(torch.nn.utils.clip_grad_norm_(base.parameters(), 1.0))
    ours = {official_name(n): float(p.grad.norm()) for n, p in base.named_parameters() if p.grad is not None}
    base.zero_grad(set_to_none=True)
    assert loss == pytest.approx(official["losses"][0], rel=1e-4)
    assert total == pytest.approx(official["grad_norms"][0], rel=1e-3)
    norms = official["grad_norm_step0_after_clip"]
    assert ours.keys() == norms.keys()
    for name, norm in norms.items():
        assert ours[name] == pytest.approx(norm, rel=5e-3, abs=1e-6), name
