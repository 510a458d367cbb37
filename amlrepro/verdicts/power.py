"""How many seeds an effect of a given size takes."""

from __future__ import annotations

import math

LEVEL = 0.05  # two-sided
POWER = 0.8
PRIOR_SIGMA = 0.45  # points of oIoU between trainings: public CARIS checkpoints against the paper's CARIS* (X-CARIS)
AFFORDABLE = 10  # seeds an arm, above which an effect is called undecidable


def seeds_needed(effect: float, sigma: float, power: float = POWER, level: float = LEVEL) -> int | None:
    """Seeds an arm with which a two-sided test at `level` finds a true `effect` with probability `power`, the variance
    being known: n = 2 (z_{1 - level/2} + z_power)^2 (sigma / effect)^2, rounded up. None for an effect of 0."""
    from scipy.stats import norm

    if effect == 0:
        return None
    z = float(norm.ppf(1 - level / 2) + norm.ppf(power))
    return max(1, math.ceil(2 * (z * sigma / effect) ** 2))
