"""Ranges of radar axes: one step for all, each axis where its numbers are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amlrepro.report.figures.ticks import axis_ticks


def test_each_axis_starts_below_its_own_numbers() -> None:
    """Steps of one point do for 74.65 to 76.44 and 57.97 to 59.51; centres are half a point or more below."""
    assert axis_ticks([[74.65, 76.44], [57.97, 59.51]]) == [(74, 75, 76, 77, 78), (57, 58, 59, 60, 61)]


def test_the_widest_axis_decides_the_step() -> None:
    ticks = axis_ticks([[50.0, 56.0], [70.0, 70.5]])
    assert [t[1] - t[0] for t in ticks] == [2.0, 2.0]


def test_an_axis_without_numbers_has_no_ticks() -> None:
    assert axis_ticks([[10.0, 11.0], []])[1] == ()


@given(st.lists(st.lists(st.floats(0, 100), min_size=1, max_size=4), min_size=1, max_size=8))
def test_ticks_hold_all_percentages(numbers: list[list[float]]) -> None:
    ticks = axis_ticks(numbers)
    assert len({round(t[1] - t[0], 9) for t in ticks}) == 1
    for axis, values in zip(ticks, numbers, strict=True):
        assert len(axis) == 5
        assert axis[0] >= 0
        assert axis[0] <= min(values)
        assert max(values) <= axis[-1] + 1e-9


def test_numbers_beyond_percent_are_refused() -> None:
    with pytest.raises(ValueError, match="percent"):
        axis_ticks([[0.0, 500.0]])
