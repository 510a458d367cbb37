"""The secondary question, whether a difference carries over to other images: seeds and images both random.

10,000 draws. In each, images are drawn with replacement, as clusters: all sentences of an image, both models together;
and seeds within each arm. With two or three seeds, drawing seeds understates their spread, so this describes and
decides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from amlrepro.metrics.bootstrap import DRAWS, bootstrap_values, percentile_interval
from amlrepro.metrics.summary import origin, read_image_sums
from amlrepro.suite.store import Store
from amlrepro.verdicts.arms import Arm
from amlrepro.verdicts.labels import LEVEL

VERSION = 1


@dataclass(frozen=True)
class Secondary:
    """Interval of a difference over images and seeds, in the metric's unit. below: the share of draws in which the
    first is not better. images, draws: how many."""

    low: float
    high: float
    below: float
    images: int
    draws: int = DRAWS


def generalises(
    store: Store, first: Arm, second: Arm, look: int, sign: float = 1.0, draws: int = DRAWS
) -> Secondary | None:
    """The cluster bootstrap of a difference of two evaluated cells with their first `look` seeds; None where one side
    is no evaluation, or where the two were not scored on the same images.

    Kept by `store.calculated` for as long as the records are the same.
    """
    chosen = [_evaluations(store, arm, look) for arm in (first, second)]
    if not all(chosen):
        return None
    metric, subset = first.cell.metric, first.cell.subset
    because = [origin([store.read(path) for path in paths], [metric], subset) for paths in chosen]
    key = None if None in because else [*because, sign, draws, LEVEL, VERSION]

    def calculate() -> dict[str, Any] | None:
        sums = [read_image_sums(path, [metric], subset) for paths in chosen for path in paths]
        found = bootstrap_difference(sums, len(chosen[0]), metric, sign, draws)
        return asdict(found) if found else None

    values = store.calculated("cluster bootstrap of a claim", key, calculate)
    return Secondary(**values) if values else None


def bootstrap_difference(
    sums: Sequence[Any], n_first: int, metric: str, sign: float = 1.0, draws: int = DRAWS, random_seed: int = 0
) -> Secondary | None:
    """The bootstrap itself. sums: `ImageSums` of each evaluation, the first arm's `n_first` and then the second's."""
    import numpy as np

    try:
        drawn = bootstrap_values(sums, [metric], draws, random_seed)[:, :, 0]
    except ValueError:  # not the same images
        return None
    random = np.random.default_rng([random_seed, n_first, len(sums)])
    means = []
    for arm in (drawn[:, :n_first], drawn[:, n_first:]):
        picked = random.integers(0, arm.shape[1], size=arm.shape)
        means.append(np.take_along_axis(arm, picked, axis=1).mean(axis=1))
    difference = sign * (means[0] - means[1])
    interval = percentile_interval(difference, 1 - LEVEL)
    if interval is None:
        return None
    known = difference[np.isfinite(difference)]
    return Secondary(interval.low, interval.high, float(np.mean(known <= 0)), len(sums[0].image_id), draws)


def _evaluations(store: Store, arm: Arm, look: int) -> list[Path]:
    """The JSON files of the evaluations behind the first seeds of an arm, by seed; none where it is no evaluation."""
    if arm.cell.kind != "measured":
        return []
    result = arm.result
    there = sorted(zip(result.seeds, result.run_ids, result.eval_ids, strict=True))
    return [store.run(run_id).eval_meta(eval_id) for _, run_id, eval_id in there[:look]]
