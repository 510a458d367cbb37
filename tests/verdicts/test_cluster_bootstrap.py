"""Images and seeds both random: images as clusters, both models together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fake_store import finish_run, make_plan, make_records, write_records

from amlrepro.metrics.bootstrap import ImageSums
from amlrepro.suite.snapshot import Snapshot
from amlrepro.suite.store import Store
from amlrepro.verdicts.arms import Arms
from amlrepro.verdicts.bootstrap import bootstrap_difference, generalises
from amlrepro.verdicts.claims import parse_ref


def sums(numerator: np.ndarray, denominator: np.ndarray) -> ImageSums:
    return ImageSums(np.arange(len(numerator)), {"oiou": (numerator, denominator)}, len(numerator))


def test_images_are_drawn_for_both_models_together() -> None:
    """One arm is the other plus 2 points in every image: whatever is drawn, the difference is 2."""
    random = np.random.default_rng(0)
    below = np.full(200, 100.0)
    first = random.uniform(20, 90, 200)
    found = bootstrap_difference([sums(first + 2, below), sums(first, below)], 1, "oiou")
    assert found is not None
    assert (found.low, found.high, found.below) == (pytest.approx(2.0), pytest.approx(2.0), 0.0)


def test_the_spread_is_that_of_images_and_seeds() -> None:
    """Equal sizes, so oIoU is a mean over images: variance of a difference of independent columns / n, plus that of
    drawing two of two seeds, (half distance)^2 / 2 for each arm."""
    random = np.random.default_rng(1)
    n, below = 400, np.full(400, 100.0)
    arms = [random.normal(60, 10, n) + shift for shift in (0.0, 1.0, 0.0, 0.0)]
    found = bootstrap_difference([sums(a, below) for a in arms], 2, "oiou")
    assert found is not None
    means = [float(a.mean()) for a in arms]
    seeds = ((means[0] - means[1]) / 2) ** 2 / 2 + ((means[2] - means[3]) / 2) ** 2 / 2
    # given the seeds drawn: half of the draws take one seed twice (variance v), half both (v / 2)
    images = 2 * (0.5 * 100 + 0.5 * 50) / n
    expected = 2 * 1.96 * (seeds + images) ** 0.5
    assert found.high - found.low == pytest.approx(expected, rel=0.08)


def test_other_images_give_none() -> None:
    below = np.full(3, 1.0)
    other = ImageSums(np.array([5, 6, 7]), {"oiou": (below, below)}, 3)
    assert bootstrap_difference([sums(below, below), other], 1, "oiou") is None


def test_it_is_kept_in_the_store(tmp_path: Path) -> None:
    plan = make_plan("smoke", (0, 1), ("figure8",))
    store = Store(tmp_path, "smoke")
    for number, run in enumerate(plan.runs.values()):
        finish_run(store, run)
        for evaluation in run.evals:
            quality = 0.6 + 0.1 * (run.config.strategy == "aml")
            write_records(store, run, evaluation, make_records(quality, 60, 20, seed=number))
    snapshot = Snapshot(store)
    arms = Arms(snapshot, plan)
    first, second = (arms.arm(parse_ref(f"figure8/scores/{row}/val")) for row in ("caris_aml", "caris"))
    found = generalises(snapshot, first, second, 2)
    snapshot.keep()
    assert found is not None
    assert found.images == 20
    assert found.low < 10.0 < found.high
    assert (store.folder / "cache.json").exists()
    again = Snapshot(store)
    for path in store.folder.rglob("*.parquet"):
        path.unlink()
    for path in store.folder.rglob("*.npz"):
        path.unlink()
    assert generalises(again, first, second, 2) == found
