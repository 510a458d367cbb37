"""Multi-scale deformable attention (Deformable DETR, Eq. 3) in plain PyTorch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Shapes = Sequence[tuple[int, int]]


def sample_levels(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum of bilinear samples (zero padding, pixel centres at (i + 0.5) / n).

    value [B, M, heads, D]: the levels' maps, row-major, one after another; shapes: (height, width) of each level;
    locations [B, Q, heads, levels, points, 2]: x and y in units of the level's width and height;
    weights [B, Q, heads, levels, points]. Returns [B, Q, heads * D].
    """
    batch, _, heads, dim = value.shape
    queries = locations.shape[1]
    maps = value.permute(0, 2, 3, 1).flatten(0, 1)
    # One level after another, queries innermost: whole rows for the sampler, and never all samples in memory.
    grids = (2 * locations - 1).permute(3, 0, 2, 4, 1, 5).flatten(1, 2)
    factors = weights.permute(3, 0, 2, 4, 1).flatten(1, 2).unsqueeze(2)
    out, start = value.new_zeros(()), 0
    for (height, width), grid, factor in zip(shapes, grids, factors, strict=True):
        part = maps[:, :, start : start + height * width].reshape(batch * heads, dim, height, width)
        out = out + (F.grid_sample(part, grid, align_corners=False) * factor).sum(2)
        start += height * width
    return out.view(batch, heads * dim, queries).transpose(1, 2)


def reference_points(shapes: Shapes, device: torch.device) -> Tensor:
    """Centre of every position of every level, [M, 2], x first, in units of the level's width and height."""
    points = []
    for height, width in shapes:
        y = (torch.arange(height, device=device, dtype=torch.float32) + 0.5) / height
        x = (torch.arange(width, device=device, dtype=torch.float32) + 0.5) / width
        points.append(torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], -1).reshape(-1, 2))
    return torch.cat(points)


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
            scale = torch.tensor([(width, height) for height, width in shapes], dtype=torch.float32).to(query.device)
            offsets = self.sampling_offsets(query).view(*size, 2) / scale[:, None, :]
            locations = reference.float().view(-1, queries, 1, 1, 1, 2) + offsets
            out: Tensor = self.output_proj(sample_levels(value, shapes, locations, weights))
            return out
