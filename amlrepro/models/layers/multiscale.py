"""What tokens of several feature maps have in common: where they lie."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from amlrepro.models.layers.deformable import Shapes, reference_points
from amlrepro.models.layers.position import sine_position


@lru_cache(maxsize=8)
def geometry(shapes: Shapes, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Sine codes [M, C] and reference points [M, 2] of the levels; never inference tensors, as training reuses them."""
    with torch.inference_mode(False), torch.no_grad():
        codes = [sine_position(height, width_, width, device) for height, width_ in shapes]
        return torch.cat(codes), reference_points(shapes, device)


def repeated(codes: Tensor, shapes: Shapes) -> Tensor:
    """A code a level [levels, C] -> one a position, [M, C]; the counts stay on the host."""
    parts = zip(codes.unbind(), shapes, strict=True)
    return torch.cat([code.expand(height * width, -1) for code, (height, width) in parts])
