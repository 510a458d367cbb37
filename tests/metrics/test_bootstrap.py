"""Bootstrap over images against a plain loop, scipy and the normal approximation."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy import stats

from amlrepro.metrics import bootstrap
from amlrepro.metrics.bootstrap import (
    bootstrap_values,
    difference_interval,
    draw_counts,
    image_sums,
    intervals,
    mean_interval,
    percentile_interval,
)
from amlrepro.metrics.compute import DEFAULT_METRICS, value
from amlrepro.metrics.records import Records


def random_records(samples: int, images: int, seed: int, shift: float = 0.0) -> Records:
    """Samples whose IoU depends on their image, so that clusters matter."""
    random = np.random.default_rng(seed)
    image = np.concatenate([np.arange(images), random.integers(0, images, samples - images)])
    quality = np.clip(
        np.random.default_rng(99).random(images)[image] * 0.7 + 0.3 * random.random(samples) + shift, 0, 1
    )
    target = random.integers(200, 40_000, samples)
    ids = np.stack([np.arange(samples), np.arange(samples), image, np.full(samples, 9), np.full(samples, 9)], axis=1)
    return Records.from_counts(ids, (quality * target).astype(np.int64), target, target)


def test_sums_by_image_give_the_metric_back() -> None:
    records = random_records(500, 60, seed=1)
    sums = image_sums(records, DEFAULT_METRICS)
    assert len(sums.image_id) == 60
    assert sums.samples == 500
    for name in DEFAULT_METRICS:
        assert sums.value(name) == pytest.approx(value(name, records), abs=1e-10)
    at = records.image_id == 7
    assert sums.terms["oiou"][0][7] == records.intersection[at].sum()


def test_draws_equal_a_plain_loop_over_samples() -> None:
    """Each draw recomputed from the single samples of the drawn images, one by one."""
    records = random_records(90, 12, seed=2)
    drawn = bootstrap_values([image_sums(records, ["oiou", "miou", "pr70"])], ["oiou", "miou", "pr70"], 40, 3)
    counts = draw_counts(12, 40, np.random.default_rng(3))
    for d in range(40):
        common = union = hits = samples = 0
        ious = 0.0
        for k in range(len(records)):
            times = int(counts[d, records.image_id[k]])
            i, u = int(records.intersection[k]), int(records.union[k])
            common, union, samples = common + times * i, union + times * u, samples + times
            ious += times * i / u
            hits += times * (10 * i >= 7 * u)
        expected = [100 * common / union, 100 * ious / samples, 100 * hits / samples]
        assert drawn[d, 0] == pytest.approx(expected, abs=1e-9)


def test_counts_are_multinomial() -> None:
    counts = draw_counts(50, 4000, np.random.default_rng(0))
    assert (counts.sum(axis=1) == 50).all()
    assert counts.mean() == pytest.approx(1.0)
    assert counts.var() == pytest.approx(1 - 1 / 50, rel=0.02)  # binomial(50, 1/50)


def test_interval_agrees_with_scipy() -> None:
    """scipy resamples the images' (intersection, union) pairs; both are percentile intervals of the same statistic."""
    records = random_records(600, 150, seed=4)
    sums = image_sums(records, ["oiou"])
    above, below = sums.terms["oiou"]
    reference = stats.bootstrap(
        (above, below),
        lambda a, b, axis=-1: 100 * a.sum(axis=axis) / b.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=9999,
        method="percentile",
        random_state=np.random.default_rng(8),
    ).confidence_interval
    ours = intervals(sums, ["oiou"])["oiou"]
    assert ours is not None
    width = reference.high - reference.low
    assert ours.low == pytest.approx(reference.low, abs=0.05 * width)
    assert ours.high == pytest.approx(reference.high, abs=0.05 * width)


def test_images_are_the_clusters() -> None:
    """Sixty copies of each sample: the interval must stay as wide as with one, not shrink by the square root of 60."""
    records = random_records(80, 80, seed=5)
    copies = Records(**{name: np.tile(column, 60) for name, column in records.columns().items()})
    one, many = (bootstrap_values([image_sums(r, ["miou"])], ["miou"]) for r in (records, copies))
    assert np.allclose(one, many, rtol=0, atol=1e-9)


def test_seeds_widen_the_interval_of_their_mean() -> None:
    """Three seeds with shifted quality: variance of the mean is about that of images plus that of drawing seeds."""
    seeds = [image_sums(random_records(400, 400, seed=6, shift=shift), ["miou"]) for shift in (-0.1, 0.0, 0.1)]
    alone = mean_interval([seeds[1]] * 3, "miou")
    together = mean_interval(seeds, "miou")
    assert alone is not None
    assert together is not None
    means = [s.value("miou") for s in seeds]
    from_images = ((alone.high - alone.low) / (2 * 1.96)) ** 2
    from_seeds = np.var(means) / 3
    assert (together.high - together.low) / (2 * 1.96) == pytest.approx((from_images + from_seeds) ** 0.5, rel=0.06)


def test_difference_is_paired() -> None:
    """The same samples moved by a constant IoU: images cancel, so the interval of the difference is almost a point."""
    first, second = (random_records(300, 100, seed=7) for _ in range(2))
    assert difference_interval(
        image_sums(first, ["miou"]), image_sums(second, ["miou"]), "miou"
    ) == percentile_interval(np.zeros(bootstrap.DRAWS))
    worse = random_records(300, 100, seed=7, shift=-0.05)
    interval = difference_interval(image_sums(first, ["miou"]), image_sums(worse, ["miou"]), "miou")
    assert interval is not None
    assert 0 < interval.low < interval.high < 5.1
    assert interval.high - interval.low < 1


def test_undefined_and_different_images() -> None:
    empty = Records.from_counts(np.zeros((0, 5)), [], [], [])
    assert intervals(image_sums(empty, ["oiou"]), ["oiou"]) == {"oiou": None}
    with pytest.raises(ValueError, match="same images"):
        mean_interval([image_sums(random_records(9, n, 0), ["oiou"]) for n in (5, 6)], "oiou")


def test_ten_thousand_draws_of_a_full_split_take_about_a_second() -> None:
    records = random_records(10_834, 1500, seed=8)
    start = time.perf_counter()
    first = intervals(image_sums(records, DEFAULT_METRICS), DEFAULT_METRICS)
    assert time.perf_counter() - start < 5  # 0.5 s alone; generous for a busy machine
    assert first == intervals(image_sums(records, DEFAULT_METRICS), DEFAULT_METRICS)
