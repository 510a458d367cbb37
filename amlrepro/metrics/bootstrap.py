"""Percentile intervals by bootstrap over images.

Sentences of one image are not independent, so whole images are drawn: with replacement, as many as there are. All
metrics are ratios of sums, so a draw needs no more than each image's sums: the draw counts [draws, images] times the
sums [images, terms] give every metric of every draw in one matrix product.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from amlrepro.metrics.compute import metric
from amlrepro.metrics.records import Records

DRAWS = 10_000
LEVEL = 0.95
_CELLS_AT_ONCE = 4_000_000  # draws x images held in memory at a time


@dataclass(frozen=True)
class Interval:
    """Percentile interval in the metric's unit. level: 0.95 and the like; draws: bootstrap draws behind it."""

    low: float
    high: float
    level: float = LEVEL
    draws: int = DRAWS


@dataclass(frozen=True, eq=False)
class ImageSums:
    """An evaluation summed by image.

    image_id [n]: ascending. terms: metric -> (numerators [n], denominators [n]), float64 (exact for counts below
    2**53). samples: how many samples went in.
    """

    image_id: npt.NDArray[np.int64]
    terms: dict[str, tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]
    samples: int

    def value(self, name: str) -> float:
        """The metric over all images, in percent; NaN when undefined."""
        numerator, denominator = self.terms[name]
        below = float(denominator.sum())
        return 100.0 * float(numerator.sum()) / below if below > 0 else float("nan")


def image_sums(records: Records, names: Sequence[str]) -> ImageSums:
    """Sum the terms of the named metrics over the samples of each image."""
    images, position = np.unique(records.image_id, return_inverse=True)
    terms = {}
    for name in names:
        numerator, denominator = metric(name).terms(records)
        terms[name] = (_sum_by(position, numerator, len(images)), _sum_by(position, denominator, len(images)))
    return ImageSums(images, terms, len(records))


def _sum_by(position: npt.NDArray[np.intp], weights: npt.NDArray[Any], length: int) -> npt.NDArray[np.float64]:
    return np.bincount(position, weights=weights, minlength=length).astype(np.float64, copy=False)


def draw_counts(images: int, draws: int, random: np.random.Generator) -> npt.NDArray[np.float64]:
    """How often each image is drawn: [draws, images], rows sum to `images`."""
    picked = random.integers(0, images, size=(draws, images), dtype=np.int64)
    picked += np.arange(draws, dtype=np.int64)[:, None] * images
    return np.bincount(picked.ravel(), minlength=draws * images).reshape(draws, images).astype(np.float64)


def bootstrap_values(
    seeds: Sequence[ImageSums], names: Sequence[str], draws: int = DRAWS, random_seed: int = 0
) -> npt.NDArray[np.float64]:
    """Metrics of every draw and training seed: [draws, seeds, metrics], percent, NaN where undefined.

    In one draw the same images are taken for all seeds and metrics, so differences between them are paired.
    Raises `ValueError` when the evaluations do not cover the same images.
    """
    first = seeds[0].image_id
    if any(not np.array_equal(first, other.image_id) for other in seeds[1:]):
        raise ValueError("the evaluations do not cover the same images")
    if len(first) == 0:
        return np.full((draws, len(seeds), len(names)), np.nan)
    above = np.stack([sums.terms[name][0] for sums in seeds for name in names], axis=1)
    below = np.stack([sums.terms[name][1] for sums in seeds for name in names], axis=1)
    random = np.random.default_rng(random_seed)
    out = np.empty((draws, above.shape[1]))
    step = max(1, _CELLS_AT_ONCE // len(first))
    for start in range(0, draws, step):
        counts = draw_counts(len(first), min(step, draws - start), random)
        with np.errstate(divide="ignore", invalid="ignore"):
            out[start : start + step] = 100.0 * (counts @ above) / (counts @ below)
    return out.reshape(draws, len(seeds), len(names))


def percentile_interval(values: npt.NDArray[np.float64], level: float = LEVEL) -> Interval | None:
    """Percentile interval of bootstrap values [draws]; draws where the metric is undefined are left out."""
    known = values[np.isfinite(values)]
    if len(known) == 0:
        return None
    tail = 50.0 * (1.0 - level)
    low, high = np.percentile(known, [tail, 100.0 - tail])
    return Interval(float(low), float(high), level, len(values))


def intervals(
    sums: ImageSums, names: Sequence[str], draws: int = DRAWS, level: float = LEVEL, random_seed: int = 0
) -> dict[str, Interval | None]:
    """Intervals of one evaluation over images; None where the metric is undefined."""
    drawn = bootstrap_values([sums], names, draws, random_seed)
    return {name: percentile_interval(drawn[:, 0, k], level) for k, name in enumerate(names)}


def mean_interval(
    seeds: Sequence[ImageSums], name: str, draws: int = DRAWS, level: float = LEVEL, random_seed: int = 0
) -> Interval | None:
    """Interval of the mean over training seeds, with images and seeds both drawn anew.

    With two or three seeds drawing seeds understates their spread; such an interval describes, it decides nothing.
    """
    drawn = bootstrap_values(seeds, [name], draws, random_seed)[:, :, 0]
    random = np.random.default_rng([random_seed, len(seeds)])
    chosen = random.integers(0, len(seeds), size=(draws, len(seeds)))
    return percentile_interval(np.take_along_axis(drawn, chosen, axis=1).mean(axis=1), level)


def difference_interval(
    first: ImageSums, second: ImageSums, name: str, draws: int = DRAWS, level: float = LEVEL, random_seed: int = 0
) -> Interval | None:
    """Interval of `first` minus `second` on the same images, in points, with the same images drawn for both."""
    drawn = bootstrap_values([first, second], [name], draws, random_seed)[:, :, 0]
    return percentile_interval(drawn[:, 0] - drawn[:, 1], level)
