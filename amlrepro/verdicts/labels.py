"""Labels: what a difference says of a statement. Pure functions, numbers in and labels out.

Each kind of claim is a test with a `p`, the smallest level at which it is decided, and `at(level)`, what it says at a
level. Families and looks only choose that level.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from amlrepro.verdicts.noise import Difference, two_sided, upper_tail
from amlrepro.verdicts.power import AFFORDABLE, POWER, seeds_needed

LEVEL = 0.05  # of all looks together, two-sided; also of the band around a printed effect

Label = Literal[
    "direction reproduced, size compatible",
    "direction reproduced, size smaller",
    "direction reproduced, size larger",
    "direction reproduced",
    "equal within the margin",
    "best",
    "contradicted in sign",
    "contradicted in size",
    "contradicted in size: real, under half",
    "contradicted: differs by more than the margin",
    "not reproduced under this reading",
    "undecided",
    "undecidable",
    "variance unknown",
    "before the first look",
    "not run",
    "invalid",
    "direction holds here",
    "direction reversed here",
    "equal here",
    "different here",
    "best here",
    "not best here",
]

COMPATIBLE: Label = "direction reproduced, size compatible"
SMALLER: Label = "direction reproduced, size smaller"
LARGER: Label = "direction reproduced, size larger"
DIRECTION: Label = "direction reproduced"
EQUAL: Label = "equal within the margin"
BEST: Label = "best"
WRONG_SIGN: Label = "contradicted in sign"
WRONG_SIZE: Label = "contradicted in size"
UNDER_HALF: Label = "contradicted in size: real, under half"
DIFFERENT: Label = "contradicted: differs by more than the margin"
ONE_READING: Label = "not reproduced under this reading"
UNDECIDED: Label = "undecided"
UNDECIDABLE: Label = "undecidable"
UNKNOWN: Label = "variance unknown"
TOO_EARLY: Label = "before the first look"
NOT_RUN: Label = "not run"
INVALID: Label = "invalid"

REPRODUCED = frozenset({COMPATIBLE, SMALLER, LARGER, DIRECTION, EQUAL, BEST})
CONTRADICTED = frozenset({WRONG_SIGN, WRONG_SIZE, UNDER_HALF, DIFFERENT})
DECIDED = REPRODUCED | CONTRADICTED
# What small models on synthetic data are said to show: of their own numbers, never of the paper's.
HERE: dict[Label, Label] = {
    DIRECTION: "direction holds here",
    WRONG_SIGN: "direction reversed here",
    EQUAL: "equal here",
    DIFFERENT: "different here",
    BEST: "best here",
}


@dataclass(frozen=True)
class Outcome:
    """What a test says at a level. low, high: the interval that decided, two-sided at `level` (simultaneous for the
    best of several). band: estimates compatible in size with the printed effect. seeds: an arm, with which an undecided
    claim would be decided if the truth were what is estimated; None where decided, or where no number would."""

    label: Label
    low: float
    high: float
    level: float
    band: tuple[float, float] | None = None
    seeds: int | None = None


class ClaimTest(Protocol):
    """A claim's test at one look."""

    @property
    def p(self) -> float:
        """The smallest level at which anything is decided."""

    def at(self, level: float) -> Outcome:
        """What it says at a level."""


@dataclass(frozen=True)
class EffectTest:
    """The first is better. printed: the printed effect d, None where there is none or its size is not comparable."""

    difference: Difference
    printed: float | None = None

    @property
    def p(self) -> float:
        """Two-sided against 0, or at which U < d/2, whichever is smaller."""
        against_zero = two_sided(self.difference.t, self.difference.nu)
        half = self._half
        if half is None:
            return against_zero
        return min(against_zero, 2 * upper_tail(-self.difference.over(half), self.difference.nu), 1.0)

    def at(self, level: float) -> Outcome:
        """L > 0: direction reproduced, with the size; U < 0: contradicted in sign; U < d/2: contradicted in size."""
        difference, half = self.difference, self._half
        low, high = difference.interval(level)
        band = None if self.printed is None else difference.band(self.printed, LEVEL)
        if high < 0:
            return Outcome(WRONG_SIGN, low, high, level, band)
        if half is not None and high < half:
            return Outcome(UNDER_HALF if low > 0 else WRONG_SIZE, low, high, level, band)
        if low > 0:
            return Outcome(_size(difference.estimate, band), low, high, level, band)
        distance = abs(difference.estimate) if half is None else self._distance(half)
        seeds, label = seeds_left(distance, difference, level)
        return Outcome(label, low, high, level, band, seeds)

    @property
    def _half(self) -> float | None:
        """d/2, which only a positive printed effect has."""
        return self.printed / 2 if self.printed is not None and self.printed > 0 else None

    def _distance(self, half: float) -> float:
        """How narrow half an interval must become around the estimate to leave out 0 or d/2."""
        estimate = self.difference.estimate
        return max(estimate, half - estimate)


