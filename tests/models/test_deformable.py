"""The forms of deformable sampling are one function, forward and backward; nothing breaks a compiler's graph."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from amlrepro.bench.deformable import draw_locations, loop_over_levels, relative_gap, results
from amlrepro.bench.deformable import inputs as bench_inputs
from amlrepro.bench.spec import Setting
from amlrepro.config import RunConfig
from amlrepro.models import build_model
from amlrepro.models.layers import deformable
from amlrepro.models.layers.deformable import by_corner, level_sizes, sample_levels, whole_grid_sample
from amlrepro.models.layers.multiscale import repeated

SHAPES = ((2, 3), (4, 5), (8, 10))
Sampler = Callable[..., Tensor]


def whole(value: Tensor, shapes: deformable.Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    return deformable._by_grid(value, shapes, locations, weights, whole_grid_sample)


@pytest.mark.parametrize("sampler", [sample_levels, by_corner, whole])
def test_every_form_is_the_common_loop(sampler: Sampler) -> None:
    """Against the form that Deformable DETR's PyTorch version has, in float64."""
    generator = torch.Generator().manual_seed(3)
    positions = sum(height * width for height, width in SHAPES)
    value = torch.randn(2, positions, 3, 4, generator=generator)
    locations = draw_locations((2, 7, 3, 5), SHAPES, generator)
    weights = torch.rand(2, 7, 3, 3, 5, generator=generator)
    a, b, c = (part.double().requires_grad_() for part in (value, locations, weights))
    expected = results(loop_over_levels, (a, b, c), SHAPES)
    for found, wanted in zip(results(sampler, (a, b, c), SHAPES), expected, strict=True):
        assert relative_gap(wanted, found) < 1e-12


@pytest.mark.parametrize("sampler", [sample_levels, by_corner, whole])
def test_the_gate_holds_in_float32(sampler: Sampler) -> None:
    """1e-4 forward and backward at the sizes of the smoke profile."""
    arguments, shapes = bench_inputs(Setting(sizes="smoke"))
    expected = results(loop_over_levels, arguments, shapes)
    for found, wanted in zip(results(sampler, arguments, shapes), expected, strict=True):
        assert relative_gap(wanted, found) < 1e-4


def test_the_whole_sampler_is_a_sound_operation() -> None:
    """PyTorch's own checks: schema, shapes without data, gradients, tracing."""
    maps = torch.randn(2, 3, 5, 4, dtype=torch.float64, requires_grad=True)
    grid = (torch.rand(2, 6, 7, 2, dtype=torch.float64) * 2 - 1).requires_grad_()
    torch.library.opcheck(whole_grid_sample, (maps, grid))


def test_sizes_and_codes_of_levels_need_no_copy_to_the_device() -> None:
    assert level_sizes(((2, 3), (4, 5)), torch.device("cpu")).tolist() == [[3, 2], [5, 4]]
    assert not level_sizes(((2, 3), (4, 5)), torch.device("cpu")).is_inference()
    codes = torch.tensor([[1.0], [2.0]], requires_grad=True)
    out = repeated(codes, ((1, 2), (2, 2)))
    assert out.flatten().tolist() == [1, 1, 2, 2, 2, 2]
    assert torch.autograd.grad(out.sum(), codes)[0].flatten().tolist() == [2, 4]


@pytest.mark.parametrize("name", ["caris", "rela"])
@pytest.mark.filterwarnings("ignore:Dynamo detected a call to a `functools.lru_cache`")
def test_no_pixel_decoder_breaks_the_graph(name: str) -> None:
    """`fullgraph` raises at a break; the traced graph, run as it is, gives what the decoder gives."""
    torch.manual_seed(0)
    changes = {"model": {"name": name, "size": "smoke"}, "init": {"vision": "scratch", "text": "scratch"}}
    model = build_model(RunConfig().with_changes({**changes, "data.image_size": 112}), 50)
    image, mask = torch.randn(2, 3, 112, 112), torch.ones(2, 6, dtype=torch.long)
    encoded = model.encode(image, torch.randint(5, 50, (2, 6)), mask)
    levels = [level.detach() for level in encoded.visual.levels]
    tokens = encoded.textual.tokens.detach()

    def decoded() -> Tensor:
        if name == "caris":
            logits: Tensor = model.decoder(levels, tokens, mask).logits  # type: ignore[operator, union-attr]
            return logits
        features: Tensor = model.pixel(levels)[1]  # type: ignore[operator]
        return features

    with torch.no_grad():
        expected = decoded()
        torch._dynamo.reset()
        found = torch.compile(decoded, backend="aot_eager", fullgraph=True)()
    assert torch.allclose(found, expected, atol=1e-5)
