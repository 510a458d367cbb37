"""Ranges of a radar's axes: all as long in points, each where its own numbers lie."""

from __future__ import annotations

import math
from collections.abc import Sequence

RINGS = 4
# Points from ring to ring; four of the last span 0 to 100.
STEPS = (0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 20.0, 25.0)


def axis_ticks(numbers: Sequence[Sequence[float]]) -> list[tuple[float, ...]]:
    """Ticks of each axis that hold its numbers: centre and `RINGS` rings, with the smallest step that does for all.

    The lowest number lies at least half a ring from the centre, unless the centre is 0. An axis without numbers has no
    ticks.
    """
    for step in STEPS:
        starts = [_start(each, step) if each else None for each in numbers]
        fits = [s is None or max(n) <= s + RINGS * step for s, n in zip(starts, numbers, strict=True)]
        if all(fits):
            return [() if s is None else tuple(s + ring * step for ring in range(RINGS + 1)) for s in starts]
    raise ValueError("numbers of a radar are percent")


def _start(numbers: Sequence[float], step: float) -> float:
    return max(math.floor((min(numbers) - step / 2) / step) * step, 0.0)
