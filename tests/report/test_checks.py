"""The demo's checks, on records and histories made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fake_store import finish_run, make_plan, write_records

from amlrepro.files import append_jsonl
from amlrepro.metrics.records import Records
from amlrepro.report.checks import CheckResult, check_results, same_samples
from amlrepro.suite.plan import Plan
from amlrepro.suite.store import Store


def records_of(samples: list[tuple[int, int, int]], images: int = 4) -> Records:
    """(sentence, intersection, union) of each sample; sentence k belongs to image k modulo `images`."""
    ids = np.array([[10 * s, s, s % images, 9, 9] for s, _, _ in samples])
    common, union = (np.array([s[j] for s in samples]) for j in (1, 2))
    return Records.from_counts(ids, common, union, common)


def checks(store: Store, plan: Plan) -> dict[str, CheckResult]:
    return {check.name: check for check in check_results(store, plan, "table1")}


def write_language(store: Store, plan: Plan, own: Records, other: Records) -> None:
    (planned,) = [c for c in plan.checks if c.name == "language_use"]
    for request, control in zip(planned.requests, planned.control, strict=True):
        run = plan.runs[request.run_id]
        finish_run(store, run)
        write_records(store, run, request.eval, own)
        write_records(store, run, control.eval, other)


def test_language_check_compares_the_same_samples(tmp_path: Path) -> None:
    """Sample 7 has no other object in its image: it is left out of both sides, however good it is."""
    store, plan = Store(tmp_path, "demo"), make_plan("demo")
    own = records_of([(1, 60, 100), (7, 1000, 1000), (2, 40, 100), (3, 50, 100)])
    other = records_of([(3, 40, 100), (1, 40, 100), (2, 28, 100)])
    write_language(store, plan, own, other)
    check = checks(store, plan)["language_use"]
    assert check.numbers["own"] == pytest.approx(50.0)
    assert check.numbers["other"] == pytest.approx(36.0)
    assert check.numbers["difference"] == pytest.approx(14.0)
    # Paired by image: the three differences are 20, 12 and 10, so every draw lies between 10 and 20.
    assert 10 <= check.numbers["low"] < 14 < check.numbers["high"] <= 20
    assert check.passed is True
    assert "3 samples of refcoco val" in check.text
    assert "+14.0 points" in check.text


@pytest.mark.parametrize(("other", "passed"), [(40, True), (41, False), (50, False), (60, False)])
def test_language_threshold_is_ten_points(tmp_path: Path, other: int, passed: bool) -> None:
    store, plan = Store(tmp_path, "demo"), make_plan("demo")
    write_language(store, plan, records_of([(1, 50, 100)]), records_of([(1, other, 100)]))
    assert checks(store, plan)["language_use"].passed is passed


def test_same_samples_keeps_one_order() -> None:
    first, second = same_samples(
        records_of([(5, 1, 2), (4, 1, 2), (3, 1, 2)]), records_of([(3, 0, 2), (9, 0, 2), (5, 0, 2)])
    )
    assert first.sent_id.tolist() == second.sent_id.tolist() == [5, 3]


@pytest.mark.parametrize(
    ("shares", "passed"), [((0.04, 0.06), True), ((0.04, 0.05), False), ((0.2, 0.2), True), ((0.1, 0.4), False)]
)
def test_masking_check_averages_epochs_and_runs(tmp_path: Path, shares: tuple[float, float], passed: bool) -> None:
    store, plan = Store(tmp_path, "demo"), make_plan("demo")
    (planned,) = [c for c in plan.checks if c.name == "masking"]
    assert len(planned.run_ids) == 3
    for run_id in planned.run_ids:
        history = store.run(run_id).history
        append_jsonl(history, {"kind": "step", "weak_blocks": 0.9})
        for epoch, share in enumerate(shares, 1):
            append_jsonl(history, {"kind": "epoch", "epoch": epoch, "weak_blocks": share})
    check = checks(store, plan)["masking"]
    assert check.numbers["mean"] == pytest.approx(50 * sum(shares))
    assert (check.numbers["lowest"], check.numbers["highest"]) == pytest.approx((100 * shares[0], 100 * shares[1]))
    assert check.passed is passed


def test_checks_that_cannot_be_made_say_why(tmp_path: Path) -> None:
    store, plan = Store(tmp_path, "demo"), make_plan("demo")
    found = checks(store, plan)
    assert [(c.passed, c.verdict, c.text) for c in found.values()] == [(None, "not made", "not run yet")] * 2
