"""Seeds that an effect takes."""

from __future__ import annotations

import numpy as np
import pytest

from amlrepro.verdicts.power import (
    PRIOR_SIGMA,
    chance_of_direction,
    chance_of_effect,
    chance_of_equivalence,
    seeds_needed,
)


@pytest.mark.parametrize(
    ("effect", "seeds"), [(1.83, 1), (1.33, 2), (0.8, 5), (0.5, 13), (0.29, 38), (0.11, 263), (-1.83, 1)]
)
def test_seeds_for_printed_effects(effect: float, seeds: int) -> None:
    """2 (1.95996 + 0.84162)^2 0.45^2 / effect^2, rounded up; for 0.5: 2 * 7.8489 * 0.2025 / 0.25 = 12.7."""
    assert seeds_needed(effect, PRIOR_SIGMA) == seeds


def test_no_number_of_seeds_finds_nothing() -> None:
    assert seeds_needed(0.0, 0.45) is None


def test_chance_of_direction_by_simulated_t_tests() -> None:
    """Sigma 0.45, 3 seeds an arm, nu 4, d 1.83 at half of 5 %: 200,000 simulated differences and variances."""
    spread = 0.45 * (2 / 3) ** 0.5
    random = np.random.default_rng(0)
    estimates = 1.83 + spread * random.standard_normal(200_000)
    half = 3.495405933 * spread * np.sqrt(random.chisquare(4, 200_000) / 4)  # the t table's 0.9875 quantile at nu 4
    assert chance_of_direction(1.83, spread, 4, 0.025) == pytest.approx(np.mean(estimates - half > 0), abs=0.004)
    either = np.mean((estimates - half > 0) | (estimates + half < 1.83 / 2))
    assert chance_of_effect(1.83, 1.83, spread, 4, 0.025) == pytest.approx(either, abs=0.004)
    assert chance_of_effect(1.83, 1.83, spread, 3, 0.025) == 0  # the variance is unknown


def test_rates_of_the_procedure_at_the_full_level() -> None:
    """The procedure's own figures for 3 seeds, nu 4, d 1.83: a true effect of 1.83 is decided by 95 % or more, of 0 is
    contradicted in 47 % and reproduced in 1 %."""
    spread = 0.45 * (2 / 3) ** 0.5
    assert chance_of_effect(1.83, 1.83, spread, 4, 0.05) == pytest.approx(0.95, abs=0.02)
    assert chance_of_effect(0.0, 1.83, spread, 4, 0.05) == pytest.approx(0.49, abs=0.02)


def test_chance_of_equivalence_by_simulated_intervals() -> None:
    spread, margin = 0.2, 0.5
    random = np.random.default_rng(1)
    estimates = 0.1 + spread * random.standard_normal(200_000)
    half = 2.306004135 * spread * np.sqrt(random.chisquare(8, 200_000) / 8)  # the 0.975 quantile at nu 8
    within = (estimates - half > -margin) & (estimates + half < margin)
    beyond = (estimates - half > margin) | (estimates + half < -margin)
    expected = np.mean(within | beyond)
    assert chance_of_equivalence(0.1, margin, spread, 8, 0.025) == pytest.approx(expected, abs=0.004)


@pytest.mark.parametrize("effect", [0.3, 0.8, 1.33, 1.83])
def test_more_seeds_decide_more(effect: float) -> None:
    chances = [chance_of_effect(effect, effect, 0.45 * (2 / n) ** 0.5, 2 * (n - 1), 0.025) for n in (3, 5)]
    assert chances[0] < chances[1]
