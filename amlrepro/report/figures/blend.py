"""Masks over pictures, pixel by pixel: for figures, and for `amlris predict` at the picture's own size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]  # [H, W, 3], RGB
Mask = NDArray[np.bool_]  # [H, W]
STRENGTH = 0.5


def blend(picture: Picture, mask: Mask, color: str) -> Picture:
    """The picture, mixed half and half with the colour `#rrggbb` where the mask is."""
    tint = np.array(rgb(color))
    mixed = (1 - STRENGTH) * picture + STRENGTH * tint
    return np.where(mask[..., None], np.rint(mixed), picture).astype(np.uint8)


def outlined(picture: Picture, mask: Mask, color: str, width: int) -> Picture:
    """The picture with the mask's inner border of `width` pixels in the colour; the picture's own edge is no border."""
    inner = mask
    for _ in range(width):
        inner = _shrunk(inner)
    out = picture.copy()
    out[mask & ~inner] = rgb(color)
    return out


def rgb(color: str) -> tuple[int, int, int]:
    """`#rrggbb` as 8-bit red, green and blue."""
    red, green, blue = bytes.fromhex(color.removeprefix("#"))
    return red, green, blue


def _shrunk(mask: Mask) -> Mask:
    """Without the pixels that have a neighbour, above, below, left or right, outside the mask."""
    wide = np.pad(mask, 1, mode="edge")
    return mask & wide[:-2, 1:-1] & wide[2:, 1:-1] & wide[1:-1, :-2] & wide[1:-1, 2:]
