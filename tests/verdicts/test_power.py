"""Seeds that an effect takes."""

from __future__ import annotations

import pytest

from amlrepro.verdicts.power import PRIOR_SIGMA, seeds_needed


@pytest.mark.parametrize(
    ("effect", "seeds"), [(1.83, 1), (1.33, 2), (0.8, 5), (0.5, 13), (0.29, 38), (0.11, 263), (-1.83, 1)]
)
def test_seeds_for_printed_effects(effect: float, seeds: int) -> None:
    """2 (1.95996 + 0.84162)^2 0.45^2 / effect^2, rounded up; for 0.5: 2 * 7.8489 * 0.2025 / 0.25 = 12.7."""
    assert seeds_needed(effect, PRIOR_SIGMA) == seeds


def test_no_number_of_seeds_finds_nothing() -> None:
    assert seeds_needed(0.0, 0.45) is None
