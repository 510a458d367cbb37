"""Sine position codes."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def sine_position(height: int, width: int, channels: int, device: torch.device) -> Tensor:
    """Two-dimensional sine code [height * width, channels], row-major: half the channels for y, then half for x.

    Positions count from 1 and are scaled to (0, 2 pi]; sine and cosine alternate; temperature 10000.
    """
    half = channels // 2
    k = torch.arange(half, dtype=torch.float32, device=device)
    divisor = 10000 ** (2 * torch.div(k, 2, rounding_mode="floor") / half)

    def code(n: int) -> Tensor:
        position = torch.arange(1, n + 1, dtype=torch.float32, device=device) / (n + 1e-6) * (2 * math.pi)
        angle = position[:, None] / divisor
        return torch.stack([angle[:, 0::2].sin(), angle[:, 1::2].cos()], -1).flatten(1)

    y = code(height)[:, None].expand(height, width, half)
    x = code(width)[None].expand(height, width, half)
    return torch.cat([y, x], -1).reshape(height * width, 2 * half)
