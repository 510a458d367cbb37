"""One function for each check; each looks at the printed numbers and says what follows from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from amlrepro.suite.printed import PrintedNumber
from amlrepro.verdicts.audit.paper import Paper

Verdict = Literal["consistent", "off_by", "contradictory", "unclear"]
VERDICTS: tuple[Verdict, ...] = ("contradictory", "off_by", "unclear", "consistent")

# How a finding is reached: by calculation from numbers alone; by reading, where nothing can be calculated; by both,
# where the numbers are calculated and what they are held against is a sentence of the paper.
By = Literal["calculation", "reading", "both"]


@dataclass(frozen=True)
class Outcome:
    """What a check found. printed: what is printed; text: what follows, in a sentence; numbers: recomputed, by name."""

    verdict: Verdict
    printed: str
    text: str
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    """The function of a check, and how it finds."""

    by: By
    find: Callable[[Paper], Outcome]


CHECKS: dict[str, Check] = {}


def check(name: str, by: By = "calculation") -> Callable[[Callable[[Paper], Outcome]], Callable[[Paper], Outcome]]:
    """Register the function of the check `name`."""

    def register(find: Callable[[Paper], Outcome]) -> Callable[[Paper], Outcome]:
        if name in CHECKS:
            raise ValueError(f"two functions for {name}")
        CHECKS[name] = Check(by, find)
        return find

    return register


def judged(holds: bool, otherwise: Verdict) -> Verdict:
    """`consistent` where it holds."""
    return "consistent" if holds else otherwise


def show(value: Fraction | float, decimals: int = 2, sign: bool = False) -> str:
    """A number for people: halves away from zero, as print rounds."""
    exact = Fraction(value)
    scaled = abs(exact) * 10**decimals
    whole = (2 * scaled.numerator + scaled.denominator) // (2 * scaled.denominator)
    front, back = divmod(whole, 10**decimals)
    shown = f"{front}.{back:0{decimals}d}" if decimals else f"{front:,}"
    minus = exact < 0 and whole > 0
    return ("-" if minus else "+" if sign else "") + shown


def shows(values: Iterable[Fraction | float], decimals: int = 2, sign: bool = False) -> str:
    """Several of them, with commas."""
    return ", ".join(show(value, decimals, sign) for value in values)


def texts(numbers: Iterable[PrintedNumber], sign: bool = False) -> str:
    """Printed numbers with their digits."""
    return ", ".join(("+" if sign and number >= 0 else "") + number.text for number in numbers)


def named(names: Iterable[str], values: Iterable[Fraction | float]) -> dict[str, float]:
    """Names and values as plain numbers."""
    return {name: float(value) for name, value in zip(names, values, strict=True)}
