"""Many claims and many looks: at which level each claim is judged.

A family's size is fixed by the claims file: a claim that has not been run counts with p = 1. So the level of a claim
does not hang on what else was asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from amlrepro.verdicts.labels import LEVEL

Method = Literal["holm", "benjamini-hochberg"]
HEADLINE = "headline"
LOOKS = (3, 5)  # seeds an arm at which a claim is looked at
LOOK_LEVEL = LEVEL / len(LOOKS)


def method_of(family: str) -> Method:
    """Holm for the headline claims, Benjamini-Hochberg for others."""
    return "holm" if family == HEADLINE else "benjamini-hochberg"


def looks_at(seeds: int) -> tuple[int, ...]:
    """The looks that a number of seeds an arm allows: none below 3; with 4 that of 3, the fourth seed waits; with more
    than 5 those of 3 and 5, the others take no part."""
    return tuple(look for look in LOOKS if look <= seeds)


def granted(values: Sequence[float], method: Method, level: float = LOOK_LEVEL) -> list[float]:
    """The level at which each claim of a family is judged, in the order of `values`, their p (1 where not run).

    A claim is decided exactly where its p is at most its level. Holm: level / (m - k) for the k-th smallest p (from 0)
    as long as all before are decided, afterwards that of the first that is not. Benjamini-Hochberg: level R / m, R the
    number of decided claims (of the first that would be, where none is): intervals at that level have the false
    coverage rate of Benjamini and Yekutieli (2005).
    """
    m = len(values)
    order = sorted(range(m), key=lambda k: values[k])
    if method == "benjamini-hochberg":
        decided = max((rank for rank in range(1, m + 1) if values[order[rank - 1]] <= level * rank / m), default=0)
        return [level * max(decided, 1) / m] * m
    out = [0.0] * m
    stuck: float | None = None
    for rank, k in enumerate(order):
        out[k] = stuck if stuck is not None else level / (m - rank)
        if values[k] > out[k]:
            stuck = out[k]
    return out


def adjusted(values: Sequence[float], method: Method) -> list[float]:
    """Adjusted p: the smallest level of the whole family at which each claim is decided."""
    m = len(values)
    order = sorted(range(m), key=lambda k: values[k])
    out = [0.0] * m
    if method == "holm":
        highest = 0.0
        for rank, k in enumerate(order):
            highest = max(highest, min(1.0, (m - rank) * values[k]))
            out[k] = highest
        return out
    lowest = 1.0
    for rank in range(m, 0, -1):
        k = order[rank - 1]
        lowest = min(lowest, values[k] * m / rank)
        out[k] = lowest
    return out
