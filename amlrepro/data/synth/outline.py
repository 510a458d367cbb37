"""Exact masks as COCO polygons: outlines along pixel edges, which pycocotools rasterises to the very same pixels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

BoolArray = npt.NDArray[np.bool_]
SPECK = 4  # pieces with fewer pixels are left out


def mask_polygons(mask: BoolArray, offset: tuple[int, int] = (0, 0)) -> list[list[float]]:
    """Polygons `[x1, y1, x2, y2, ...]` that cover `mask` [H, W], each without holes.

    offset: x and y of the mask's corner in the picture. COCO polygons know no holes, so a piece with a hole is cut
    through it. Pieces of fewer than `SPECK` pixels are dropped.
    """
    pieces, _ = ndimage.label(mask)
    out: list[list[float]] = []
    for number, window in enumerate(ndimage.find_objects(pieces), start=1):
        piece = pieces[window] == number
        x, y = offset[0] + window[1].start, offset[1] + window[0].start
        if piece.sum() < SPECK:
            continue
        holes = ndimage.binary_fill_holes(piece) & ~piece
        if holes.any():
            column = max(1, int(np.flatnonzero(holes.any(axis=0)).mean()))
            out += mask_polygons(piece[:, :column], (x, y))
            out += mask_polygons(piece[:, column:], (x + column, y))
        else:
            out.append(_trace(piece, x, y))
    return out


def _trace(piece: BoolArray, x: int, y: int) -> list[float]:
    """Corners of the closed pixel-edge path around a four-connected piece without holes, clockwise."""
    height, width = piece.shape
    stride = width + 1
    padded = np.pad(piece, 1)
    inside = padded[1:-1, 1:-1]
    following = np.full((height + 1) * stride, -1, dtype=np.int64)
    # Each edge between inside and outside, directed so that the inside lies on its right.
    for outside, start, end in (
        (~padded[:-2, 1:-1], 0, 1),
        (~padded[1:-1, 2:], 1, stride + 1),
        (~padded[2:, 1:-1], stride + 1, stride),
        (~padded[1:-1, :-2], stride, 0),
    ):
        rows, columns = np.nonzero(inside & outside)
        corner = rows * stride + columns
        following[corner + start] = corner + end
    step = following.tolist()
    first = int(np.argmax(following >= 0))
    points: list[float] = []
    before, here = first, step[first]
    direction = here - before
    while here != first:
        after = step[here]
        if after - here != direction:
            points += [float(x + here % stride), float(y + here // stride)]
            direction = after - here
        here = after
    return [float(x + first % stride), float(y + first // stride), *points]
