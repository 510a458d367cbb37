"""Level: could a printed number be one more training of ours? A prediction interval, not a claim."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from amlrepro.verdicts.labels import LEVEL
from amlrepro.verdicts.noise import Noise, quantile

LevelLabel = Literal["inside", "printed is higher", "printed is lower", "variance unknown"]


@dataclass(frozen=True)
class Level:
    """Whether a printed number, which is one training, lies where one more of ours would.

    low, high: the 95 % prediction interval mean +- t_nu s sqrt(1 + 1/n); None while the noise is unknown.
    """

    label: LevelLabel
    low: float | None
    high: float | None
    seeds: int

    @property
    def text(self) -> str:
        """In a sentence."""
        if self.low is None or self.high is None:
            return "the noise between seeds is not known well enough (4 degrees of freedom) to say anything"
        where = {"inside": "inside", "printed is higher": "above", "printed is lower": "below"}[self.label]
        seeds = f"{self.seeds} seed{'s' * (self.seeds > 1)}"
        return f"one more training would lie in {self.low:.2f} to {self.high:.2f} (95 %, {seeds}); print is {where}"


def level_of(values: Sequence[float], printed: float, noise: Noise) -> Level:
    """values: ours, one a seed; noise: pooled for their metric, split and training data. Raises `ValueError` without a
    value."""
    if not values:
        raise ValueError("no value of ours")
    if not noise.known or noise.sigma is None:
        return Level("variance unknown", None, None, len(values))
    half = quantile(LEVEL, noise.nu) * noise.sigma * math.sqrt(1 + 1 / len(values))
    low, high = fmean(values) - half, fmean(values) + half
    label: LevelLabel = "printed is lower" if printed < low else "printed is higher" if printed > high else "inside"
    return Level(label, low, high, len(values))
