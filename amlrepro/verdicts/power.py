"""How many seeds an effect takes, and how likely some seeds decide it: a t interval of a difference of two means whose
variance is estimated (`docs/budget.md`)."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

from amlrepro.verdicts.noise import ENOUGH, quantile

LEVEL = 0.05  # two-sided
POWER = 0.8
PRIOR_SIGMA = 0.45  # points of oIoU between trainings: public CARIS checkpoints against the paper's CARIS* (X-CARIS)
AFFORDABLE = 10  # seeds an arm, above which an effect is called undecidable
NODES = 48  # of the integral over the estimated variance


def seeds_needed(effect: float, sigma: float, power: float = POWER, level: float = LEVEL) -> int | None:
    """Seeds an arm with which a two-sided test at `level` finds a true `effect` with probability `power`, the variance
    being known: n = 2 (z_{1 - level/2} + z_power)^2 (sigma / effect)^2, rounded up. None for an effect of 0."""
    from scipy.stats import norm

    if effect == 0:
        return None
    z = float(norm.ppf(1 - level / 2) + norm.ppf(power))
    return max(1, math.ceil(2 * (z * sigma / effect) ** 2))


def chance_of_direction(effect: float, spread: float, nu: int, level: float) -> float:
    """Probability that the lower end of the interval is above 0 when the true difference is `effect`.

    spread: standard deviation of the estimated difference, sigma sqrt(1/n_A + 1/n_B). nu: degrees of freedom of the
    estimated variance. level: two-sided. The upper tail of a noncentral t with nu degrees of freedom and noncentrality
    effect / spread.
    """
    from scipy.special import nctdtr

    return 1 - float(nctdtr(nu, effect / spread, quantile(level, nu)))


@lru_cache(maxsize=1 << 16)
def chance_of_effect(true: float, printed: float, spread: float, nu: int, level: float) -> float:
    """Probability that a difference is decided either way: the interval is above 0 (direction reproduced) or below half
    of the printed effect (contradicted), when the truth is `true`. printed is positive; the rest as
    `chance_of_direction`. 0 below `ENOUGH`.

    Given the estimated variance the estimate is normal; the variance is integrated out, so that intervals which are
    both count once.
    """
    if nu < ENOUGH:
        return 0.0
    import numpy as np
    from scipy.special import ndtr

    ratios, weights = _variances(nu)
    half = quantile(level, nu) * ratios  # of the interval, in units of `spread`
    low, high = printed / 2 / spread - half, half
    between = ndtr(high - true / spread) - ndtr(low - true / spread)
    return float(1 - np.sum(weights * np.maximum(0.0, between)))


@lru_cache(maxsize=1 << 16)
def chance_of_equivalence(true: float, margin: float, spread: float, nu: int, level: float) -> float:
    """Probability that two one-sided tests at `level` each find a difference within `margin` of 0, or that the interval
    lies beyond the margin, when the truth is `true`. 0 below `ENOUGH`."""
    if nu < ENOUGH:
        return 0.0
    import numpy as np
    from scipy.special import ndtr

    ratios, weights = _variances(nu)
    half = quantile(2 * level, nu) * ratios
    edge, centre = margin / spread, true / spread
    within = np.maximum(0.0, ndtr(edge - half - centre) - ndtr(half - edge - centre))
    beyond = ndtr(centre - edge - half) + ndtr(-centre - edge - half)
    return float(np.sum(weights * (within + beyond)))


@lru_cache(maxsize=1024)
def _variances(nu: int) -> tuple[Any, Any]:
    """Nodes and weights over the distribution of s / sigma = sqrt(chi2_nu / nu): arrays [NODES] each, by Gauss-Legendre
    in the probability."""
    import numpy as np
    from scipy.special import chdtri

    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    ratios = np.sqrt(chdtri(nu, 1 - (nodes + 1) / 2) / nu)
    return ratios, weights / 2
