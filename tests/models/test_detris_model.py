"""DETRIS as a model: what trains, loss and prediction by hand, official checkpoints both ways, refusals."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from amlrepro.config import RunConfig
from amlrepro.errors import UserError
from amlrepro.models import build_model, load_official
from amlrepro.models.contract import Output
from amlrepro.models.detris.model import DETRIS
from amlrepro.models.detris.official import to_official
from amlrepro.models.detris.spec import SIZES, SPEC, DetrisOptions
from amlrepro.schema import parse_strict
from amlrepro.sections import TrainConfig

# Sizes that leave no trace in the tensors.
UNTOLD: dict[str, Any] = {
    "vision_heads": 3, "text_heads": 4, "decoder_heads": 4, "cross_heads": 2, "vision_taps": (1, 2)
}  # fmt: skip


@pytest.fixture
def micro() -> DETRIS:
    torch.manual_seed(0)
    model = DETRIS(DetrisOptions(**SIZES["micro"]), 64)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.running_mean.uniform_(-0.1, 0.1)
                module.running_var.uniform_(0.5, 1.0)
    return model


def sample(seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.zeros(2, 9, dtype=torch.int64)
    ids[0, :5] = torch.tensor([62, 7, 8, 9, 63])
    ids[1] = torch.tensor([62, 3, 4, 5, 6, 7, 8, 2, 63])
    image = torch.randn(2, 3, 56, 56, generator=generator)
    return {"image": image, "input_ids": ids, "attention_mask": (ids > 0).long()}


def test_shapes(micro: DETRIS) -> None:
    encoded = micro.encode(**sample())
    output = micro.segment(encoded)
    assert [tuple(level.shape) for level in encoded.visual.levels] == [(2, 48, 4, 4)] * 3
    assert output.logits.shape == (2, 1, 16, 16)
    vision, text = micro.pmme_features(encoded)
    assert (vision.shape, text.shape) == ((2, 16, 48), (2, 9, 32))
    assert torch.equal(vision[:, 5], encoded.visual.levels[-1][:, :, 1, 1])


def test_only_adapters_and_head_learn(micro: DETRIS) -> None:
    before = {name: p.detach().clone() for name, p in micro.named_parameters()}
    groups = {group.name: group for group in micro.parameter_groups()}
    assert set(groups) == {"adapters", "head"}
    assert {name for name, _ in groups["adapters"].parameters} == {
        name for name in before if "adapters." in name or "aligners." in name
    }
    listed = [id(p) for group in groups.values() for _, p in group.parameters]
    assert sorted(listed) == sorted(id(p) for p in micro.parameters() if p.requires_grad)
    optimizer = torch.optim.Adam([p for group in groups.values() for _, p in group.parameters], lr=1e-2)
    micro.loss(micro(**sample()), torch.rand(2, 56, 56).round())["loss"].backward()
    optimizer.step()
    assert all((p.grad is not None) == p.requires_grad for p in micro.parameters())
    moved = {name for name, p in micro.named_parameters() if not torch.equal(p, before[name])}
    idle = {name for name, p in micro.named_parameters() if p.requires_grad} - moved
    assert moved.isdisjoint(name for name, p in micro.named_parameters() if not p.requires_grad)
    # A batch norm takes the bias of the convolution before it away, so that one's gradient is zero or rounding; a
    # branch of one channel may be shut by its ReLU. Everything else moves.
    shifted = {name for name in before if name.endswith(".conv.bias") and ".branches." in name}
    assert all(name in shifted or "aligners.3.branches" in name for name in idle)
    assert all(p.grad.abs().max() < 1e-6 for name, p in micro.named_parameters() if name in shifted)


def test_gate_queries_get_zero_gradient(micro: DETRIS) -> None:
    """As in the official code, where a softmax over one key has no slope."""
    micro.loss(micro(**sample()), torch.zeros(2, 56, 56))["loss"].backward()
    gradient = micro.neck.gates[0].attn.in_proj_weight.grad
    assert float(gradient[:64].abs().max()) == 0.0
    assert float(gradient[64:].abs().min()) >= 0.0
    assert float(gradient[64:].abs().max()) > 0.0


def test_small_models_train_their_encoders() -> None:
    model = DETRIS(DetrisOptions(**SIZES["demo"]), 40)
    groups = {group.name: group for group in model.parameter_groups()}
    assert set(groups) == {"adapters", "encoders", "head"}
    idle = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert idle == {"text.logit_scale", "vision.mask_token"}


def test_batch_norm_learns_in_training_only(micro: DETRIS) -> None:
    """A second pass in training mode would disturb the statistics, so AML's first pass runs in evaluation mode."""

    def statistics() -> list[Tensor]:
        return [value.clone() for name, value in micro.state_dict().items() if "running" in name]

    assert SPEC.protocol.stage_one_mode == "eval"
    before = statistics()
    micro.eval()
    micro.encode(**sample())
    assert all(map(torch.equal, before, statistics()))
    micro.train()
    micro.encode(**sample())
    assert not all(map(torch.equal, before, statistics()))


