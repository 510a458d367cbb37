"""Occlusion of the network's input: whole blocks, exactly the share, the same for everyone."""

from __future__ import annotations

import numpy as np
import pytest

from amlrepro.perturb.blocks import block_side, occluded
from amlrepro.perturb.specs import perturbation_spec

THIRTY, FIFTY = (perturbation_spec(name).parameters() for name in ("occlude_30", "occlude_50"))


def test_blocks_are_32_pixels_at_the_papers_sizes_and_16_on_the_demos() -> None:
    sizes = {448: 32, 480: 32, 224: 32, 112: 16, 96: 8, 48: 4, 449: 1}
    assert {size: block_side(size) for size in sizes} == sizes


# 0.3 * 196 = 58.8, 0.3 * 225 = 67.5 and 0.5 * 225 = 112.5 (to even), 0.3 * 49 = 14.7, 0.5 * 49 = 24.5 (to even)
@pytest.mark.parametrize(("size", "thirty", "fifty"), [(448, 59, 98), (480, 68, 112), (112, 15, 24)])
def test_exactly_the_share_of_whole_blocks(size: int, thirty: int, fifty: int) -> None:
    side = block_side(size)
    for image_id in (1, 2, 581857):
        for parameters, expected in ((THIRTY, thirty), (FIFTY, fifty)):
            mask = occluded(parameters, image_id, size)
            assert (mask.dtype.kind, mask.shape) == ("b", (size, size))
            blocks = mask.reshape(size // side, side, size // side, side)
            assert np.array_equal(blocks.any((1, 3)), blocks.all((1, 3)))
            assert blocks.any((1, 3)).sum() == expected


def test_a_smaller_share_is_part_of_a_larger_and_images_differ() -> None:
    first, more = occluded(THIRTY, 7, 448), occluded(FIFTY, 7, 448)
    assert (first <= more).all()
    assert np.array_equal(first, occluded(THIRTY, 7, 448))
    assert not np.array_equal(first, occluded(THIRTY, 8, 448))


def test_every_block_is_hit_equally_often() -> None:
    hits = np.sum([occluded(THIRTY, i, 112)[::16, ::16] for i in range(2000)], axis=0)
    # 2000 * 15 / 49 = 612.2 expected, standard deviation 20.6
    assert hits.min() > 612 - 4 * 20.6
    assert hits.max() < 612 + 4 * 20.6
