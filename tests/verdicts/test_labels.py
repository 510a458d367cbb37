"""Labels of single claims, each with numbers worked by hand: t_4 at 5 % is 2.7764, and se = s sqrt(2/3) at 3 seeds."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from scipy import stats

from amlrepro.verdicts.best import BestTest, beyond, critical
from amlrepro.verdicts.labels import (
    BEST,
    COMPATIBLE,
    DIFFERENT,
    DIRECTION,
    EQUAL,
    LARGER,
    SMALLER,
    UNDECIDABLE,
    UNDECIDED,
    UNDER_HALF,
    WRONG_SIGN,
    WRONG_SIZE,
    AllTest,
    EffectTest,
    EquivalenceTest,
    Label,
    label_effect,
)
from amlrepro.verdicts.noise import Difference, compare, pool, quantile


def effect(estimate: float, sigma: float = 0.45, nu: int = 4, seeds: int = 3) -> Difference:
    return Difference(estimate, sigma, nu, seeds, seeds)


@pytest.mark.parametrize(
    ("estimate", "sigma", "label"),
    [
        (1.60, 0.45, COMPATIBLE),  # 1.60 - 1.0201 > 0; |1.60 - 1.83| < 2.0403
        (0.95, 0.10, SMALLER),  # 0.95 +- 0.2267: U 1.18 > 0.915; band 1.83 +- 0.4534 begins at 1.3766
        (2.60, 0.10, LARGER),  # above 2.2834
        (0.50, 0.10, UNDER_HALF),  # 0.50 +- 0.2267 is above 0 and below 0.915
        (0.00, 0.30, WRONG_SIZE),  # 0 +- 0.6801 is below 0.915
        (-1.10, 0.45, WRONG_SIGN),  # -1.10 + 1.0201 < 0
        (0.90, 0.45, UNDECIDED),  # 0.90 - 1.0201 < 0, 0.90 + 1.0201 > 0.915
        (0.46, 0.45, UNDECIDABLE),  # 0.46 from 0, 0.455 from d/2: 2 (2.8016 * 0.45 / 0.46)^2 = 15.02 seeds
    ],
)
def test_labels_of_an_effect(estimate: float, sigma: float, label: Label) -> None:
    assert label_effect(effect(estimate, sigma), 1.83).label == label


def test_the_interval_and_the_seeds_that_would_decide() -> None:
    """0.90 is furthest from 0: 2 (2.8016 * 0.45 / 0.90)^2 = 3.92, so 4; with 5 seeds there already, 6."""
    found = label_effect(effect(0.90), 1.83)
    assert (found.low, found.high) == pytest.approx((0.90 - 1.0201, 0.90 + 1.0201), abs=1e-4)
    assert found.seeds == 4
    assert label_effect(effect(0.60, 0.9, 8, 5), 1.83).seeds == 36  # 2 (2.8016 * 0.9 / 0.6)^2 = 35.3
    assert label_effect(effect(0.90, 0.8, 8, 5), 1.83).label == UNDECIDABLE  # 12.4 seeds


def test_without_a_printed_effect_only_the_direction_is_judged() -> None:
    assert label_effect(effect(1.60), None).label == DIRECTION
    assert label_effect(effect(0.0, 0.01), None).label in (UNDECIDED, UNDECIDABLE)


def test_a_printed_effect_against_the_statement_has_no_half() -> None:
    """-0.29 (Table 5, 4096 against 2048): an estimate of -0.10 is no contradiction of half of it."""
    assert label_effect(effect(-0.10, 0.30), -0.29).label in (UNDECIDED, UNDECIDABLE)
    assert label_effect(effect(-1.0, 0.30), -0.29).label == WRONG_SIGN


@pytest.mark.parametrize("estimate", [-1.3, -0.2, 0.1, 0.5, 0.95, 1.3, 2.0])
def test_p_is_the_smallest_level_that_decides(estimate: float) -> None:
    tests = [
        EffectTest(effect(estimate), 1.83),
        EffectTest(effect(estimate), None),
        EquivalenceTest(effect(estimate, 0.2), 0.5),
        AllTest((effect(estimate), effect(estimate + 1, nu=9))),
        BestTest((effect(estimate), effect(estimate + 1))),
    ]
    open_ = (UNDECIDED, UNDECIDABLE)
    for test in tests:
        assert test.at(min(test.p * 1.001, 0.999)).label not in open_ or test.p > 0.99
        assert test.at(test.p * 0.999).label in open_


def test_two_one_sided_tests_are_scipys() -> None:
    """Margin 0.5: the larger p of two one-sided t tests of shifted samples."""
    random = np.random.default_rng(3)
    first, second = random.normal(67, 0.1, 4), random.normal(67.1, 0.1, 4)
    test = EquivalenceTest(compare(first.tolist(), second.tolist(), pool([first.tolist(), second.tolist()])), 0.5)
    upper = stats.ttest_ind(first, second + 0.5, alternative="less").pvalue
    lower = stats.ttest_ind(first, second - 0.5, alternative="greater").pvalue
    assert test.p == pytest.approx(max(upper, lower))
    assert test.at(0.05).label == EQUAL


def test_equivalence_by_hand() -> None:
    """One-sided t_4 at 5 % is 2.1318: s = 0.2, se = 0.1633; 0.1 + 0.3481 < 0.5, but 0.2 + 0.3481 > 0.5."""
    assert EquivalenceTest(effect(0.10, 0.2), 0.5).at(0.05).label == EQUAL
    assert EquivalenceTest(effect(0.20, 0.2), 0.5).at(0.05).label == UNDECIDED
    assert EquivalenceTest(effect(-1.00, 0.2), 0.5).at(0.05).label == DIFFERENT  # -1 + 0.4534 < -0.5
    assert EquivalenceTest(effect(-0.90, 0.2), 0.5).at(0.05).label == UNDECIDED


def test_every_split_must_pass_and_one_may_fail_it() -> None:
    """Passed at 5 % each; failed at 5 % / 2: t_4 is 3.4954, so -1.2 +- 1.2843 does not, -1.3 does."""
    assert AllTest((effect(1.2), effect(1.1))).at(0.05).label == DIRECTION
    assert AllTest((effect(1.2), effect(0.9))).at(0.05).label == UNDECIDED
    assert AllTest((effect(1.2), effect(-1.2))).at(0.05).label == UNDECIDED
    assert AllTest((effect(1.2), effect(-1.3))).at(0.05).label == WRONG_SIGN


def test_simultaneous_intervals_are_dunnetts() -> None:
    random = np.random.default_rng(1)
    best = random.normal(1, 0.5, 4)
    rivals = [random.normal(0, 0.5, 3), random.normal(0.2, 0.5, 5), random.normal(0.8, 0.5, 3)]
    expected = stats.dunnett(*rivals, control=best, random_state=1)
    noise = pool([best.tolist(), *(arm.tolist() for arm in rivals)])
    test = BestTest(tuple(compare(best.tolist(), arm.tolist(), noise) for arm in rivals))
    limits = expected.confidence_interval(0.95)
    found = test.intervals(0.05)
    assert [-high for _, high in found] == pytest.approx(list(limits.low), abs=2e-3)
    assert [-low for low, _ in found] == pytest.approx(list(limits.high), abs=2e-3)
    assert test.p == pytest.approx(max(expected.pvalue), abs=2e-3)


def test_the_best_is_no_argmax() -> None:
    """Ahead of both, by more than the noise of one pair, but not of both at once: the critical value lies between t_4
    and Bonferroni's, and cited rivals are constants, all against one and the same mean."""
    q = critical(0.05, 4, (0.5**0.5, 0.5**0.5))
    assert quantile(0.05, 4) < q < quantile(0.025, 4)
    se = 0.45 * (2 / 3) ** 0.5
    assert BestTest((effect(1.001 * q * se), effect(3.0))).at(0.05).label == BEST
    assert BestTest((effect(0.999 * q * se), effect(3.0))).at(0.05).label == UNDECIDED
    assert BestTest((effect(-1.001 * q * se), effect(3.0))).at(0.05).label == WRONG_SIGN
    assert critical(0.05, 4, (1.0, 1.0, 1.0)) == pytest.approx(quantile(0.05, 4))
    assert beyond(3.0, 40, (1.0,)) == pytest.approx(2 * stats.t.sf(3.0, 40), rel=1e-6)


def test_nothing_is_ever_called_confirmed() -> None:
    assert not any("confirm" in label for label in get_args(Label))


def test_a_failed_split_is_shown_with_the_interval_that_failed_it() -> None:
    """-1.3 with nu 4 at 5 % / 2: half width 3.4954 * 0.3674 = 1.2843. The other pair has the smaller t, and more doubt:
    t -3.4 with nu 2 (P(T > t) 0.962) against -3.54 with nu 4."""
    test = AllTest((effect(-0.35 * 3.6, 0.42866, 2), effect(-1.3)))
    assert test.weakest == 1
    found = test.at(0.05)
    assert (found.low, found.high) == pytest.approx((-1.3 - 1.2843, -1.3 + 1.2843), abs=1e-3)
