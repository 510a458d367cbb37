"""How derived cells are calculated from others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from amlrepro.suite.cellspec import Operation


def difference(values: Sequence[float]) -> float:
    """The first less the second."""
    first, second = values
    return first - second


def percent_more(values: Sequence[float]) -> float:
    """By how many percent of the second the first exceeds it (overheads of Tables 9 and 10)."""
    first, second = values
    return 100 * (first - second) / second if second else 0.0


def percent_less(values: Sequence[float]) -> float:
    """By how many percent of the first the second is below it (improvement of Table 14)."""
    first, second = values
    return 100 * (first - second) / first if first else 0.0


OPERATIONS: Mapping[Operation, Callable[[Sequence[float]], float]] = {
    "mean": fmean,
    "difference": difference,
    "percent_more": percent_more,
    "percent_less": percent_less,
}
