"""Families and looks, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from amlrepro.verdicts.families import LOOK_LEVEL, adjusted, granted, looks_at, method_of


def test_holm_by_hand() -> None:
    """m = 4 at 5 %: 0.010 against 0.0125, 0.015 against 0.0167, 0.03 against 0.025: there it stops, 0.031 too."""
    values = [0.030, 0.010, 0.031, 0.015]
    levels = granted(values, "holm", 0.05)
    assert levels == pytest.approx([0.025, 0.0125, 0.025, 0.05 / 3])
    assert [p <= level for p, level in zip(values, levels, strict=True)] == [False, True, False, True]
    assert adjusted(values, "holm") == pytest.approx([0.06, 0.04, 0.06, 0.045])


def test_benjamini_hochberg_by_hand() -> None:
    """m = 4 at 5 %: 0.038 is at most 3/4 of 5 %... 0.0375 is not, so two of four are decided, at 2/4 of 5 %."""
    values = [0.038, 0.010, 0.600, 0.024]
    assert granted(values, "benjamini-hochberg", 0.05) == pytest.approx([0.025] * 4)
    assert adjusted(values, "benjamini-hochberg") == pytest.approx([0.038 * 4 / 3, 0.04, 0.6, 0.048])
    assert granted([0.9, 0.8], "benjamini-hochberg", 0.05) == pytest.approx([0.025] * 2)


def test_benjamini_hochberg_is_scipys() -> None:
    values = np.random.default_rng(0).random(20) ** 3
    assert adjusted(values.tolist(), "benjamini-hochberg") == pytest.approx(stats.false_discovery_control(values))


@pytest.mark.parametrize("method", ["holm", "benjamini-hochberg"])
def test_a_level_decides_exactly_what_the_adjusted_p_does(method: str) -> None:
    random = np.random.default_rng(1)
    for _ in range(200):
        values = (random.random(7) ** 4).tolist()
        levels = granted(values, method, 0.05)  # type: ignore[arg-type]
        by_level = [p <= level for p, level in zip(values, levels, strict=True)]
        assert by_level == [p <= 0.05 for p in adjusted(values, method)]  # type: ignore[arg-type]


def test_what_has_not_been_run_counts() -> None:
    """p = 0.01 alone is decided at 2.5 %; with two claims that have not been run it has 0.0083."""
    assert granted([0.01], "holm")[0] == pytest.approx(LOOK_LEVEL) == pytest.approx(0.025)
    assert granted([0.01, 1.0, 1.0], "holm")[0] == pytest.approx(0.025 / 3)


def test_looks_are_at_three_and_at_five_seeds_only() -> None:
    assert [looks_at(n) for n in (1, 2, 3, 4, 5, 9)] == [(), (), (3,), (3,), (3, 5), (3, 5)]


def test_headline_claims_are_judged_by_holm() -> None:
    assert method_of("headline") == "holm"
    assert method_of("tau") == "benjamini-hochberg"
