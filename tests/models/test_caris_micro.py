"""CARIS against the official code at small size: every stage, loss, gradients, optimiser groups and 30 steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from amlrepro.models import load_official
from amlrepro.models.caris.model import CARIS
from amlrepro.models.caris.official import official_name
from amlrepro.models.contract import Encoded
from amlrepro.models.layers.regroup import When, set_regrouping

FEATURES, LOGITS, LOSS = 1e-5, 1e-4, 1e-6  # absolute; a wrong order or sign moves logits by 0.01 and more
ROUNDING = 1e-6  # norms up to this come of gradients that are zero but for rounding


def load_micro(shared: Path) -> CARIS:
    model = load_official("caris", shared / "parity/caris_micro_official_sd.pth")
    assert isinstance(model, CARIS)
    return model


@pytest.fixture(scope="module")
def io(shared: Path) -> dict[str, Any]:
    return dict(torch.load(shared / "parity/caris_micro_official_io.pt", weights_only=True))


@pytest.fixture(scope="module")
def micro(shared: Path) -> CARIS:
    return load_micro(shared)


@pytest.fixture(scope="module")
def encoded(micro: CARIS, io: dict[str, Any]) -> Encoded:
    with torch.no_grad():
        return micro.encode(io["image"], io["input_ids"], io["attention_mask"])


def gap(ours: Tensor, official: Tensor) -> float:
    assert ours.shape == official.shape
    return float((ours - official).abs().max())


def test_sizes_are_read_from_the_tensors(micro: CARIS, io: dict[str, Any]) -> None:
    meta, options = io["meta"], micro.options
    assert list(options.depths) == meta["depths"]
    assert list(options.heads) == meta["num_heads"]
    assert (options.embed_dim, options.window) == (meta["embed_dim"], meta["window_size"])
    assert (options.width, options.layers) == (meta["feat_channels"], meta["num_enc_layers"])
    assert (options.decoder_heads, options.points) == (meta["dec_heads"], meta["num_points"])
    assert (options.text_width, options.text_heads) == (
        meta["bert"]["hidden_size"],
        meta["bert"]["num_attention_heads"],
    )
    assert not micro.training


def test_visual_levels(encoded: Encoded, io: dict[str, Any]) -> None:
    for ours, official in zip(encoded.visual.levels, io["vis_feats"], strict=True):
        assert gap(ours, official) < FEATURES  # kernels differ in the last bits: 1.2e-6 to 2.1e-6 by instruction set


def test_prompts_and_text(micro: CARIS, encoded: Encoded, io: dict[str, Any]) -> None:
    with torch.no_grad():
        assert gap(micro.prompts(encoded.visual.levels[-1]), io["cond_prompts"]) < FEATURES
    text = torch.cat([encoded.textual.tokens, encoded.textual.extra["prompts"]], 1)
    assert gap(text, io["lang_feats"]) < FEATURES


@pytest.mark.parametrize("order", ["never", "always"])
def test_every_decoder_layer(micro: CARIS, encoded: Encoded, io: dict[str, Any], order: When) -> None:
    """In the official order of products and in the cheaper one, where mask features need not exist."""
    seen: list[tuple[Tensor, Tensor]] = []
    features: list[Tensor] = []
    hooks = [layer.register_forward_hook(lambda _m, _i, out: seen.append(out)) for layer in micro.decoder.layers]
    hooks.append(micro.decoder.mask_feature.register_forward_hook(lambda _m, _i, out: features.append(out)))
    set_regrouping(micro, order)
    with torch.no_grad():
        output = micro.segment(encoded)
    set_regrouping(micro, "inference")
    for hook in hooks:
        hook.remove()
    for (vision, text), name in zip(seen, ("enc0", "enc_last"), strict=True):
        assert gap(vision, io[f"{name}_vis"]) < LOGITS
        assert gap(text[:, :20], io[f"{name}_lang"]) < LOGITS
        assert gap(text[:, 20:], io[f"{name}_prompts"]) < LOGITS
    assert len(features) == (order == "never")
    assert all(gap(feature, io["mask_feature"]) < LOGITS for feature in features)
    assert gap(output.logits, io["logits_low"]) < LOGITS
    assert output.fused_vision is not None
    assert gap(output.fused_vision, io["enc_last_vis"][:, : 14 * 14]) < LOGITS
    assert output.fused_text is not None
    assert gap(output.fused_text, io["enc_last_lang"]) < LOGITS


def test_loss_and_prediction(micro: CARIS, encoded: Encoded, io: dict[str, Any]) -> None:
    with torch.no_grad():
        output = micro.segment(encoded)
        assert abs(float(micro.loss(output, io["target"])["loss"]) - io["loss"]) < LOSS
        mask = micro.predict(output, (448, 448))
    assert mask.dtype == torch.bool
    assert (mask == io["pred"][:, 0].bool()).float().mean() >= 0.9995


def test_an_image_that_is_not_square(micro: CARIS, io: dict[str, Any]) -> None:
    rect = io["rect"]
    with torch.no_grad():
        encoded = micro.encode(rect["image"], io["input_ids"], io["attention_mask"])
        output = micro.segment(encoded)
    assert gap(encoded.visual.levels[-1], rect["deepest_vis_feats"]) < FEATURES
    assert gap(output.logits, rect["logits_low"]) < LOGITS
    assert output.input_size == (224, 448)


def test_gradient_norms(shared: Path, io: dict[str, Any]) -> None:
    model = load_micro(shared)
    output = model(io["image"], io["input_ids"], io["attention_mask"])
    model.loss(output, io["target"])["loss"].backward()
    ours = {official_name(name): float(p.grad.norm()) for name, p in model.named_parameters() if p.grad is not None}
    assert ours.keys() == io["grad_norm"].keys()
    for name, norm in io["grad_norm"].items():
        assert ours[name] == pytest.approx(norm, rel=2e-3, abs=ROUNDING), name


def test_parameter_groups_are_the_official_ones(micro: CARIS, io: dict[str, Any]) -> None:
    groups = micro.parameter_groups()
    for ours, official in zip(groups, io["param_groups"], strict=True):
        assert {official_name(name) for name, _ in ours.parameters} == set(official["names"])
        assert (0.01 if ours.decay else 0.0) == float(str(official["weight_decay"]).removeprefix("default "))
        assert (1e-5 if ours.role == "encoder" else 1e-4) == pytest.approx(official["lr"])
    names = [name for group in groups for name, _ in group.parameters]
    assert sorted(names) == sorted(name for name, _ in micro.named_parameters())


@pytest.mark.slow
def test_thirty_official_training_steps(shared: Path, io: dict[str, Any]) -> None:
    official = json.loads((shared / "parity/caris_micro_training.json").read_text())
    model = load_micro(shared)
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.AdamW(
        [
            {
                "params": [p for _, p in group.parameters],
                "weight_decay": 0.01 if group.decay else 0.0,
                "share": 0.1 if group.role == "encoder" else 1.0,
            }
            for group in model.parameter_groups()
        ]
    )
    for loss, norm, rate in zip(official["losses"], official["grad_norms"], official["lr_heads"], strict=True):
        for settings in optimizer.param_groups:
            settings["lr"] = rate * settings["share"]
        ours = model.loss(model(io["image"], io["input_ids"], io["attention_mask"]), io["target"])["loss"]
        ours.backward()
        total = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        assert float(ours.detach()) == pytest.approx(loss, rel=1e-4)
        assert float(total) == pytest.approx(norm, rel=1e-3)
    for name, p in model.named_parameters():
        if io["grad_norm"][official_name(name)] < 10 * ROUNDING:
            continue  # AdamW turns rounding into steps of full length
        moved = float((p.detach() - start[name]).norm())
        assert moved == pytest.approx(official["param_change_norm"][official_name(name)], rel=0.02), name
