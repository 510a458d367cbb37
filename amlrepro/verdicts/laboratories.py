"""Several laboratories' effects in one: a random-effects meta-analysis in which seeds are pooled within a laboratory.

Each laboratory gives an effect y_i with the variance v_i of its own seeds. Laboratories differ by more than their seeds
(other machines, other versions, other hands), with variance tau^2: the method of moments of Paule and Mandel (1982)
solves sum w_i (y_i - mu)^2 = k - 1, w_i = 1 / (v_i + tau^2). The interval around mu is that of Hartung, Knapp, Sidik
and Jonkman with k - 1 degrees of freedom, never narrower than the variances alone say (Roever, Knapp, Friede 2015).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from amlrepro.verdicts.noise import Difference, quantile

_TINY = 1e-18  # variance of a laboratory whose seeds do not differ at all
_STEPS = 200


@dataclass(frozen=True)
class LaboratoryEffect:
    """One laboratory's difference, by itself. weight: its share of the merged estimate, all together 1."""

    name: str
    difference: Difference
    weight: float = 1.0


@dataclass(frozen=True)
class Merged(Difference):
    """The difference over laboratories; it takes the place of one laboratory's in every test of a claim.

    estimate: weighted mean mu. sigma: noise between seeds, pooled over the laboratories by their degrees of freedom.
    nu: k - 1; of a single laboratory its own. n_first, n_second: seeds of all. spread: standard error of mu. tau2:
    variance between laboratories. q, q_p: Cochran's Q with its p. i2: share of the variance that lies between
    laboratories, 0 to 1.
    """

    spread: float = 0.0
    tau2: float = 0.0
    q: float = 0.0
    q_p: float = 1.0
    i2: float = 0.0
    laboratories: tuple[LaboratoryEffect, ...] = ()

    @property
    def se(self) -> float:
        """Standard error of mu."""
        return self.spread

    def band(self, printed: float, level: float) -> tuple[float, float]:
        """Where an estimate is compatible in size with a printed effect: the paper is one more laboratory, of one run
        an arm: d +- t sqrt(se^2 + tau^2 + 2 s^2)."""
        singles = 2.0 if self.n_second is not None else 1.0
        half = quantile(level, self.nu) * math.sqrt(self.spread**2 + self.tau2 + singles * self.sigma**2)
        return printed - half, printed + half

    def width(self, level: float) -> float:
        """By how much the interval is wider than a normal one of the same standard error would be: t / z. With two
        laboratories 12.7 / 1.96 at 5 %, with three 2.2."""
        from scipy.special import ndtri

        return quantile(level, self.nu) / float(ndtri(1 - level / 2))


def merge_laboratories(effects: Sequence[tuple[str, Difference]]) -> Merged:
    """The effect over laboratories, from each one's own difference; with one laboratory it is that difference.

    Raises `ValueError` without any, and for laboratories of which some compare with a cited number and others do not.
    """
    if not effects:
        raise ValueError("no laboratories")
    differences = [difference for _, difference in effects]
    if len({d.n_second is None for d in differences}) > 1:
        raise ValueError("some compare with a constant, others do not")
    values, variances = [d.estimate for d in differences], [max(d.se**2, _TINY) for d in differences]
    tau2 = between(values, variances) if len(values) > 1 else 0.0
    weights = [1 / (variance + tau2) for variance in variances]
    total = sum(weights)
    mean = sum(w * y for w, y in zip(weights, values, strict=True)) / total
    single = len(values) == 1
    q = _scatter(values, variances, 0.0)
    freedom = len(values) - 1
    stretch = 1.0 if single else max(1.0, _scatter(values, variances, tau2) / freedom)
    cited = differences[0].n_second is None
    return Merged(
        estimate=mean,
        sigma=_pooled(differences),
        nu=differences[0].nu if single else freedom,
        n_first=sum(d.n_first for d in differences),
        n_second=None if cited else sum(d.n_second or 0 for d in differences),
        spread=differences[0].se if single else math.sqrt(stretch / total),
        tau2=tau2,
        q=0.0 if single else q,
        q_p=1.0 if single else _upper_chi2(q, freedom),
        i2=max(0.0, (q - freedom) / q) if q > 0 and not single else 0.0,
        laboratories=tuple(
            LaboratoryEffect(name, difference, weight / total)
            for (name, difference), weight in zip(effects, weights, strict=True)
        ),
    )


def between(values: Sequence[float], variances: Sequence[float]) -> float:
    """tau^2 of Paule and Mandel: where sum w_i (y_i - mu)^2 = k - 1; 0 where the scatter is no larger than that
    without it. With two laboratories it is ((y_1 - y_2)^2 - v_1 - v_2) / 2."""
    freedom = len(values) - 1
    if _scatter(values, variances, 0.0) <= freedom:
        return 0.0
    low, high = 0.0, max((y - fmean(values)) ** 2 for y in values) * len(values)
    while _scatter(values, variances, high) > freedom:
        high *= 2
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if _scatter(values, variances, middle) > freedom:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _scatter(values: Sequence[float], variances: Sequence[float], tau2: float) -> float:
    """sum w_i (y_i - mu)^2; at tau^2 = 0 Cochran's Q."""
    weights = [1 / (variance + tau2) for variance in variances]
    mean = sum(w * y for w, y in zip(weights, values, strict=True)) / sum(weights)
    return sum(w * (y - mean) ** 2 for w, y in zip(weights, values, strict=True))


def _pooled(differences: Sequence[Difference]) -> float:
    nu = sum(d.nu for d in differences)
    return math.sqrt(sum(d.nu * d.sigma**2 for d in differences) / nu) if nu else 0.0


def _upper_chi2(q: float, freedom: int) -> float:
    from scipy.special import chdtrc

    return float(chdtrc(freedom, q))
