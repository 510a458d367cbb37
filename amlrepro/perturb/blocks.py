"""Occlusion of Figure 4(b): a share of the blocks of the network's input, to be set to zero after normalisation (Q36).

The blocks lie on the input itself, where the affine input geometry has its border too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from amlrepro.perturb.draws import picture_hashes
from amlrepro.perturb.specs import Parameters

LARGEST = 32  # side of a block in pixels at the paper's 448
FEWEST = 7  # blocks across


def block_side(size: int) -> int:
    """Side in pixels of the blocks of a square input of `size` pixels: the largest power of two up to 32 that divides
    it into at least 7 blocks across: 32 at 448 and 480, 16 at 112. 1 where none does."""
    sides = (LARGEST >> shift for shift in range(LARGEST.bit_length()))
    return next((side for side in sides if size % side == 0 and size // side >= FEWEST), 1)


def occluded(parameters: Parameters, image_id: int, size: int) -> NDArray[np.bool_]:
    """Pixels [size, size] in exactly round(share * n) of the n blocks.

    An image's blocks are ordered at random once, and a share is the first of them: a smaller one is part of a larger.
    """
    side = block_side(size)
    across = size // side
    order = np.argsort(picture_hashes("occlusion", image_id, 0, across * across), kind="stable")
    blocks = np.zeros(across * across, dtype=np.bool_)
    blocks[order[: round(parameters["share"] * len(order))]] = True
    return blocks.reshape(across, across).repeat(side, axis=0).repeat(side, axis=1)
