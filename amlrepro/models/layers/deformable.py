"""Multi-scale deformable attention (Deformable DETR, Eq. 3) in plain PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Shapes = tuple[tuple[int, int], ...]


def sample_levels(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum of bilinear samples (zero padding, pixel centres at (i + 0.5) / n).

    value [B, M, heads, D]: the levels' maps, row-major, one after another; shapes: (height, width) of each level;
    locations [B, Q, heads, levels, points, 2]: x and y in units of the level's width and height;
    weights [B, Q, heads, levels, points]. Returns [B, Q, heads * D].

    Compiled for a GPU it is written out as reads of rows of D neighbours in memory, which the compiler fuses with the
    weighted sum; its own grid sampler for the CPU is slow, so there the sampler stays one operation.
    """
    if not torch.compiler.is_compiling():
        return _by_grid(value, shapes, locations, weights, _grid_sample)
    if value.device.type == "cpu":
        return _by_grid(value, shapes, locations, weights, whole_grid_sample)
    return by_corner(value, shapes, locations, weights)


def _by_grid(
    value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor, sample: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """One level after another, queries innermost: whole rows for the sampler, and never all samples in memory."""
    batch, _, heads, dim = value.shape
    queries = locations.shape[1]
    maps = value.permute(0, 2, 3, 1).flatten(0, 1)
    grids = (2 * locations - 1).permute(3, 0, 2, 4, 1, 5).flatten(1, 2)
    factors = weights.permute(3, 0, 2, 4, 1).flatten(1, 2).unsqueeze(2)
    out, start = value.new_zeros(()), 0
    for (height, width), grid, factor in zip(shapes, grids, factors, strict=True):
        part = maps[:, :, start : start + height * width].reshape(batch * heads, dim, height, width)
        out = out + (sample(part, grid) * factor).sum(2)
        start += height * width
    return out.view(batch, heads * dim, queries).transpose(1, 2)


def by_corner(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """`sample_levels` as a sum over the four corners of each sample's cell, for a compiler to fuse."""
    batch, _, heads, _ = value.shape
    picture = torch.arange(batch, device=value.device)[:, None, None, None]
    head = torch.arange(heads, device=value.device)[:, None]
    out, start = value.new_zeros(()), 0
    for level, (height, width) in enumerate(shapes):
        x = locations[:, :, :, level, :, 0] * width - 0.5
        y = locations[:, :, :, level, :, 1] * height - 0.5
        left, top = x.detach().floor(), y.detach().floor()
        for dy in (0, 1):
            for dx in (0, 1):
                column, row = left + dx, top + dy
                share = (1 - (x - column).abs()) * (1 - (y - row).abs()) * weights[:, :, :, level]
                inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
                share = torch.where(inside, share, 0)
                index = start + row.clamp(0, height - 1).long() * width + column.clamp(0, width - 1).long()
                out = out + (value[picture, index, head] * share[..., None]).sum(3)
        start += height * width
    return out.flatten(2)


def _grid_sample(maps: Tensor, grid: Tensor) -> Tensor:
    return F.grid_sample(maps, grid, align_corners=False)


@torch.library.custom_op("amlrepro::grid_sample", mutates_args=())
def whole_grid_sample(maps: Tensor, grid: Tensor) -> Tensor:
    """`grid_sample`, bilinear with zero padding and corners not aligned, as an operation no compiler takes apart."""
    return _grid_sample(maps, grid)


@torch.library.custom_op("amlrepro::grid_sample_backward", mutates_args=())
def _whole_backward(gradient: Tensor, maps: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    bilinear, zeros = 0, 0
    of_maps, of_grid = torch.ops.aten.grid_sampler_2d_backward(
        gradient, maps, grid, bilinear, zeros, False, [True, True]
    )
    return of_maps, of_grid


@whole_grid_sample.register_fake
def _(maps: Tensor, grid: Tensor) -> Tensor:
    return maps.new_empty(*maps.shape[:2], *grid.shape[1:3])


@_whole_backward.register_fake
def _(gradient: Tensor, maps: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    return maps.new_empty(maps.shape), grid.new_empty(grid.shape)


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
    gradients: tuple[Tensor, Tensor] = _whole_backward(gradient, *ctx.saved_tensors)
    return gradients


whole_grid_sample.register_autograd(_backward, setup_context=_keep)


def reference_points(shapes: Shapes, device: torch.device) -> Tensor:
    """Centre of every position of every level, [M, 2], x first, in units of the level's width and height."""
    points = []
    for height, width in shapes:
        y = (torch.arange(height, device=device, dtype=torch.float32) + 0.5) / height
        x = (torch.arange(width, device=device, dtype=torch.float32) + 0.5) / width
        points.append(torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], -1).reshape(-1, 2))
    return torch.cat(points)


@lru_cache(maxsize=8)
def level_sizes(shapes: Shapes, device: torch.device) -> Tensor:
    """(width, height) of each level, [levels, 2] float32, filled on the device: nothing is copied to it."""
    with torch.inference_mode(False), torch.no_grad():
        sizes = [torch.full((), float(n), device=device) for height, width in shapes for n in (width, height)]
        return torch.stack(sizes).view(-1, 2)


class DeformableAttention(nn.Module):
    """Every query looks at `points` learned places of each of `levels` maps. Without a residual.

    Computed in float32 whatever autocast says, as the official code does.
    """

    def __init__(self, width: int, heads: int, levels: int, points: int) -> None:
        super().__init__()
        self.heads, self.levels, self.points = heads, levels, points
        self.sampling_offsets = nn.Linear(width, heads * levels * points * 2)
        self.attention_weights = nn.Linear(width, heads * levels * points)
        self.value_proj = nn.Linear(width, width)
        self.output_proj = nn.Linear(width, width)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Head h points in direction 2 pi h / heads, point p lies p + 1 steps out; weights start uniform."""
        angles = torch.arange(self.heads, dtype=torch.float32) * (2 * math.pi / self.heads)
        directions = torch.stack([angles.cos(), angles.sin()], -1)
        directions = directions / directions.abs().amax(-1, keepdim=True)
        steps = torch.arange(1, self.points + 1, dtype=torch.float32)
        offsets = directions[:, None, None, :] * steps[:, None]
        nn.init.zeros_(self.sampling_offsets.weight)
        self.sampling_offsets.bias.copy_(offsets.expand(-1, self.levels, -1, -1).flatten())
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        for layer in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, query: Tensor, source: Tensor, reference: Tensor, shapes: Shapes) -> Tensor:
        """query [B, Q, C], source [B, M, C] (the levels, row-major), reference [Q, 2] or [B, Q, 2] -> [B, Q, C]."""
        with torch.autocast(query.device.type, enabled=False):
            query, source = query.float(), source.float()
            batch, queries, _ = query.shape
            size = (batch, queries, self.heads, self.levels, self.points)
            value = self.value_proj(source).unflatten(-1, (self.heads, -1))
            weights = self.attention_weights(query).view(batch, queries, self.heads, -1).softmax(-1).view(size)
            offsets = self.sampling_offsets(query).view(*size, 2) / level_sizes(shapes, query.device)[:, None]
            locations = reference.float().view(-1, queries, 1, 1, 1, 2) + offsets
            out: Tensor = self.output_proj(sample_levels(value, shapes, locations, weights))
            return out
