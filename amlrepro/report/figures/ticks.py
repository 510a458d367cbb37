"""Ranges of a radar's axes: all as long in points, each where its own numbers lie."""

from __future__ import annotations

import math
from collections.abc import Sequence

RINGS = 4
# Points from ring to ring; four of the last span 0 to 100.
STEPS = (1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 20.0, 25.0)


def axis_ticks(numbers: Sequence[Sequence[float]]) -> list[tuple[float, ...]]:
    """Ticks of each axis that hold its numbers: centre and `RINGS` rings, with the smallest step that does for all.

    Numbers lie about half way out, the lowest at least half a ring from the centre unless that is 0. An axis without
    numbers has no ticks.
    """
    for step in STEPS:
        ticks = [_ticks(each, step) if each else () for each in numbers]
        known = [each for each in ticks if each is not None]
        if len(known) == len(ticks):
            return known
    raise ValueError("numbers of a radar are percent")


def _ticks(numbers: Sequence[float], step: float) -> tuple[float, ...] | None:
    """Ticks around the numbers' middle, or a step lower, or from 0; None when none of them holds the numbers."""
    low, high = min(numbers), max(numbers)
    centred = math.floor((low + high) / 2 / step - RINGS / 2 + 0.5) * step
    for start in (max(centred, 0.0), max(centred - step, 0.0), 0.0):
        if (start == 0 or low >= start + step / 2) and high <= start + RINGS * step:
            return tuple(start + ring * step for ring in range(RINGS + 1))
    return None
