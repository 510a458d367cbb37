"""Readings ranked by their distance from a target, with what noise does to the ranking. Pure functions on arrays.

R readings, S training seeds, K terms (a statistic in one of its variants), B draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
LEVEL = 0.95
APART = 0.05  # chance of a wrong "apart" over all comparisons with the nearest
TIE = 1e-9  # distances closer than this are equal


@dataclass(frozen=True, eq=False)
class Scale:
    """How terms become a distance. tolerance, weight [K]; variant [K]: number of the variant, -1 for terms that all
    variants have; group [K]: number of the group. cap: deviations above it count as it."""

    tolerance: Floats
    weight: Floats
    variant: npt.NDArray[np.int64]
    group: npt.NDArray[np.int64]
    cap: float

    @property
    def variants(self) -> list[int]:
        """The variants there are; only -1 where no term has several."""
        return sorted({int(v) for v in self.variant if v >= 0}) or [-1]


@dataclass(frozen=True, eq=False)
class Ranking:
    """What came out, by reading in the order given.

    distance [R]; variant [R]: the variant that fits it better; by_group [R, G]: root mean square of the deviations of a
    group in that variant; by_variant [R, V]. low, high [R]: 95 % interval over the draws; best [R]: share of the draws
    in which it is nearest, ties shared. apart [R]: farther than the nearest beyond noise, all comparisons together at
    5 %. seed_spread [K]: standard deviation between seeds, pooled over the family of the nearest; degrees: its largest
    degrees of freedom, those of terms that none of them has at the floor.
    """

    distance: Floats
    variant: npt.NDArray[np.int64]
    by_group: Floats
    by_variant: Floats
    low: Floats
    high: Floats
    best: Floats
    apart: Bools
    seed_spread: Floats
    degrees: int

    @property
    def order(self) -> list[int]:
        """Readings from the nearest on; equal ones in the order given."""
        return sorted(range(len(self.distance)), key=lambda r: (round(float(self.distance[r]), 9), r))


def deviations(values: Floats, target: Floats, scale: Scale) -> Floats:
    """z [..., K]: how many tolerances values [..., K] are from target [K] or [..., K], at most the cap."""
    return np.asarray(np.minimum(np.abs(values - target) / scale.tolerance, scale.cap))


def distances(z: Floats, scale: Scale) -> Floats:
    """Weighted root mean square of the deviations z [..., K] in each variant -> [..., V]."""
    out = []
    for variant in scale.variants:
        weight = np.where((scale.variant < 0) | (scale.variant == variant), scale.weight, 0.0)
        out.append(np.sqrt((z**2 @ weight) / weight.sum()))
    return np.stack(out, axis=-1)


def rank(
    values: Floats,
    target: Floats,
    scale: Scale,
    *,
    draws: int,
    random_seed: int,
    sampling: Floats | None = None,
    target_sampling: Floats | None = None,
    at_floor: Bools | None = None,
    families: Sequence[object] = (),
) -> Ranking:
    """Rank readings with values [R, S, K] (NaN for a seed that is not there) against target [K].

    Noise: between seeds, in our means and once in the target, which is a single run; and of the evaluated pairs:
    sampling [B, R, K], target_sampling [B, K] are what drawing the pairs anew adds to our values and to the target.
    families [R]: readings whose spread between seeds is pooled, all where none are given; the target's is that of the
    nearest. at_floor [R, K]: values that are flattened, which tell nothing of the spread between seeds.
    Raises `ValueError` for a reading without any seed.
    """
    seeds = np.isfinite(values).all(-1).sum(1)
    if (seeds == 0).any():
        raise ValueError("a reading without any seed cannot be ranked")
    means = np.nanmean(values, axis=1)
    by_variant = distances(deviations(means, target, scale), scale)
    chosen = by_variant.argmin(-1)
    nearest = int(by_variant.min(-1).argmin())
    noise, residuals, degrees = _noise(values, means, at_floor, families, nearest, draws, random_seed)
    noisy = means + noise[:, 1:] / np.sqrt(seeds)[None, :, None]
    aim = target + noise[:, 0]
    if sampling is not None:
        noisy = noisy + sampling
    if target_sampling is not None:
        aim = aim + target_sampling
    drawn = distances(deviations(noisy, aim[:, None, :], scale), scale).min(-1)
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile(drawn, [tail, 100 - tail], axis=0)
    return Ranking(
        distance=by_variant.min(-1),
        variant=np.asarray([scale.variants[c] for c in chosen], dtype=np.int64),
        by_group=_by_group(deviations(means, target, scale), chosen, scale),
        by_variant=by_variant,
        low=low,
        high=high,
        best=_shares(drawn),
        apart=_apart(drawn, by_variant.min(-1)),
        seed_spread=np.sqrt((residuals**2).sum(0)),
        degrees=int(degrees.max(initial=0)),
    )


def _noise(
    values: Floats,
    means: Floats,
    at_floor: Bools | None,
    families: Sequence[object],
    nearest: int,
    draws: int,
    random_seed: int,
) -> tuple[Floats, Floats, npt.NDArray[np.int64]]:
    """What seeds add, [B, 1 + R, K]: to the target first, then to single runs of the readings; with residuals and
    degrees of freedom of the nearest's family. A family without two seeds anywhere has the spread of all."""
    random = np.random.default_rng(random_seed)
    family = list(families) or [None] * len(means)
    out = np.zeros((draws, 1 + len(means), means.shape[1]))
    own = _residuals(values, means, at_floor)
    for each in dict.fromkeys(family):
        members = [r for r, name in enumerate(family) if name == each]
        found = _residuals(values[members], means[members], None if at_floor is None else at_floor[members])
        if not found[1].any():
            found = _residuals(values, means, at_floor)
        drawn = _seed_noise(*found, (draws, 1 + len(members)), random)
        out[:, [1 + r for r in members]] = drawn[:, 1:]
        if nearest in members:
            out[:, 0], own = drawn[:, 0], found
    return out, *own