@dataclass(frozen=True)
class EquivalenceTest:
    """The two differ by less than the margin: two one-sided tests."""

    difference: Difference
    margin: float

    @property
    def p(self) -> float:
        """Of equivalence (the larger of the two one-sided), or of a difference beyond the margin, the smaller."""
        return min(self._equal(), self._different())

    def at(self, level: float) -> Outcome:
        """Equal where the (1 - 2 level) interval lies within the margin; different where the (1 - level) interval,
        which is the one given, lies beyond it."""
        low, high = self.difference.interval(level)
        if self._equal() <= level:
            return Outcome(EQUAL, low, high, level)
        if low > self.margin or high < -self.margin:
            return Outcome(DIFFERENT, low, high, level)
        distance = abs(self.margin - abs(self.difference.estimate))
        seeds, label = seeds_left(distance, self.difference, level)
        return Outcome(label, low, high, level, seeds=seeds)

    def _equal(self) -> float:
        d = self.difference
        return max(upper_tail(d.over(-self.margin), d.nu), upper_tail(-d.over(self.margin), d.nu))

    def _different(self) -> float:
        d = self.difference
        beyond = d.over(self.margin) if d.estimate > 0 else -d.over(-self.margin)
        return min(1.0, 2 * upper_tail(beyond, d.nu))


@dataclass(frozen=True)
class AllTest:
    """The first is better in every pair: an intersection-union test, which needs no correction to be passed; to be
    contradicted by one pair it takes that pair's level divided by their number."""

    differences: tuple[Difference, ...]

    @property
    def p(self) -> float:
        """Of the weakest pair, or that of a contradiction."""
        passed = max(two_sided(d.t, d.nu) if d.t > 0 else 1.0 for d in self.differences)
        failed = min(two_sided(d.t, d.nu) if d.t < 0 else 1.0 for d in self.differences)
        return min(passed, len(self.differences) * failed)

    def at(self, level: float) -> Outcome:
        """Passed when all pairs are; the interval is that of the pair that is furthest from it."""
        weakest = self.differences[self.weakest]
        low, high = weakest.interval(level)
        if all(d.interval(level)[0] > 0 for d in self.differences):
            return Outcome(DIRECTION, low, high, level)
        corrected = level / len(self.differences)
        if any(d.interval(corrected)[1] < 0 for d in self.differences):
            return Outcome(WRONG_SIGN, *weakest.interval(corrected), level)  # of the pair that fails most clearly
        open_ = [d for d in self.differences if d.interval(level)[0] <= 0]
        seeds, label = worst_left(open_, level)
        return Outcome(label, low, high, level, seeds=seeds)

    @property
    def weakest(self) -> int:
        """Which pair is furthest from being passed, and first to be contradicted: the largest P(T > t)."""
        return max(range(len(self.differences)), key=lambda k: self._tail(self.differences[k]))

    @staticmethod
    def _tail(difference: Difference) -> float:
        return upper_tail(difference.t, difference.nu)


def label_effect(difference: Difference, printed: float | None, level: float = LEVEL) -> Outcome:
    """What a difference says of a printed effect; see `EffectTest`."""
    return EffectTest(difference, printed).at(level)


def seeds_left(distance: float, difference: Difference, level: float) -> tuple[int | None, Label]:
    """Seeds an arm that decide with 80 % power where the boundary lies `distance` from the truth, more than there are;
    and `undecidable` where that is more than can be afforded. Against a constant one arm has half the variance."""
    sigma = difference.sigma if difference.n_second is not None else difference.sigma / math.sqrt(2)
    needed = seeds_needed(distance, sigma, POWER, level) if distance > 0 else None
    if needed is None:
        return None, UNDECIDABLE
    needed = max(needed, difference.n_first + 1)
    return needed, _affordable(needed)


def worst_left(differences: Sequence[Difference], level: float) -> tuple[int | None, Label]:
    """`seeds_left` of that one of several undecided differences that takes most seeds."""
    found = [seeds_left(abs(d.estimate), d, level)[0] for d in differences]
    known = [seeds for seeds in found if seeds is not None]
    if len(known) < len(found) or not known:
        return None, UNDECIDABLE
    return max(known), _affordable(max(known))


def _affordable(seeds: int) -> Label:
    return UNDECIDED if seeds <= AFFORDABLE else UNDECIDABLE


def _size(estimate: float, band: tuple[float, float] | None) -> Label:
    if band is None:
        return DIRECTION
    if estimate < band[0]:
        return SMALLER
    return LARGER if estimate > band[1] else COMPATIBLE
