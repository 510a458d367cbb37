"""GRES metrics against the four cases of ReLA's evaluation, worked by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from amlrepro.metrics.compute import GENERALIZED_METRICS, value, values
from amlrepro.metrics.records import Records


def sample(
    common: int, predicted: int, target: int, says_none: bool = False, names_nothing: bool | None = None
) -> Records:
    """One sample; `names_nothing` only where a target has lost its last pixel."""
    empty = None if names_nothing is None else [names_nothing]
    return Records.from_counts([(1, 1, 1, 480, 640)], [common], [predicted], [target], [says_none], empty)


def joined(*parts: Records) -> Records:
    columns = [part.columns() for part in parts]
    return Records(**{name: np.concatenate([c[name] for c in columns]) for name in columns[0]})


NONE_SAID = sample(0, 50, 0, says_none=True)  # no target, rejected, although the mask is not empty
NONE_MISSED = sample(0, 40, 0)  # no target, not rejected: 40 pixels too many
NONE_MISSED_EMPTY = sample(0, 0, 0)  # no target, not rejected, but the mask is empty
WRONGLY_REJECTED = sample(60, 80, 100, says_none=True)  # union 120
HALF = sample(50, 60, 90)  # IoU 1/2
SEVEN_TENTHS = sample(70, 80, 90)  # IoU 7/10 exactly
NINE_TENTHS = sample(90, 90, 100)  # IoU 9/10 exactly


def test_all_cases_together() -> None:
    records = joined(
        NONE_SAID, NONE_MISSED, NONE_MISSED_EMPTY, WRONGLY_REJECTED, HALF, SEVEN_TENTHS, NINE_TENTHS
    )  # fmt: skip
    # I: 50 + 70 + 90; U: 40 + 0 + 120 + 100 + 100 + 100
    # gIoU: 1 + 0 + 0 + 0 + 0.5 + 0.7 + 0.9 over 7 samples
    assert values(records, GENERALIZED_METRICS) == {
        "ciou": pytest.approx(100 * 210 / 460),
        "giou": pytest.approx(100 * 3.1 / 7),
        "n_acc": pytest.approx(100 / 3),
        "t_acc": pytest.approx(75),
        "gpr70": pytest.approx(50),
        "gpr80": pytest.approx(25),
        "gpr90": pytest.approx(25),
    }


@pytest.mark.parametrize(
    ("records", "giou", "above", "below"),
    [
        (NONE_SAID, 100, 0, 0),
        (NONE_MISSED, 0, 0, 40),
        (NONE_MISSED_EMPTY, 0, 0, 0),
        (WRONGLY_REJECTED, 0, 0, 120),
        (HALF, 50, 50, 100),
    ],
)
def test_each_case_alone(records: Records, giou: float, above: int, below: int) -> None:
    """Beside a sample of IoU 1 over 1000 pixels, a case shows in cIoU by what it adds to the two sums."""
    assert value("giou", records) == giou
    beside = joined(records, sample(1000, 1000, 1000))
    assert value("ciou", beside) == pytest.approx(100 * (1000 + above) / (1000 + below))


def test_several_targets_are_one_mask() -> None:
    # two targets of 100 and 60 pixels that share 20: union 140; the prediction finds the first alone
    records = sample(100, 100, 140)
    assert value("giou", records) == pytest.approx(100 * 100 / 140)
    assert value("ciou", records) == pytest.approx(100 * 100 / 140)
    assert value("gpr70", records) == 100
    assert value("gpr80", records) == 0


def test_empty_union_of_a_sample_with_a_target() -> None:
    """A target too small to leave a pixel at the scoring resolution is still a target."""
    lost = sample(0, 0, 0, names_nothing=False)
    assert values(lost, ["giou", "t_acc", "gpr70"]) == {"giou": 0, "t_acc": 100, "gpr70": 0}
    assert np.isnan(value("ciou", lost))
    assert np.isnan(value("n_acc", lost))
    with pytest.raises(ValueError, match="target_empty contradicts"):
        sample(1, 1, 1, names_nothing=True)


def test_undefined_where_nothing_is_counted() -> None:
    assert np.isnan(value("n_acc", HALF))  # no sample without a target
    assert np.isnan(value("t_acc", NONE_SAID))  # none with one
    assert np.isnan(value("gpr70", NONE_SAID))
    assert np.isnan(value("ciou", NONE_SAID))


def test_without_empty_targets_and_rejections_they_are_the_plain_metrics() -> None:
    random = np.random.default_rng(3)
    target = random.integers(1, 100, 50)
    predicted = random.integers(0, 100, 50)
    common = (np.minimum(target, predicted) * random.random(50)).astype(int)
    records = Records.from_counts(np.ones((50, 5), dtype=int), common, predicted, target)
    for generalized, plain in {"ciou": "oiou", "giou": "miou", "gpr70": "pr70", "gpr90": "pr90"}.items():
        assert value(generalized, records) == value(plain, records)
    assert value("t_acc", records) == 100


def test_a_loop_over_samples_gives_the_same() -> None:
    """The four branches of the evaluation as a plain loop over random samples."""
    random = np.random.default_rng(11)
    parts = []
    for _ in range(60):
        target = int(random.integers(1, 50)) * int(random.random() < 0.6)
        predicted = int(random.integers(0, 50)) * int(random.random() < 0.8)
        common = int(min(target, predicted) * random.random())
        parts.append(sample(common, predicted, target, says_none=bool(random.random() < 0.3)))
    ious, above, below = [], 0, 0
    for part in parts:
        row = {name: column[0] for name, column in part.columns().items()}
        if row["target_area"] == 0 and row["no_target"]:
            ious.append(1.0)
            continue
        below += int(row["union"])
        if row["target_area"] == 0 or row["no_target"]:
            ious.append(0.0)
            continue
        ious.append(row["intersection"] / row["union"] if row["union"] else 0.0)
        above += int(row["intersection"])
    records = joined(*parts)
    assert value("giou", records) == pytest.approx(100 * np.mean(ious))
    assert value("ciou", records) == pytest.approx(100 * above / below)


def test_records_keep_what_the_metrics_need() -> None:
    records = joined(NONE_SAID, sample(0, 0, 0, names_nothing=False))
    assert records.target_empty.tolist() == [True, False]
    assert dataclasses.replace(records, no_target=np.array([False, False])).digest() != records.digest()
