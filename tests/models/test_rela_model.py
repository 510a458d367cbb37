"""ReLA as a model: what trains, loss and prediction by hand, AML on it, official checkpoints both ways, refusals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from amlrepro.aml.strategies import build_strategy
from amlrepro.config import RunConfig
from amlrepro.data.batch import Batch
from amlrepro.data.tokens import SPECIAL, Tokenizer
from amlrepro.errors import UserError
from amlrepro.models import build_model, load_official
from amlrepro.models.converted import write_converted
from amlrepro.models.rela.model import ReLA, RelaOutput, minimap_target
from amlrepro.models.rela.official import to_official
from amlrepro.models.rela.spec import PERIOD, SIZES, SPEC, RelaOptions
from amlrepro.schema import parse_strict
from amlrepro.sections import TrainConfig

UNTOLD: dict[str, Any] = {"groups": 8, "decoder_heads": 4}  # sizes that leave no trace in the tensors


def fresh() -> ReLA:
    torch.manual_seed(0)
    return ReLA(RelaOptions(**SIZES["micro"]), 64, image_size=96)


@pytest.fixture
def micro() -> ReLA:
    """Every parameter away from its special start (zero gates, zero language projection)."""
    model = fresh()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def sample(seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.zeros(2, 9, dtype=torch.int64)
    ids[0, :5] = torch.tensor([1, 7, 8, 9, 2])
    ids[1] = torch.tensor([1, 3, 4, 5, 6, 7, 8, 11, 2])
    image = torch.randn(2, 3, 96, 96, generator=generator)
    return {"image": image, "input_ids": ids, "attention_mask": (ids > 0).long()}


def two_targets() -> Tensor:
    """Two objects in the first picture, none in the second."""
    target = torch.zeros(2, 96, 96, dtype=torch.int64)
    target[0, 10:50, 20:70] = 1
    target[0, 70:90, 5:15] = 1
    return target


def test_shapes(micro: ReLA) -> None:
    encoded = micro.encode(**sample())
    output = micro.segment(encoded)
    assert [tuple(level.shape) for level in encoded.visual.levels] == [
        (2, 16, 24, 24),
        (2, 32, 12, 12),
        (2, 64, 6, 6),
        (2, 128, 3, 3),
    ]
    assert output.logits.shape == (2, 2, 24, 24)
    assert output.minimap.shape == (2, 16, 2)
    assert output.no_target is not None
    assert output.no_target.shape == (2, 2)
    assert output.fused_vision is not None
    assert output.fused_vision.shape == (2, 9, 32)


def test_gradient_reaches_every_trained_parameter(micro: ReLA) -> None:
    micro.train()
    torch.autograd.backward(micro.loss(micro(**sample()), two_targets())["loss"])
    for name, parameter in micro.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
        # A key's bias shifts all scores of a query alike, and a bias before an instance norm is taken out again.
        flat = name.endswith("attention.self.key.bias")
        flat |= name.startswith("vision.fusions.") and name.endswith(("query.bias", "out.bias"))
        if parameter.grad is not None and not flat:
            assert float(parameter.grad.abs().max()) > 0, name


def test_at_the_start_words_stay_out_of_the_next_stage() -> None:
    model = fresh()
    torch.autograd.backward(model.loss(model(**sample()), two_targets())["loss"])
    idle = {n for n, p in model.named_parameters() if p.grad is not None and not p.grad.any()}
    assert {n for n in idle if n.startswith("vision.gates.")} == {
        n for n, _ in model.named_parameters() if n.startswith("vision.gates.")
    }


def test_who_trains_and_decays(micro: ReLA) -> None:
    """Embeddings and the last layers of BERT keep their weights; its other layers decay whole."""
    groups = micro.parameter_groups()
    listed = [name for group in groups for name, _ in group.parameters]
    assert sorted(listed) == sorted(n for n, p in micro.named_parameters() if p.requires_grad)
    still = {name for name, p in micro.named_parameters() if not p.requires_grad}
    assert all(name.startswith(("text.bert.embeddings.", "text.bert.encoder.layer.2.")) for name in still)
    assert len(still) == 5 + 16
    spared = {name for group in groups if not group.decay for name, _ in group.parameters}
    assert {"regions.content.weight", "regions.position.weight", "regions.level.weight"} <= spared
    assert {"pixel.lateral.gn.bias", "vision.norms.0.weight", "regions.layers.0.cross.norm.bias"} <= spared
    assert "vision.swin.layers.1.blocks.0.attn.relative_position_bias_table" in spared
    decayed = set(listed) - spared
    assert {"pixel.level", "regions.lang_gate", "text.bert.encoder.layer.0.output.LayerNorm.weight"} <= decayed
    assert {"pixel.inputs.0.conv.bias", "regions.layers.0.cross.attn.in_proj_bias"} <= decayed
    assert not any(name.startswith("text.") for name in spared)


def test_small_models_train_all_of_their_text_encoder() -> None:
    model = ReLA(RelaOptions(**SIZES["smoke"]), 40, image_size=112)
    assert all(parameter.requires_grad for parameter in model.parameters())


def weighted(logits: Sequence[Sequence[float]], labels: Sequence[int]) -> float:
    """Cross-entropy of two classes with weights 0.9 and 1.1, weighted mean."""
    total = weight = 0.0
    for (a, b), label in zip(logits, labels, strict=True):
        w = (0.9, 1.1)[label]
        total += w * (math.log(math.exp(a) + math.exp(b)) - (a, b)[label])
        weight += w
    return total / weight


def test_loss_by_hand() -> None:
    """Constant mask logits stay constant when upsampled; one sample of two names nothing."""
    model = ReLA(RelaOptions(**{**SIZES["micro"], "region_grid": 2}), 64, image_size=96)
    target = torch.zeros(2, 8, 8, dtype=torch.int64)
    target[0, :4, :4] = 1
    minimap = torch.tensor([[[0.5, -1.0], [0.0, 2.0], [1.0, 1.0], [-0.3, 0.4]], [[0.1, 0.2]] * 4])
    no_target = torch.tensor([[1.0, -1.0], [0.25, 0.5]])
    logits = torch.tensor([0.3, -0.6]).view(1, 2, 1, 1).expand(2, 2, 2, 2)
    output = RelaOutput(logits, (8, 8), no_target=no_target, minimap=minimap)
    parts = {name: float(value) for name, value in model.loss(output, target).items()}
    mask = weighted([(0.3, -0.6)] * 128, [1] * 16 + [0] * 112)
    cells = weighted(minimap.flatten(0, 1).tolist(), [1, 0, 0, 0, 0, 0, 0, 0])
    none = weighted(no_target.tolist(), [0, 1])
    assert parts == pytest.approx(
        {"loss": 5 * (mask + 0.1 * cells + 0.1 * none), "mask": mask, "minimap": cells, "no_target": none}, rel=1e-5
    )
    told = model.loss(output, target, torch.tensor([False, False]))
    assert float(told["no_target"]) == pytest.approx(weighted(no_target.tolist(), [0, 0]), rel=1e-5)


def test_a_minimap_cell_needs_all_four_pixels_around_its_centre() -> None:
    """480 to 10: the centre of cell (2, 3) lies between rows 119 and 120 and columns 167 and 168."""
    target = torch.zeros(3, 480, 480, dtype=torch.int64)
    target[0, 119:121, 167:169] = 1
    target[1, 96:144, 144:192] = 1
    target[1, 120, 168] = 0
    target[2] = 1
    cells = minimap_target(target, 10)
    assert cells[0].nonzero().flatten().tolist() == [2 * 10 + 3]
    assert int(cells[1].sum()) == 0
    assert bool(cells[2].all())


def test_prediction_by_argmax_of_sigmoids(micro: ReLA) -> None:
    """Logits above 17 both round to 1 and the first channel, background, wins, as in the official code."""
    logits = torch.tensor([[0.0, 1.0], [-1.0, -2.0], [18.0, 30.0]])[:, :, None, None].expand(3, 2, 4, 4)
    no_target = torch.tensor([[0.0, 1.0], [0.0, -1.0], [20.0, 40.0]])
    output = RelaOutput(logits, (16, 16), no_target=no_target, minimap=torch.zeros(3, 16, 2))
    masks = micro.predict(output, (16, 16))
    assert masks.shape == (3, 16, 16)
    assert masks.flatten(1).float().mean(1).tolist() == [1.0, 0.0, 0.0]  # the first says no target and keeps its mask
    assert micro.predict_no_target(output).tolist() == [True, False, False]


def test_readings_for_aml(micro: ReLA) -> None:
    """Q15: with the gates as they start, features before the last fusion are free of language; fused ones are not."""
    model = fresh().eval()
    one, other = sample(), sample()
    other["input_ids"] = other["input_ids"].flip(0)
    other["attention_mask"] = other["attention_mask"].flip(0)
    with torch.no_grad():
        first, second = model.encode_stage_one(**one), model.encode_stage_one(**other)
        vision, text = model.pmme_features(first)
        assert (vision.shape, text.shape) == ((2, 9, 128), (2, 9, 48))
        assert torch.equal(vision, model.pmme_features(second)[0])
        torch.testing.assert_close(vision.mean(-1), torch.zeros(2, 9), atol=1e-5, rtol=0)
        torch.testing.assert_close(vision.std(-1, correction=0), torch.ones(2, 9), atol=1e-2, rtol=0)
        model.features = "fused"
        fused = model.pmme_features(first)[0]
        assert torch.equal(fused[:, 4], first.visual.levels[-1][:, :, 1, 1])
        assert not torch.equal(fused, model.pmme_features(second)[0])
        micro.eval()
        opened = [micro.pmme_features(micro.encode(**inputs))[0] for inputs in (one, other)]
        assert not torch.equal(*opened)


def test_aml_learns_on_it() -> None:
    changes = {
        "model.name": "rela", "model.size": "smoke", "init.vision": "scratch", "init.text": "scratch",
        "data.image_size": 112, "data.max_tokens": 9, "afm.tau": 0.4, "afm.block": 16, "pmme.dim": 64,
    }  # fmt: skip
    config = RunConfig().with_changes(changes)
    torch.manual_seed(0)
    model = build_model(config, 40).train()
    strategy = build_strategy(config, model, Tokenizer("words", [*SPECIAL, *"abc"]))
    inputs = sample()
    image = torch.nn.functional.interpolate(inputs["image"], size=(112, 112))
    target = torch.zeros(2, 112, 112, dtype=torch.int64)
    target[0, 20:60, 20:60] = 1
    batch = Batch(image, inputs["input_ids"], inputs["attention_mask"], target, torch.arange(2), 0)
    losses = strategy.losses(model, batch)
    torch.autograd.backward(losses["loss"])
    assert set(losses) == {"loss", "mask", "minimap", "no_target"}
    assert bool(losses["loss"].isfinite())
    assert model.training


def test_pixels_are_normalised_inside(micro: ReLA) -> None:
    micro.eval()
    inputs = sample()
    pixels = torch.randint(0, 256, (2, 3, 96, 96)).float()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (SPEC.protocol.mean, SPEC.protocol.std))
    with torch.no_grad():
        outside = micro(**{**inputs, "image": (pixels / 255 - mean) / std}).logits
        inside_model = load_official("rela", to_official(micro), image_size=96, **UNTOLD)
        inside = inside_model(**{**inputs, "image": pixels}).logits
    torch.testing.assert_close(inside, outside, rtol=1e-3, atol=1e-3 * float(outside.std()))


def test_official_round_trip(micro: ReLA) -> None:
    official = to_official(micro)
    again = load_official("rela", {"model": official}, image_size=96, **SPEC.official_input, **UNTOLD)
    assert isinstance(again, ReLA)
    assert not again.training
    assert again.options.window == 3
    micro.eval()
    with torch.no_grad():
        assert torch.equal(again(**sample()).logits, micro(**sample()).logits)
    plain = {k: v for k, v in official.items() if not k.endswith("relative_position_index")}
    plain["text_encoder.embeddings.position_ids"] = torch.arange(32)[None]
    assert isinstance(load_official("rela", plain, **UNTOLD), ReLA)


def test_converted_weights(micro: ReLA, tmp_path: Path) -> None:
    path = tmp_path / "rela.safetensors"
    write_converted(path, "rela", micro)
    micro.eval()
    with torch.no_grad():
        assert torch.equal(load_official("rela", path)(**sample()).logits, micro(**sample()).logits)


def test_wrong_checkpoints_are_refused(micro: ReLA) -> None:
    official = to_official(micro)
    key = "sem_seg_head.predictor.lang_weight"
    with pytest.raises(UserError, match=rf"missing: {key}"):
        load_official("rela", {k: v for k, v in official.items() if k != key}, **UNTOLD)
    with pytest.raises(UserError, match=r"unexpected: sem_seg_head\.extra"):
        load_official("rela", {**official, "sem_seg_head.extra": torch.zeros(1)}, **UNTOLD)
    with pytest.raises(UserError, match="of another shape"):
        load_official("rela", {**official, "sem_seg_head.predictor.minimap_embed.bias": torch.zeros(3)}, **UNTOLD)
    with pytest.raises(UserError, match="official ReLA"):
        load_official("caris", official)
    with pytest.raises(UserError, match="official ReLA"):
        load_official("detris", official)
    lavt = {"backbone.layers.0.fusion.vis_project.0.weight": torch.zeros(4, 4, 1)}
    with pytest.raises(UserError, match="official LAVT"):
        load_official("rela", lavt)


def test_refusals(micro: ReLA) -> None:
    batch = sample()
    with pytest.raises(UserError, match="contains language"):
        micro.encode_image(batch["image"])
    with pytest.raises(UserError, match="feature-level"):
        micro.segment(micro.encode(**batch), torch.zeros(2, 9))
    with pytest.raises(UserError, match="multiples of 32"):
        micro.encode(batch["image"][..., :80], batch["input_ids"], batch["attention_mask"])


def test_specification() -> None:
    train = parse_strict(TrainConfig, SPEC.train, "train")
    assert (train.optimizer, train.lr, train.encoder_lr, train.weight_decay) == ("adamw", 1e-5, 1.0, 0.05)
    assert (train.schedule, train.drops, train.drop_unit) == ("step", (110_000, 140_000), "update")
    assert (train.warmup, train.clip, train.class_weights, train.batch) == (0, 0.01, (0.9, 1.1), 16)
    for preset in ("rela_paper", "rela_official"):
        settings = parse_strict(TrainConfig, SPEC.train_presets[preset], preset)
        assert settings.epoch_refs == PERIOD * settings.batch
        assert settings.horizon * PERIOD == 150_000
    assert SPEC.train_presets["rela_official"]["batch"] == 48
    protocol = SPEC.protocol
    assert (protocol.image_size, protocol.text, protocol.sampling, protocol.rasterize) == (
        480, "raw", "expression", "input"
    )  # fmt: skip
    assert protocol.multi_target
    assert protocol.max_tokens("grefcoco") == 20
    assert [255 * value for value in protocol.mean] == pytest.approx([123.675, 116.28, 103.53])
    assert [255 * value for value in protocol.std] == pytest.approx([58.395, 57.12, 57.375])
    assert protocol.validate(3) == (1, 2, 3)
    for size in SIZES:
        parse_strict(RelaOptions, SIZES[size], size)
    with pytest.raises(UserError, match="'fused'"):
        SPEC.resolve_options(RunConfig().with_changes({"model.name": "rela", "pmme.features": "fuse"}))


def test_half_precision_of_a_built_model() -> None:
    changes = {
        "model.name": "rela", "model.size": "demo", "init.vision": "scratch", "init.text": "scratch",
        "data.image_size": 112, "pmme.features": "fused",
    }  # fmt: skip
    model = build_model(RunConfig().with_changes(changes), 30)
    assert isinstance(model, ReLA)
    assert model.features == "fused"
    ids = torch.tensor([[2, 7, 9, 3, 0]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(torch.randn(1, 3, 112, 112), ids, (ids > 0).long())
        loss = model.loss(output, torch.zeros(1, 112, 112, dtype=torch.int64))["loss"]
    assert output.logits.shape == (1, 2, 28, 28)
    assert loss.dtype == torch.float32
    assert bool(loss.isfinite())


def test_missing_pretrained_weights_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for variable in ("TORCH_HOME", "HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.setenv(variable, str(tmp_path))
    with pytest.raises(UserError, match="swin_base_patch4_window12_384_22k"):
        build_model(RunConfig().with_changes({"model.name": "rela"}), 30522)
