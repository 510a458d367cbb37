"""Pooled noise and differences of means, by hand and against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from amlrepro.verdicts.noise import Difference, compare, pool, quantile, two_sided, upper_tail, welch


def test_pooled_variance_by_hand() -> None:
    """Squares 0.02 of [70.0, 70.2] (1 degree), 0.08 of [1.0, 1.2, 1.4] (2), none of a single seed: s^2 = 0.1 / 3."""
    noise = pool([[70.0, 70.2], [1.0, 1.2, 1.4], [55.0]])
    assert (noise.nu, noise.recipes, noise.runs) == (3, 2, 5)
    assert noise.sigma == pytest.approx(math.sqrt(0.1 / 3))
    assert not noise.known
    assert pool([[1.0], [2.0]]).sigma is None


def test_four_degrees_are_enough() -> None:
    assert pool([[1.0, 2.0, 3.0], [1.0, 2.0, 4.0]]).known
    assert not pool([[1.0, 2.0, 3.0], [1.0, 2.0]]).known


@pytest.mark.parametrize(("n", "m"), [(3, 3), (5, 3), (2, 4)])
def test_two_arms_alone_are_the_t_test(n: int, m: int) -> None:
    random = np.random.default_rng(n)
    first, second = random.normal(67, 0.45, n).tolist(), random.normal(66, 0.45, m).tolist()
    found = compare(first, second, pool([first, second]))
    expected = stats.ttest_ind(first, second)
    interval = expected.confidence_interval(0.95)
    assert found.t == pytest.approx(expected.statistic)
    assert two_sided(found.t, found.nu) == pytest.approx(expected.pvalue)
    assert found.interval(0.05) == pytest.approx((interval.low, interval.high))
    t, p = welch(first, second) or (0, 0)
    unequal = stats.ttest_ind(first, second, equal_var=False)
    assert (t, p) == pytest.approx((unequal.statistic, unequal.pvalue))


def test_more_recipes_are_the_linear_contrast_of_an_analysis_of_variance() -> None:
    """A third recipe adds to s only: s^2 is the mean square within groups of the one-way analysis of variance."""
    arms = [[67.1, 67.5, 67.2], [65.0, 65.9, 65.3], [66.0, 66.1]]
    noise = pool(arms)
    within = sum(np.var(arm, ddof=0) * len(arm) for arm in arms) / 5
    between = sum(len(arm) * (np.mean(arm) - np.mean(np.concatenate(arms))) ** 2 for arm in arms) / 2
    assert between / (noise.sigma or 0) ** 2 == pytest.approx(stats.f_oneway(*arms).statistic)
    assert noise.sigma == pytest.approx(math.sqrt(within))
    assert noise.nu == 5
    assert compare(arms[0], arms[1], noise).se == pytest.approx(math.sqrt(within * 2 / 3))


def test_a_constant_adds_no_noise() -> None:
    """One-sample t test where the arm is alone."""
    first = [71.0, 71.6, 71.4, 71.9, 71.2]
    found = compare(first, 70.9, pool([first]))
    expected = stats.ttest_1samp(first, 70.9)
    assert found.t == pytest.approx(expected.statistic)
    assert two_sided(found.t, found.nu) == pytest.approx(expected.pvalue)


def test_the_band_by_hand() -> None:
    """t_4 = 2.7764; 2.7764 * 0.45 * sqrt(2 + 2/3) = 2.0403 around 1.83; sqrt(1 + 1/3) against a constant: 1.4427."""
    assert Difference(1.5, 0.45, 4, 3, 3).band(1.83, 0.05) == pytest.approx((1.83 - 2.0403, 1.83 + 2.0403), abs=1e-4)
    assert Difference(1.5, 0.45, 4, 3, None).band(1.83, 0.05) == pytest.approx((1.83 - 1.4427, 1.83 + 1.4427), abs=1e-4)


def test_less_is_better_turns_the_sign() -> None:
    assert compare([3.0, 4.0], [9.0, 10.0], pool([[3.0, 4.0], [9.0, 10.0]]), sign=-1.0).estimate == pytest.approx(6.0)


def test_student_is_scipys() -> None:
    assert quantile(0.025, 7) == pytest.approx(stats.t.ppf(0.9875, 7))
    assert two_sided(-2.3, 4) == pytest.approx(2 * stats.t.sf(2.3, 4))
    assert upper_tail(1.2, 9) == pytest.approx(stats.t.sf(1.2, 9))
    assert two_sided(math.inf, 4) == 0.0
    assert Difference(0.0, 0.0, 4, 3, 3).t == 0.0
    assert Difference(-1.0, 0.0, 4, 3, 3).t == -math.inf
