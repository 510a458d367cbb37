"""What tokens of several feature maps have in common: where they lie."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from amlrepro.models.layers.deformable import reference_points
from amlrepro.models.layers.position import sine_position


@lru_cache(maxsize=8)
def geometry(shapes: tuple[tuple[int, int], ...], width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Sine codes [M, C] and reference points [M, 2] of the levels; never inference tensors, as training reuses them."""
    with torch.inference_mode(False), torch.no_grad():
        codes = [sine_position(height, width_, width, device) for height, width_ in shapes]
        return torch.cat(codes), reference_points(shapes, device)
