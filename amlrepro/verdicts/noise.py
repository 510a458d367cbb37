"""The noise between trainings: a pooled variance over recipes with several seeds, and Student's t."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean

ENOUGH = 4  # degrees of freedom below which a variance counts as unknown


@dataclass(frozen=True)
class Noise:
    """Spread between seeds of one recipe. sigma: standard deviation in the metric's unit, None without degrees of
    freedom. nu: degrees of freedom, the sum of (n_i - 1) over recipes. recipes, runs: how many went in."""

    sigma: float | None
    nu: int
    recipes: int
    runs: int

    @property
    def known(self) -> bool:
        """Whether there are degrees of freedom enough for a verdict."""
        return self.sigma is not None and self.nu >= ENOUGH


def pool(recipes: Iterable[Sequence[float]]) -> Noise:
    """The pooled variance of some recipes' values, one value a seed; recipes with one seed say nothing.

    s^2 = sum over recipes of sum (x - mean of the recipe)^2, over nu = sum (n_i - 1).
    """
    squares, nu, count, runs = 0.0, 0, 0, 0
    for values in recipes:
        if len(values) < 2:
            continue
        mean = fmean(values)
        squares += sum((value - mean) ** 2 for value in values)
        nu, count, runs = nu + len(values) - 1, count + 1, runs + len(values)
    return Noise(math.sqrt(squares / nu) if nu else None, nu, count, runs)


@lru_cache(maxsize=65536)
def quantile(level: float, nu: float) -> float:
    """The t with P(|T| > t) = `level`, T Student's with `nu` degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(nu, 1 - level / 2))


def two_sided(t: float, nu: float) -> float:
    """P(|T| > |t|), T Student's with `nu` degrees of freedom."""
    from scipy.special import stdtr

    return float(2 * stdtr(nu, -abs(t)))


def upper_tail(t: float, nu: float) -> float:
    """P(T > t), T Student's with `nu` degrees of freedom."""
    from scipy.special import stdtr

    return float(stdtr(nu, -t))


@dataclass(frozen=True)
class Difference:
    """A difference of means, first less second, positive where the first is better.

    sigma, nu: the pooled noise. n_first, n_second: seeds of each arm; n_second None: the second is a cited number, a
    constant.
    """

    estimate: float
    sigma: float
    nu: int
    n_first: int
    n_second: int | None

    @property
    def se(self) -> float:
        """Standard error: s sqrt(1/n_A + 1/n_B); a constant adds nothing."""
        return self.sigma * math.sqrt(self._means())

    @property
    def t(self) -> float:
        """estimate / se (infinite without noise)."""
        return self.over(0.0)

    def over(self, value: float) -> float:
        """(estimate - value) / se; without noise infinite, or 0 where the two agree."""
        distance = self.estimate - value
        if self.se == 0:
            return math.copysign(math.inf, distance) if distance else 0.0
        return distance / self.se

    def interval(self, level: float) -> tuple[float, float]:
        """estimate +- t se, two-sided at `level`."""
        half = quantile(level, self.nu) * self.se
        return self.estimate - half, self.estimate + half

    def band(self, printed: float, level: float) -> tuple[float, float]:
        """Where an estimate is compatible in size with a printed effect: d +- t s sqrt(2 + 1/n_A + 1/n_B), the printed
        numbers being one run each (1 + 1/n_A against a constant)."""
        singles = 2.0 if self.n_second is not None else 1.0
        half = quantile(level, self.nu) * self.sigma * math.sqrt(singles + self._means())
        return printed - half, printed + half

    def _means(self) -> float:
        return 1 / self.n_first + (1 / self.n_second if self.n_second is not None else 0.0)


def compare(first: Sequence[float], second: Sequence[float] | float, noise: Noise, sign: float = 1.0) -> Difference:
    """The difference of two arms with the noise given. second: values of the seeds, or a constant. sign: -1 where less
    is better. Raises `ValueError` where the noise is unknown."""
    if noise.sigma is None:
        raise ValueError("the noise is unknown")
    constant = isinstance(second, int | float)
    other = float(second) if isinstance(second, int | float) else fmean(second)
    estimate = sign * (fmean(first) - other)
    count = None if constant else len(second)  # type: ignore[arg-type]
    return Difference(estimate, noise.sigma, noise.nu, len(first), count)


def welch(first: Sequence[float], second: Sequence[float], sign: float = 1.0) -> tuple[float, float] | None:
    """t and two-sided p of Welch's test, each arm with its own variance; None with less than two seeds an arm or no
    spread. A check of sensitivity, never the verdict."""
    if len(first) < 2 or len(second) < 2:
        return None
    parts = [_square_error(first), _square_error(second)]
    total = sum(parts)
    if total == 0:
        return None
    nu = total**2 / sum(part**2 / (len(values) - 1) for part, values in zip(parts, (first, second), strict=True))
    t = sign * (fmean(first) - fmean(second)) / math.sqrt(total)
    return t, two_sided(t, nu)


def _square_error(values: Sequence[float]) -> float:
    mean = fmean(values)
    return sum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values)
