"""The prediction interval of one more training."""

from __future__ import annotations

import pytest

from amlrepro.verdicts.levels import level_of
from amlrepro.verdicts.noise import Noise, pool


def test_a_hand_worked_interval() -> None:
    """Seeds 65, 66, 67 of two recipes: s = 1, nu = 4, t = 2.776; 66 +- 2.776 sqrt(4/3) = 66 +- 3.206."""
    noise = pool([[65, 66, 67], [70, 71, 72]])
    assert (noise.sigma, noise.nu) == (1, 4)
    found = level_of([65, 66, 67], 69.0, noise)
    assert found.low == pytest.approx(62.794, abs=0.001)
    assert found.high == pytest.approx(69.206, abs=0.001)
    assert found.label == "inside"
    assert level_of([65, 66, 67], 69.3, noise).label == "printed is higher"
    assert level_of([65, 66, 67], 62.7, noise).label == "printed is lower"
    assert "62.79 to 69.21" in found.text


def test_one_seed_says_nothing_without_noise() -> None:
    found = level_of([65.0], 65.0, Noise(None, 0, 0, 0))
    assert (found.label, found.low) == ("variance unknown", None)
    assert level_of([65.0], 65.0, Noise(0.5, 3, 2, 5)).label == "variance unknown"
    with pytest.raises(ValueError):
        level_of([], 65.0, Noise(0.5, 4, 2, 6))
