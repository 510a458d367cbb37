"""The best of several: simultaneous intervals of one against all others, never an argmax.

One named arm A is compared with k others at once (Dunnett 1955, two-sided, unequal sizes). The differences share A's
mean and the pooled s, so T_j = (lambda_j Z + sqrt(1 - lambda_j^2) e_j) / S with independent normal Z and e_j,
S^2 = chi^2_nu / nu and lambda_j^2 = (1/n_A) / (1/n_A + 1/n_j), which is 1 against a constant, as that has no noise of
its own. The simultaneous critical value is the q with P(max |T_j| > q) = level.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from amlrepro.verdicts.labels import BEST, WRONG_SIGN, Outcome, worst_left
from amlrepro.verdicts.noise import Difference

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

_SCALES = 400  # points of the integral over S
_COMMON = 120  # points of the integral over Z
_FAR = 8.5  # where the normal density has ended


@dataclass(frozen=True)
class BestTest:
    """The first of every difference, one and the same arm, is better than each second."""

    differences: tuple[Difference, ...]

    @property
    def p(self) -> float:
        """Simultaneous: of the weakest difference where all are positive, or of the most negative."""
        nu, loadings = self._nu, self._loadings
        weakest = self.differences[self.weakest].t
        return beyond(abs(weakest), nu, loadings)

    def at(self, level: float) -> Outcome:
        """Best where all simultaneous intervals lie above 0; contradicted where one lies below. The interval is that
        against the strongest rival."""
        q = critical(level, self._nu, self._loadings)
        weakest = self.differences[self.weakest]
        half = q * weakest.se
        low, high = weakest.estimate - half, weakest.estimate + half
        if low > 0:
            return Outcome(BEST, low, high, level)
        if high < 0:
            return Outcome(WRONG_SIGN, low, high, level)
        seeds, label = worst_left([d for d in self.differences if abs(d.t) <= q], level)
        return Outcome(label, low, high, level, seeds=seeds)

    def intervals(self, level: float) -> list[tuple[float, float]]:
        """Simultaneous intervals of all differences."""
        q = critical(level, self._nu, self._loadings)
        return [(d.estimate - q * d.se, d.estimate + q * d.se) for d in self.differences]

    @property
    def weakest(self) -> int:
        """Which rival is the strongest: the smallest t."""
        return min(range(len(self.differences)), key=lambda k: self.differences[k].t)

    @property
    def _nu(self) -> int:
        return min(d.nu for d in self.differences)

    @property
    def _loadings(self) -> tuple[float, ...]:
        return tuple(loading(d.n_first, d.n_second) for d in self.differences)


def loading(n_first: int, n_second: int | None) -> float:
    """lambda_j: the correlation of a difference with the common arm's mean."""
    if n_second is None:
        return 1.0
    return math.sqrt((1 / n_first) / (1 / n_first + 1 / n_second))


@lru_cache(maxsize=4096)
def critical(level: float, nu: int, loadings: tuple[float, ...]) -> float:
    """The q with P(max |T_j| > q) = level."""
    from scipy.optimize import brentq

    from amlrepro.verdicts.noise import quantile

    low, high = quantile(level, nu), quantile(level / len(loadings), nu)  # one alone; Bonferroni
    if len(loadings) == 1 or high - low < 1e-9:
        return low
    if beyond(low, nu, loadings) <= level:  # all against constants: one and the same T
        return low
    return float(brentq(lambda q: beyond(q, nu, loadings) - level, low, high * 1.001, xtol=1e-7))


def beyond(q: float, nu: int, loadings: Sequence[float]) -> float:
    """P(max |T_j| > q)."""
    import numpy as np
    from scipy.special import ndtr

    if math.isinf(q):
        return 0.0
    scales, weights = _over_scales(nu)
    bound = q * scales[:, None]  # of lambda_j Z + sqrt(1 - lambda_j^2) e_j
    nodes, node_weights = _gauss()
    constants = any(loaded >= 1 for loaded in loadings)
    reach = np.minimum(bound, _FAR) if constants else np.full_like(bound, _FAR)
    z = reach * nodes[None, :]
    inside = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    of_loading = {}  # arms with as many seeds each have one loading
    for loaded in loadings:
        if loaded < 1:
            if loaded not in of_loading:
                rest = math.sqrt(1 - loaded**2)
                of_loading[loaded] = ndtr((bound - loaded * z) / rest) - ndtr((-bound - loaded * z) / rest)
            inside = inside * of_loading[loaded]
    within = float(weights @ (reach[:, 0] * (inside @ node_weights)))
    return min(1.0, max(0.0, 1.0 - within))


@lru_cache(maxsize=256)
def _over_scales(nu: int) -> tuple[Floats, Floats]:
    """Values of S with their weights: an even grid in y = ln S, whose density is
    2 (nu/2)^(nu/2) / Gamma(nu/2) exp(nu y - nu exp(2 y) / 2)."""
    import numpy as np
    from scipy.special import gammaln

    y = np.linspace(-4.0 - 36.0 / nu, 1.6, _SCALES)
    log = math.log(2) + nu / 2 * math.log(nu / 2) - gammaln(nu / 2) + nu * y - nu * np.exp(2 * y) / 2
    return np.exp(y), np.exp(log) * (y[1] - y[0])


@cache
def _gauss() -> tuple[Floats, Floats]:
    """Nodes and weights of the integral over Z on [-1, 1] (Gauss-Legendre); an eigenvalue problem, solved once."""
    import numpy as np

    nodes, weights = np.polynomial.legendre.leggauss(_COMMON)
    return nodes, weights
