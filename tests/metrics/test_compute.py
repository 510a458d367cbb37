"""Metrics against values worked by hand and against fractions from the standard library."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from amlrepro.errors import UserError
from amlrepro.metrics.compute import METRICS, metric, value, values
from amlrepro.metrics.records import Records


def make_records(counts: list[tuple[int, int]], images: list[int] | None = None) -> Records:
    """Records with the given (intersection, union); the prediction covers the union, the target the intersection."""
    n = len(counts)
    ids = [[k, k, (images or list(range(n)))[k], 480, 640] for k in range(n)]
    common = np.array([i for i, _ in counts], dtype=np.int64)
    union = np.array([u for _, u in counts], dtype=np.int64)
    return Records.from_counts(np.array(ids, dtype=np.int64).reshape(-1, 5), common, union, common)


def test_overall_and_mean_by_hand() -> None:
    # 1/2, 3/4, 0/10: oIoU = 4 / 16, mIoU = (0.5 + 0.75 + 0) / 3
    records = make_records([(1, 2), (3, 4), (0, 10)])
    assert value("oiou", records) == 25.0
    assert value("miou", records) == pytest.approx(125 / 3, abs=1e-12)
    assert values(records, ["pr50", "pr70"]) == {"pr50": pytest.approx(200 / 3), "pr70": pytest.approx(100 / 3)}


@pytest.mark.parametrize("tenths", [5, 6, 7, 8, 9])
def test_precision_counts_the_threshold_itself(tenths: int) -> None:
    name = f"pr{10 * tenths}"
    for scale in (1, 3, 7, 10007, 20070):  # exact ties; in floating point 7/10 and 0.7 need not compare equal
        tie, below, above = (tenths * scale, 10 * scale), (tenths * scale - 1, 10 * scale), (10 * scale, 10 * scale)
        records = make_records([tie, below, above])
        assert value(name, records) == pytest.approx(200 / 3)
        assert value(f"{name}_strict", records) == pytest.approx(100 / 3)


def test_precision_agrees_with_exact_fractions() -> None:
    random = np.random.default_rng(5)
    union = random.integers(1, 41, 400)
    common = (union * random.random(400)).astype(np.int64)
    common[::5] = union[::5]
    records = make_records(list(zip(common.tolist(), union.tolist(), strict=True)))
    for tenths in (5, 6, 7, 8, 9):
        exact = [Fraction(int(i), int(u)) for i, u in zip(common, union, strict=True)]
        expected = 100 * Fraction(sum(f >= Fraction(tenths, 10) for f in exact), 400)
        assert value(f"pr{10 * tenths}", records) == float(expected)


def test_empty_union_counts_as_zero() -> None:
    records = make_records([(0, 0), (4, 4)])
    assert value("miou", records) == 50.0
    assert value("pr50", records) == 50.0
    assert value("oiou", records) == 100.0  # an empty sample adds nothing to either sum


def test_no_samples_is_undefined() -> None:
    assert all(np.isnan(value(name, make_records([]))) for name in METRICS)


def test_large_counts_stay_exact() -> None:
    # float32 sums stop being exact at 2**24; one odd pixel must still be seen
    side = 448 * 448
    records = make_records([(side, side)] * 400 + [(0, 1)])
    assert value("oiou", records) == pytest.approx(100 * (400 * side) / (400 * side + 1), abs=1e-12)
    assert value("oiou", records) < 100


def test_unknown_metric_names_the_nearest() -> None:
    with pytest.raises(UserError, match="oiou"):
        metric("oIou ")
