"""Masks over pictures, pixel by pixel."""

from __future__ import annotations

import numpy as np

from amlrepro.report.figures.blend import SHORT, STRENGTH, blend, outlined, rgb, stamped
from amlrepro.report.figures.style import BAND_FILL


def grey(height: int = 20, width: int = 30) -> np.ndarray:
    return np.full((height, width, 3), 100, dtype=np.uint8)


def square() -> np.ndarray:
    mask = np.zeros((20, 30), dtype=bool)
    mask[5:15, 10:20] = True
    return mask


def test_only_the_mask_is_tinted() -> None:
    mixed = blend(grey(), square(), "#ff0000")
    assert (mixed[~square()] == 100).all()
    red, green, blue = mixed[10, 15]
    assert (red, green, blue) == (round(100 + STRENGTH * 155), *2 * (round(100 * (1 - STRENGTH)),))


def test_an_outline_lies_inside_and_is_as_wide_as_asked() -> None:
    drawn = (outlined(grey(), square(), "#ffffff", 2) == 255).all(axis=2)
    assert drawn.sum() == 10 * 10 - 6 * 6
    assert not (drawn & ~square()).any()


def test_the_pictures_edge_is_no_outline() -> None:
    everything = np.ones((20, 30), dtype=bool)
    assert (outlined(grey(), everything, "#ffffff", 3) == 100).all()
    assert (outlined(grey(), ~everything, "#ffffff", 3) == 100).all()


def test_a_stamp_has_room_or_is_short_or_absent() -> None:
    text = "no evidence about anything at all, " * 2
    wide, narrow, tiny = (stamped(grey(*size), text) for size in ((200, 600), (60, 80), (10, 10)))
    for picture in (wide, narrow):
        assert (picture[-1, -1] == rgb(BAND_FILL)).all()
        assert (picture[: len(picture) // 2] == 100).all()
    assert (narrow == stamped(grey(60, 80), SHORT)).all()
    assert (tiny == 100).all()