def test_loss_by_hand(micro: DETRIS) -> None:
    """Mean of log(1 + exp(z)) - y z at 2 x 2; nearest neighbour takes rows and columns 0 and 4, soft values too."""
    target = torch.full((1, 8, 8), 0.9)
    target[0, 0, 0], target[0, 0, 4], target[0, 4, 0], target[0, 4, 4] = 1.0, 0.0, 0.25, 1.0
    logits = torch.tensor([[[[2.0, -1.0], [0.5, 0.0]]]])
    wanted = [(2.0, 1.0), (-1.0, 0.0), (0.5, 0.25), (0.0, 1.0)]
    value = sum(math.log1p(math.exp(z)) - y * z for z, y in wanted) / 4
    assert float(micro.loss(Output(logits, (8, 8)), target)["loss"]) == pytest.approx(value, rel=1e-6)
    whole = micro.loss(Output(torch.zeros(1, 1, 2, 2), (8, 8)), torch.ones(1, 8, 8, dtype=torch.int64))
    assert float(whole["loss"]) == pytest.approx(math.log(2), rel=1e-6)


def test_threshold_is_0_35(micro: DETRIS) -> None:
    for probability, inside in ((0.36, True), (0.34, False)):
        logit = math.log(probability / (1 - probability))
        output = Output(torch.full((1, 1, 16, 16), logit), (56, 56))
        assert bool((micro.predict(output, (56, 56)) == inside).all())
        assert bool((micro.predict(output, (30, 40))[:, 2:-2, 2:-2] == inside).all())


def test_prediction_at_original_size(micro: DETRIS) -> None:
    """Input 56 x 56 of a picture 60 x 80: scale 0.7, 7 pixels of border above and below.

    An ellipse drawn on the picture, seen by the network at logit resolution, comes back in place.
    """
    v, u = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    x, y = u * 55 / 15, v * 55 / 15  # corners aligned
    seen = ((x / 0.7 - 44) / 24) ** 2 + (((y - 7) / 0.7 - 28) / 18) ** 2
    output = Output((8 * (1 - seen))[None, None].clamp(-8, 8), (56, 56))
    row, column = torch.meshgrid(torch.arange(60.0), torch.arange(80.0), indexing="ij")
    wanted = ((column - 44) / 24) ** 2 + ((row - 28) / 18) ** 2 < 1 + math.log(0.65 / 0.35) / 8
    got = micro.predict(output, (60, 80))[0]
    assert got.shape == (60, 80)
    assert float((got & wanted).sum() / (got | wanted).sum()) > 0.97
    assert micro.predict(output, (56, 56)).shape == (1, 56, 56)


def test_frozen_reading_is_free_of_language(micro: DETRIS) -> None:
    """Q14 (b): without adapters vision does not change with the sentence; with them it does."""
    micro.eval()
    one, other = sample(), sample()
    other["input_ids"] = other["input_ids"].flip(0)
    other["attention_mask"] = other["attention_mask"].flip(0)
    with torch.no_grad():
        assert not torch.equal(micro.encode(**one).visual.levels[-1], micro.encode(**other).visual.levels[-1])
        micro.features = "frozen"
        first, second = micro.encode_stage_one(**one), micro.encode_stage_one(**other)
        assert torch.equal(first.visual.levels[-1], second.visual.levels[-1])
        assert not torch.equal(first.textual.tokens, micro.encode(**one).textual.tokens)