def _residuals(values: Floats, means: Floats, at_floor: Bools | None) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Rows [R * S, K] whose cross products are the pooled covariance between seeds, and degrees of freedom [K].

    Row i is (x_i - mean of its reading) / sqrt(degrees); a term counts only in readings where it is not clipped.
    """
    there = np.asarray(np.isfinite(values).all(-1))
    rows = np.where(there[..., None], values - means[:, None, :], 0.0)
    counted = np.maximum(there.sum(1) - 1, 0)
    known = np.ones((len(values), values.shape[2]), dtype=bool) if at_floor is None else ~at_floor
    rows = rows * known[:, None, :]
    free = (counted[:, None] * known).sum(0)
    flat = rows.reshape(-1, values.shape[2])
    return flat / np.sqrt(np.maximum(free, 1)), free


def _seed_noise(
    residuals: Floats, degrees: npt.NDArray[np.int64], shape: tuple[int, int], random: np.random.Generator
) -> Floats:
    """Draws [*shape, K] with the pooled covariance between seeds. That is itself known with few degrees of freedom, so
    each draw has a width of its own, as Student's t has: one chance for all terms, for each by its degrees. 0 where
    there is one seed everywhere."""
    from scipy.stats import chi2

    size, direction = np.linalg.eigh(residuals.T @ residuals)
    root = (direction * np.sqrt(np.maximum(size, 0))).T
    normal = random.standard_normal((*shape, len(root))) @ root
    chance = random.random(shape[0])
    widths = np.zeros((shape[0], len(degrees)))
    for few in {int(d) for d in degrees if d > 0}:
        widths[:, degrees == few] = np.sqrt(few / chi2.ppf(chance, few))[:, None]
    return np.asarray(normal * widths[:, None, :])


def _by_group(z: Floats, chosen: npt.NDArray[np.intp], scale: Scale) -> Floats:
    out = np.zeros((len(z), int(scale.group.max()) + 1))
    for reading, choice in enumerate(chosen):
        own = (scale.variant < 0) | (scale.variant == scale.variants[choice])
        for group in range(out.shape[1]):
            picked = z[reading, own & (scale.group == group)]
            out[reading, group] = np.sqrt((picked**2).mean()) if len(picked) else np.nan
    return out


def _shares(drawn: Floats) -> Floats:
    """Share of the draws [B, R] in which each is nearest."""
    nearest = drawn <= drawn.min(1, keepdims=True) + TIE
    return np.asarray((nearest / nearest.sum(1, keepdims=True)).mean(0))


def _apart(drawn: Floats, distance: Floats) -> Bools:
    """Farther than the nearest in all but so few draws that all comparisons together err in 5 % (Bonferroni)."""
    best = int(distance.argmin())
    closer = (drawn <= drawn[:, [best]] + TIE).mean(0)
    apart = np.atleast_1d(closer < APART / max(1, drawn.shape[1] - 1))
    apart[best] = False
    return apart
