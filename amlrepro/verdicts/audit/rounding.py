"""The rounding rule of the audit, in exact fractions: when a printed number follows from others that are printed.

Sums, differences and means have to follow from the digits as printed; where the exact result lies half-way between two
numbers either is right. Ratios and percentages may also use up the rounding of what they are made from, because there
an input's last digit moves the result by more. Whole numbers are counts, and exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction

from amlrepro.suite.printed import PrintedNumber

RULE = (
    "A printed number is consistent if the recomputed one rounds to it. Sums, differences and means are taken of the "
    "digits as printed, and a tie may go either way; ratios and percentages may also use up the rounding of their "
    "inputs. Whole numbers are counts, and exact."
)


def exact(number: PrintedNumber) -> Fraction:
    """The number as printed, without the error of a binary float."""
    return Fraction(number.text.replace("_", ""))


def half_unit(number: PrintedNumber) -> Fraction:
    """Half a unit of the last printed digit."""
    return Fraction(1, 2 * 10**number.decimals)


def span(number: PrintedNumber) -> tuple[Fraction, Fraction]:
    """Between what and what the number lay before it was rounded; a count is itself."""
    half = half_unit(number) if number.decimals else Fraction(0)
    return exact(number) - half, exact(number) + half


def rounds_to(value: Fraction, printed: PrintedNumber) -> bool:
    """Whether `value` rounds to what is printed; of two nearest numbers either will do."""
    return abs(value - exact(printed)) <= half_unit(printed)


def all_round_to(values: Iterable[Fraction], printed: Iterable[PrintedNumber]) -> bool:
    """Whether each value rounds to the printed number at its place."""
    return all(rounds_to(value, number) for value, number in zip(values, printed, strict=True))


def mean(values: Sequence[Fraction]) -> Fraction:
    """The exact mean."""
    return sum(values, Fraction(0)) / len(values)


def percent_change(before: PrintedNumber, after: PrintedNumber) -> Fraction:
    """100 (after - before) / before, of the digits as printed."""
    return 100 * (exact(after) / exact(before) - 1)


def change_rounds_to(before: PrintedNumber, after: PrintedNumber, printed: PrintedNumber) -> bool:
    """Whether the size of the relative change, in percent, can round to `printed` within the rounding of both."""
    low, high = span(after)[0] / span(before)[1], span(after)[1] / span(before)[0]
    ends = sorted((100 * (low - 1), 100 * (high - 1)))
    if ends[1] < 0:
        ends = sorted((-ends[0], -ends[1]))
    return ends[0] - half_unit(printed) <= exact(printed) <= ends[1] + half_unit(printed)