def test_official_round_trip(micro: DETRIS) -> None:
    official = to_official(micro)
    again = load_official("detris", {"state_dict": {f"module.{k}": v for k, v in official.items()}}, **UNTOLD)
    assert not again.training
    micro.eval()
    with torch.no_grad():
        assert torch.equal(again(**sample()).logits, micro(**sample()).logits)
    without = {k: v for k, v in official.items() if not k.endswith("num_batches_tracked")}
    assert isinstance(load_official("detris", without, **UNTOLD), DETRIS)


def test_wrong_checkpoints_are_refused(micro: DETRIS) -> None:
    official = to_official(micro)
    cut = {k: v for k, v in official.items() if k != "neck.txt_proj.bias"}
    with pytest.raises(UserError, match=r"missing: neck\.txt_proj\.bias"):
        load_official("detris", cut, **UNTOLD)
    with pytest.raises(UserError, match=r"unexpected: neck\.extra"):
        load_official("detris", {**official, "neck.extra": torch.zeros(1)}, **UNTOLD)
    with pytest.raises(UserError, match="of another shape"):
        load_official("detris", {**official, "proj.vis.4.bias": torch.zeros(3)}, **UNTOLD)
    caris = {"backbone.vis_encoder.norm0.weight": torch.zeros(1), "pixel_decoder.encoder.0.a": torch.zeros(1)}
    with pytest.raises(UserError, match="official CARIS"):
        load_official("detris", caris)
    with pytest.raises(UserError, match="official DETRIS"):
        load_official("caris", official)


def test_refusals(micro: DETRIS) -> None:
    batch = sample()
    with pytest.raises(UserError, match="contains language"):
        micro.encode_image(batch["image"])
    with pytest.raises(UserError, match="feature-level"):
        micro.segment(micro.encode(**batch), torch.zeros(2, 16))
    with pytest.raises(UserError, match="multiples of the patch size"):
        micro.encode(batch["image"][..., :50], batch["input_ids"], batch["attention_mask"])


def test_specification() -> None:
    train = parse_strict(TrainConfig, SPEC.train, "train")
    assert (train.optimizer, train.weight_decay, train.horizon, train.batch) == ("adam", 0.0, 50, 16)
    assert (train.schedule, train.drops, train.drop_unit, train.clip) == ("step", (35, 55), "epoch", None)
    official = parse_strict(TrainConfig, SPEC.train_presets["detris_official"], "train")
    assert (official.horizon, official.batch) == (65, 32)
    assert SPEC.protocol.validate(3) == (1, 2, 3)
    for size in SIZES:
        parse_strict(DetrisOptions, SIZES[size], size)
    config = RunConfig().with_changes({"model.name": "detris", "model.size": "smoke", "pmme.features": "late"})
    with pytest.raises(UserError, match="'frozen'"):
        SPEC.resolve_options(config)


def test_build_from_a_configuration() -> None:
    changes = {
        "model.name": "detris", "model.size": "smoke", "init.vision": "scratch", "init.text": "scratch",
        "pmme.features": "frozen",
    }  # fmt: skip
    model = build_model(RunConfig().with_changes(changes), 30)
    assert isinstance(model, DETRIS)
    assert model.features == "frozen"
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ids = torch.tensor([[2, 7, 9, 3, 0]])
        output = model(torch.randn(1, 3, 112, 112), ids, (ids > 0).long())
    assert output.logits.shape == (1, 1, 32, 32)
    assert bool(output.logits.isfinite().all())


def test_missing_pretrained_weights_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for variable in ("TORCH_HOME", "HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.setenv(variable, str(tmp_path))
    with pytest.raises(UserError, match="dinov2_vitb14_reg4"):
        build_model(RunConfig().with_changes({"model.name": "detris"}), 49408)


def test_the_decision_is_labelled() -> None:
    """What results say of how logits became a mask: DETRIS has one channel and its own threshold."""
    assert "0.35" in SPEC.protocol.decision
    assert DetrisOptions().threshold == 0.35
