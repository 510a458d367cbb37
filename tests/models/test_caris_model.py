"""CARIS's parts against plain loops and formulas: deformable attention, positions, start values, sizes, hooks."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch
from torch import Tensor

from amlrepro.config import RunConfig
from amlrepro.errors import UserError
from amlrepro.models import build_model
from amlrepro.models.caris.model import CARIS
from amlrepro.models.caris.spec import SIZES, SPEC, CarisOptions, validate_after
from amlrepro.models.layers.deformable import DeformableAttention, reference_points, sample_levels
from amlrepro.models.layers.position import sine_position
from amlrepro.models.registry import get_spec, model_names


def caris(size: str = "smoke", image_size: int = 112, **options: object) -> CARIS:
    config = RunConfig().with_changes(
        {
            "model": {"size": size, "options": options},
            "init": {"vision": "scratch", "text": "scratch"},
            "data.image_size": image_size,
        }
    )
    model = build_model(config, 50)
    assert isinstance(model, CARIS)
    return model


def inputs(batch: int = 2, height: int = 112, width: int = 112) -> tuple[Tensor, Tensor, Tensor]:
    mask = torch.ones(batch, 12, dtype=torch.long)
    mask[0, 5:] = 0
    return torch.randn(batch, 3, height, width), torch.randint(1, 50, (batch, 12)) * mask, mask


def bilinear(image: Tensor, x: float, y: float) -> float:
    """Value of image [H, W] at pixel coordinates, zero outside."""
    total, left, top = 0.0, math.floor(x), math.floor(y)
    for row in (top, top + 1):
        for column in (left, left + 1):
            if 0 <= row < image.shape[0] and 0 <= column < image.shape[1]:
                total += float(image[row, column]) * (1 - abs(y - row)) * (1 - abs(x - column))
    return total


def test_deformable_sampling_against_a_plain_loop() -> None:
    torch.manual_seed(1)
    shapes, heads, points, queries = ((2, 3), (4, 5)), 2, 3, 4
    value = torch.randn(1, 26, heads, 2, dtype=torch.float64)
    locations = torch.rand(1, queries, heads, 2, points, 2, dtype=torch.float64) * 1.4 - 0.2
    weights = torch.rand(1, queries, heads, 2, points, dtype=torch.float64)
    out = sample_levels(value, shapes, locations, weights)
    for query in range(queries):
        for head in range(heads):
            for channel in range(2):
                expected, start = 0.0, 0
                for level, (height, width) in enumerate(shapes):
                    part = value[0, start : start + height * width, head, channel].reshape(height, width)
                    start += height * width
                    for point in range(points):
                        x, y = (float(v) for v in locations[0, query, head, level, point])
                        weight = float(weights[0, query, head, level, point])
                        expected += weight * bilinear(part, x * width - 0.5, y * height - 0.5)
                assert float(out[0, query, head * 2 + channel]) == pytest.approx(expected, abs=1e-12)


def test_fresh_offsets_point_around_the_compass() -> None:
    """Head h looks in direction 2 pi h / 8, on the square of side 2 (p + 1); alike on every level."""
    bias = DeformableAttention(16, heads=8, levels=3, points=4).sampling_offsets.bias.view(8, 3, 4, 2)
    assert torch.allclose(bias[0, 0], torch.tensor([[1.0, 0], [2, 0], [3, 0], [4, 0]]), atol=1e-6)
    assert torch.allclose(bias[1, 2], torch.tensor([[1.0, 1], [2, 2], [3, 3], [4, 4]]), atol=1e-5)
    assert torch.allclose(bias[4, 1], torch.tensor([[-1.0, 0], [-2, 0], [-3, 0], [-4, 0]]), atol=1e-5)


def test_reference_points_are_pixel_centres_x_first() -> None:
    points = reference_points(((2, 4), (1, 1)), torch.device("cpu"))
    assert points[0].tolist() == [0.125, 0.25]
    assert points[3].tolist() == [0.875, 0.25]
    assert points[4].tolist() == [0.125, 0.75]
    assert points[8].tolist() == [0.5, 0.5]


def test_sine_position_by_hand() -> None:
    """Row i of 3: y = (i + 1) / 3 * 2 pi. With 8 channels half is 4: divisors 1, 1, 100, 100."""
    code = sine_position(3, 5, 8, torch.device("cpu"))
    y, x = 2 / 3 * 2 * math.pi, 4 / 5 * 2 * math.pi
    expected = [f(v / d) for v in (y, x) for d in (1, 100) for f in (math.sin, math.cos)]
    assert torch.allclose(code[1 * 5 + 3], torch.tensor(expected), atol=1e-5)


@torch.no_grad()
def test_a_fresh_model_has_the_official_start_values() -> None:
    torch.manual_seed(0)
    model = caris("tiny", 224, depths=[1, 1, 1, 1], text_layers=1)
    decoder = model.decoder
    for conv in decoder.input_convs:  # fan-out of a 1x1 convolution to 256 channels, gain sqrt(2)
        assert float(conv.get_parameter("conv.weight").std()) == pytest.approx(math.sqrt(2 / 256), rel=0.02)
    layer = decoder.layers[0]
    assert float(layer.get_parameter("v2l_cross_attn.q_proj.weight").std()) == pytest.approx(0.02, rel=0.02)
    assert float(layer.get_parameter("vis_mlp.fc1.bias").abs().max()) == 0
    assert float(layer.get_parameter("vis_self_attn.attention_weights.weight").abs().max()) == 0
    assert float(layer.get_parameter("vis_self_attn.value_proj.weight").std()) == pytest.approx(1 / 16, rel=0.02)
    default = 1 / math.sqrt(3 * 768)  # PyTorch's uniform start of a linear from 768 channels
    assert float(decoder.lang_in_linear.weight.std()) == pytest.approx(default, rel=0.02)
    assert float(decoder.lang_in_linear.bias.abs().max()) > 0
    assert float(model.prompts.table.std()) == pytest.approx(1, rel=0.05)
    assert float(decoder.vis_prompts.weight.std()) == pytest.approx(1, rel=0.05)
    assert float(model.prompts.get_parameter("in_linears.0.weight").std()) == pytest.approx(0.02, rel=0.02)
    qkv = model.visual.swin.layers[0].blocks[0].attn.qkv
    assert float(qkv.weight.std()) == pytest.approx(0.02, rel=0.03)
    assert float(qkv.bias.abs().max()) == 0


@pytest.mark.parametrize("size", ["demo", "smoke"])
def test_small_sizes_reach_a_seven_by_seven_map_at_112(size: str) -> None:
    model = caris(size)
    with torch.inference_mode():
        levels = model.encode_image(torch.randn(1, 3, 112, 112)).levels
    assert [tuple(level.shape[-2:]) for level in levels] == [(28, 28), (14, 14), (7, 7)]
    assert model(*inputs()).logits.shape == (2, 2, 28, 28)


def test_every_parameter_learns() -> None:
    model = caris()
    output = model(*inputs())
    loss = model.loss(output, torch.randint(0, 2, (2, 112, 112)))["loss"]
    loss.backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_the_loss_by_hand() -> None:
    """Equal sizes, so nothing is resized: sum of w_y * -log p_y over sum of w_y."""
    model = caris()
    output = model(*inputs(height=28, width=28))
    output.logits = torch.tensor([[[[0.0, 1.0]], [[2.0, 1.0]]]])
    target = torch.tensor([[[1, 0]]])
    right = -math.log(math.exp(2) / (1 + math.exp(2)))
    expected = (1.1 * right + 0.9 * math.log(2)) / (1.1 + 0.9)
    assert float(model.loss(output, target)["loss"]) == pytest.approx(expected, rel=1e-6)
    assert model.predict(output, (1, 2)).tolist() == [[[True, False]]]


def test_one_image_serves_several_sentences() -> None:
    model = caris().eval()
    image, ids, mask = inputs(batch=3)
    index = torch.tensor([0, 0, 1])
    with torch.inference_mode():
        together = model(image[:2][index], ids, mask).logits
        visual = model.encode_image(image[:2]).select(index)
        from amlrepro.models.contract import Encoded

        apart = model.segment(Encoded(visual, model.encode_text(ids, mask, visual), (112, 112))).logits
    assert torch.allclose(together, apart, atol=1e-5)


def test_attention_bias_hides_coarse_positions_from_the_text() -> None:
    """A zero bias changes nothing; minus infinity at a key is as if that key were not there."""
    model = caris(layers=1).eval()
    encoded = model.encode(*inputs())
    plain = model.segment(encoded)
    bias = torch.zeros(2, 49)
    assert torch.equal(model.segment(encoded, bias).logits, plain.logits)
    bias[:, 10] = float("-inf")
    attention = model.decoder.layers[0].get_submodule("v2l_cross_attn")
    masked = model.segment(encoded, bias)
    query, key = torch.randn(2, 3, 16), torch.randn(2, 60, 16)
    kept = torch.tensor([i for i in range(60) if i != 10])
    biased = attention(query, key, key, bias=bias)
    assert torch.allclose(biased, attention(query, key[:, kept], key[:, kept]), atol=1e-6)
    assert not torch.equal(masked.logits, plain.logits)


def test_another_input_size_on_the_way() -> None:
    model = caris().eval()
    with torch.inference_mode():
        first = model(*inputs(1, 112, 112)).logits
        assert first.shape[-2:] == (28, 28)
        assert model(*inputs(1, 56, 112)).logits.shape[-2:] == (14, 28)
    with pytest.raises(UserError, match="multiples of 4"):
        model(*inputs(1, 110, 112))
    loss = model.loss(model(*inputs(1, 56, 112)), torch.zeros(1, 56, 112, dtype=torch.long))["loss"]
    loss.backward()  # what inference mode prepared must not break training


def test_validation_epochs() -> None:
    """Zero-based epochs 0, 10, 20, 30, 40 and 34 to 49, counted as whole epochs trained."""
    assert validate_after(50) == (1, 11, 21, 31, *range(35, 51))
    assert validate_after(3) == (1, 2, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": [2, 4]}, "one entry for each"),
        ({"embed_dim": 9, "heads": [2, 4, 8]}, "multiple of 2 heads"),
        ({"groups": 7}, "groups"),
        ({"widht": 3}, "did you mean 'width'"),
        ({"width": "wide"}, "valid integer"),
    ],
)
def test_wrong_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        SPEC.resolve_options(RunConfig().with_changes({"model": {"size": "demo", "options": options}}))


def test_all_sizes_are_sound() -> None:
    for name, size in SIZES.items():
        CarisOptions.model_validate(size)
        assert name in SPEC.sizes


def test_registry() -> None:
    assert get_spec("caris") is SPEC
    assert "caris" in model_names()
    with pytest.raises(UserError, match="did you mean 'caris'"):
        get_spec("cariss")


def test_specifications_do_not_load_torch() -> None:
    code = (
        "import sys; from amlrepro.models import load_official; from amlrepro.models.registry import get_spec; "
        "get_spec('caris'); import amlrepro.cli.weights; "
        "bad = {'torch', 'timm', 'transformers', 'pandas'} & set(sys.modules); assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
