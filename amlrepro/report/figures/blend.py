"""Masks over pictures, pixel by pixel: for figures, and for `amlris predict` at the picture's own size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from amlrepro.report.figures import style

Picture = NDArray[np.uint8]  # [H, W, 3], RGB
Mask = NDArray[np.bool_]  # [H, W]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
STRENGTH = 0.55
SMALLEST = 8  # pixels of type
SHORT = "no evidence"


def blend(picture: Picture, mask: Mask, color: str) -> Picture:
    """The picture, mixed with the colour `#rrggbb` (`STRENGTH` of it) where the mask is."""
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


def stamped(picture: Picture, text: str) -> Picture:
    """The picture with a line of text along its lower edge, in a short form or without where it has no room for it."""
    height, width = picture.shape[:2]
    for words in (text, SHORT):
        for size in range(max(height // 40, SMALLEST), SMALLEST - 1, -1):
            font = ImageFont.load_default(size)
            if font.getlength(words) + size <= width and 4 * size <= height:
                return _written(picture, words, font, size)
    return picture


def rgb(color: str) -> tuple[int, int, int]:
    """`#rrggbb` as 8-bit red, green and blue."""
    red, green, blue = bytes.fromhex(color.removeprefix("#"))
    return red, green, blue


def _written(picture: Picture, text: str, font: Font, size: int) -> Picture:
    canvas = Image.fromarray(picture)
    draw = ImageDraw.Draw(canvas)
    band = round(1.6 * size)
    draw.rectangle((0, canvas.height - band, canvas.width, canvas.height), style.BAND_FILL)
    draw.text((size / 2, canvas.height - band / 2), text, style.BAND_INK, font, anchor="lm")
    return np.asarray(canvas)


def _shrunk(mask: Mask) -> Mask:
    """Without the pixels that have a neighbour, above, below, left or right, outside the mask."""
    wide = np.pad(mask, 1, mode="edge")
    return mask & wide[:-2, 1:-1] & wide[2:, 1:-1] & wide[1:-1, :-2] & wide[1:-1, 2:]
