"""Convolutions of the pixel decoders."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class ConvNorm(nn.Module):
    """Convolution that keeps the size, and GroupNorm."""

    def __init__(self, inputs: int, outputs: int, groups: int, kernel: int, bias: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias)
        self.gn = nn.GroupNorm(groups, outputs, eps=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.gn(self.conv(x))
        return out


def top_down(finest: Tensor, coarser: Tensor, smooth: nn.Module) -> Tensor:
    """One step of a feature pyramid: relu(smooth(finest + coarser upsampled to it)), corners not aligned.

    finest [B, C, H, W], after its lateral convolution; coarser [B, C, h, w] -> [B, C, H, W].
    """
    x = finest + F.interpolate(coarser, size=finest.shape[-2:], mode="bilinear", align_corners=False)
    return F.relu(smooth(x))
