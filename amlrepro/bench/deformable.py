"""Deformable attention in plain PyTorch: ours against the straightforward loop over levels that is in common use.

Timed is `sample_levels`, forward and backward: what surrounds it is linear layers on both sides. On a GPU ours is
compiled, as a compiled training step has it; on a CPU it runs as it is.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from amlrepro.bench.spec import Gate, Measurement, Setting
from amlrepro.bench.timing import alternate
from amlrepro.models.caris.spec import SPEC, CarisOptions
from amlrepro.models.layers.deformable import Shapes, sample_levels
from amlrepro.suite.profile import bench_configs

ROUNDS = 20
BOUND = 1e-4
Sampler = Callable[[Tensor, Shapes, Tensor, Tensor], Tensor]
NAMES = ("result", "gradient of values", "gradient of locations", "gradient of weights")


def loop_over_levels(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """`sample_levels` as Deformable DETR's and mmcv's PyTorch version has it: all samples of all levels are kept, then
    weighted and summed. Arguments and result as there."""
    batch, _, heads, dim = value.shape
    queries = locations.shape[1]
    grids = 2 * locations - 1
    sampled = []
    parts = torch.split(value, [height * width for height, width in shapes], dim=1)
    for level, ((height, width), part) in enumerate(zip(shapes, parts, strict=True)):
        maps = part.flatten(2).transpose(1, 2).reshape(batch * heads, dim, height, width)
        grid = grids[:, :, :, level].transpose(1, 2).flatten(0, 1)
        sampled.append(F.grid_sample(maps, grid, mode="bilinear", padding_mode="zeros", align_corners=False))
    factors = weights.transpose(1, 2).reshape(batch * heads, 1, queries, -1)
    out = (torch.stack(sampled, dim=-2).flatten(-2) * factors).sum(-1)
    return out.view(batch, heads * dim, queries).transpose(1, 2).contiguous()


def time_samplers(setting: Setting) -> Measurement:
    """Forward and backward of a layer of CARIS's decoder at a profile's sizes and batch, in float32."""
    arguments, shapes = inputs(setting)
    compiled = setting.device == "cuda"
    ours: Sampler = torch.compile(sample_levels, fullgraph=True, dynamic=False) if compiled else sample_levels
    sides = {"loop over levels": loop_over_levels, "ours": ours}
    found = {name: results(sampler, arguments, shapes) for name, sampler in sides.items()}
    gaps = [relative_gap(a, b) for a, b in zip(found["loop over levels"], found["ours"], strict=True)]
    worst = max(range(len(gaps)), key=gaps.__getitem__)
    words = f"{gaps[worst]:.1e} ({NAMES[worst]})"
    gate = Gate("largest difference", words, f"{BOUND:g} of the largest value", gaps[worst] <= BOUND)

    def call(sampler: Sampler) -> Callable[[], None]:
        def both() -> None:
            results(sampler, arguments, shapes)
            if compiled:
                torch.cuda.synchronize()

        return both

    seconds = alternate({name: call(sampler) for name, sampler in sides.items()}, setting.rounds or ROUNDS, warmup=3)
    value, locations, _ = arguments
    details = {
        "compiled": compiled,
        "batch": len(value),
        "positions": value.shape[1],
        "heads": value.shape[2],
        "points": locations.shape[-2],
        "levels": [list(shape) for shape in shapes],
    }
    return Measurement(seconds, gate=gate, details=details)


def inputs(setting: Setting) -> tuple[tuple[Tensor, Tensor, Tensor], Shapes]:
    """Values, locations and weights of a layer that wants gradients; the shapes of its levels, coarse to fine."""
    config = next(iter(bench_configs(setting.sizes).values()))
    options = SPEC.resolve_options(config)
    assert isinstance(options, CarisOptions)
    sides = [config.data.image_size // (options.patch_size << stage) for stage in range(1, len(options.depths))]
    shapes = tuple((side, side) for side in reversed(sides))
    positions, heads = sum(height * width for height, width in shapes), options.decoder_heads
    generator = torch.Generator().manual_seed(0)
    size = (config.train.batch, positions, heads)
    value = torch.randn(*size, options.width // heads, generator=generator)
    locations = draw_locations((*size, options.points), shapes, generator)
    weights = torch.rand(*size, len(shapes) * options.points, generator=generator)
    weights = (weights / weights.sum(-1, keepdim=True)).view(locations.shape[:-1])
    tensors = tuple(part.to(setting.device).requires_grad_() for part in (value, locations, weights))
    return (tensors[0], tensors[1], tensors[2]), shapes


def draw_locations(size: tuple[int, int, int, int], shapes: Shapes, generator: torch.Generator) -> Tensor:
    """[B, Q, heads, levels, points, 2] from size (B, Q, heads, points), up to a pixel beyond the maps' edges.

    None lies on a pixel's centre line: there the gradient jumps, and rounding decides on which side it is taken.
    """
    batch, queries, heads, points = size
    levels = []
    for height, width in shapes:
        sides = torch.tensor([width, height])
        within = torch.rand(batch, queries, heads, points, 2, generator=generator)
        cell = (within * (sides + 1)).floor() - 1
        levels.append((cell + 0.01 + 0.98 * torch.rand(within.shape, generator=generator) + 0.5) / sides)
    return torch.stack(levels, 3)


def results(sampler: Sampler, arguments: tuple[Tensor, Tensor, Tensor], shapes: Shapes) -> list[Tensor]:
    """The result and the gradients of its sum of squares in values, locations and weights."""
    value, locations, weights = arguments
    out = sampler(value, shapes, locations, weights)
    return [out.detach(), *torch.autograd.grad(out.square().sum(), arguments)]


def relative_gap(expected: Tensor, found: Tensor) -> float:
    """Largest difference by the largest value."""
    return float((expected - found).abs().max() / expected.abs().max())
