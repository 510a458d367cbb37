"""The middle and the spread of repeated measurements."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def quartiles(values: Sequence[float]) -> dict[str, float]:
    """Median and interquartile bounds (inclusive); of a single value three times that value.

    Raises `statistics.StatisticsError` where there is none.
    """
    if len(values) == 1:
        return {"median": values[0], "q1": values[0], "q3": values[0]}
    low, mid, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": mid, "q1": low, "q3": high}
