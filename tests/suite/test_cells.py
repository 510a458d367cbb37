"""Cells against numbers worked by hand from the records behind them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fake_store import fill, finish_run, make_plan, make_records, write_records

from amlrepro.metrics.records import Records
from amlrepro.suite.cells import CellResult, block_cells
from amlrepro.suite.plan import Plan, PlannedRun
from amlrepro.suite.store import Store

SPLITS = ("val", "testA", "testB")


def two_samples(first: int, second: int) -> Records:
    """Two pictures with unions of 100 and 300 pixels and these intersections."""
    ids = np.array([[1, 1, 1, 10, 10], [2, 2, 2, 10, 10]])
    common = np.array([first, second])
    return Records.from_counts(ids, common, np.array([100, 300]), common)


def run_of(plan: Plan, train: str, seed: int = 0, strategy: str = "plain") -> PlannedRun:
    (run,) = [
        r
        for r in plan.runs.values()
        if (r.config.model.name, r.config.data.train, r.config.seed, r.config.strategy)
        == ("caris", train, seed, strategy)
    ]
    return run


def evaluated(store: Store, run: PlannedRun, records: Records, *splits: str) -> None:
    finish_run(store, run)
    for evaluation in run.evals:
        if evaluation.text == "own" and (not splits or evaluation.split in splits):
            write_records(store, run, evaluation, records)


def cells(store: Store, plan: Plan, block: str = "oiou") -> dict[tuple[str, str], CellResult]:
    return block_cells(store, plan, "table1", block)


def test_mean_over_seeds_and_difference_by_hand(tmp_path: Path) -> None:
    store, plan = Store(tmp_path, "paper"), make_plan("paper", (0, 1))
    evaluated(store, run_of(plan, "refcoco", 0), two_samples(80, 200))  # oIoU 280 / 400 = 70
    evaluated(store, run_of(plan, "refcoco", 1), two_samples(90, 230))  # oIoU 320 / 400 = 80
    cell = cells(store, plan)["caris", "refcoco.val"]
    assert cell.seeds == ((0, 70.0), (1, 80.0))
    assert cell.value == 75.0
    assert cell.printed == 74.65
    assert cell.difference == pytest.approx(75.0 - 74.65)
    assert (cell.samples, cell.scored_at, cell.split_by) == (2, "448 x 448", "unc")
    assert (cell.checkpoint, cell.epochs) == ("last", (50,))
    assert cell.reason is None
    # Draws of seeds and pictures reach from seed 0's worse picture (200 / 300) to seed 1's better one (90 / 100).
    assert cell.interval is not None
    assert cell.interval.low == pytest.approx(100 * 200 / 300)
    assert cell.interval.high == pytest.approx(90.0)
    mean = cells(store, plan, "miou")["caris", "refcoco.val"]
    assert mean.value == pytest.approx(100 * (80 / 100 + 200 / 300 + 90 / 100 + 230 / 300) / 4)


def test_average_needs_all_eight_splits_and_uses_unrounded_cells(tmp_path: Path) -> None:
    store, plan = Store(tmp_path, "paper"), make_plan("paper")
    evaluated(store, run_of(plan, "refcoco"), two_samples(80, 200))
    evaluated(store, run_of(plan, "refcoco+"), two_samples(33, 100))
    evaluated(store, run_of(plan, "refcocog"), two_samples(50, 150), "val")
    cell = cells(store, plan)["caris", "avg"]
    assert cell.value is None
    assert cell.difference is None
    assert cell.reason == "an average needs all its splits, and lacks refcocog.test"
    evaluated(store, run_of(plan, "refcocog"), two_samples(50, 150))
    cell = cells(store, plan)["caris", "avg"]
    assert cell.value == pytest.approx((3 * 70 + 3 * 33.25 + 2 * 50) / 8)
    assert cell.interval is None
    # CARIS's printed cells average to 68.7125; the printed average 68.7 is that rounded.
    assert cell.reference == pytest.approx(68.7125)
    assert cell.difference == pytest.approx((3 * 70 + 3 * 33.25 + 2 * 50) / 8 - 68.7125)


def test_difference_of_a_wrong_average_is_from_the_right_one(tmp_path: Path) -> None:
    """Audit T1-AVG5: combined, Ours is printed as 71.9 where its cells average to 71.6375."""
    store, plan = Store(tmp_path, "paper"), make_plan("paper")
    evaluated(store, run_of(plan, "combined", strategy="aml"), two_samples(80, 200))
    cell = cells(store, plan, "combined")["caris_aml", "avg"]
    assert cell.printed == 71.9
    assert cell.reference == pytest.approx(71.6375)
    assert cell.difference == pytest.approx(70 - 71.6375)
    assert [e.see for e in cell.errata] == ["T1-AVG5"]


def test_reasons_for_what_is_missing(tmp_path: Path) -> None:
    store, plan = Store(tmp_path, "paper"), make_plan("paper", (0, 1))
    evaluated(store, run_of(plan, "refcoco", 0), two_samples(80, 200), "val")
    failed = store.run(run_of(plan, "refcoco+", 0).run_id)
    failed.write_state("failed", reason="the loss is not finite", epoch=3)
    found = cells(store, plan)
    assert found["caris", "refcoco.val"].value == 70.0
    assert found["caris", "refcoco.val"].reason == "1 of 2 seeds (not run yet)"
    assert found["caris", "refcoco.testA"].reason == "trained, not evaluated yet; not run yet"
    assert found["caris", "refcoco+.val"].reason == "training failed: the loss is not finite; not run yet"
    assert found["caris_aml", "refcocog.val"].reason == "not run yet"
    assert found["caris_aml", "avg"].reason == "an average needs all its splits"
    assert found["lavt", "refcoco.val"].reason is None


def test_watermarked_results_are_compared_with_nothing(tmp_path: Path) -> None:
    store, plan = Store(tmp_path, "demo"), make_plan("demo")
    assert plan.watermark
    fill(store, plan)
    for block in ("miou", "oiou", "combined"):
        results = cells(store, plan, block)
        assert all(r.difference is None for r in results.values())
        assert all(r.value is not None for key, r in results.items() if key[0] in ("caris", "caris_aml"))


def test_records_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second report of the same store takes everything from the cache beside the records."""
    store, plan = Store(tmp_path, "paper"), make_plan("paper", (0, 1))
    for seed in (0, 1):
        evaluated(store, run_of(plan, "refcoco", seed), make_records(0.7, 60, 20, seed))
    first = cells(store, plan)["caris", "refcoco.val"]

    def refuse(_: Path) -> Records:
        raise AssertionError("the records were read again")

    monkeypatch.setattr(Records, "read", refuse)
    assert cells(store, plan)["caris", "refcoco.val"] == first
