"""The cache beside the records: used when it is valid, made anew when it is not."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from amlrepro.files import read_json, write_json
from amlrepro.metrics import compute, summary
from amlrepro.metrics.records import Records
from amlrepro.metrics.summary import read_image_sums, read_metric, read_metrics, records_path, sums_path, write_summary


def write_evaluation(folder: Path, counts: list[tuple[int, int, int]]) -> Path:
    """An evaluation as the engine leaves it; counts are (image, intersection, union). Returns its JSON."""
    ids = np.array([[k, k, image, 10, 10] for k, (image, _, _) in enumerate(counts)])
    common, union = (np.array([c[j] for c in counts]) for j in (1, 2))
    records = Records.from_counts(ids, common, union, common)
    meta = folder / "refcoco-val-last-0123abcd.json"
    records.write(records_path(meta))
    write_json(meta, {"eval_id": meta.stem, "records_sha256": records.digest(), "samples": len(records)})
    return meta


def no_records(*_: object) -> Records:
    raise AssertionError("the records were read")


def test_metrics_without_reading_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meta = write_evaluation(tmp_path, [(1, 5, 10), (1, 9, 10), (2, 0, 20)])
    write_summary(meta)
    monkeypatch.setattr(Records, "read", no_records)
    found = read_metrics(meta, ["oiou", "miou", "pr50", "pr90"])
    assert found["oiou"].value == pytest.approx(100 * 14 / 40)
    assert found["miou"].value == pytest.approx(100 * (0.5 + 0.9) / 3)
    assert [found[n].value for n in ("pr50", "pr90")] == [pytest.approx(200 / 3), pytest.approx(100 / 3)]
    assert (found["oiou"].samples, found["oiou"].images) == (3, 2)
    # Two images: a quarter of draws is only the first (14/20 -> 70), a quarter only the second (0).
    assert found["oiou"].interval is not None
    assert (found["oiou"].interval.low, found["oiou"].interval.high) == (0.0, 70.0)
    sums = read_image_sums(meta, ["oiou"])
    assert sums.image_id.tolist() == [1, 2]
    assert [array.tolist() for array in sums.terms["oiou"]] == [[14.0, 0.0], [20.0, 20.0]]
    assert json.loads(meta.read_text())["eval_id"] == meta.stem  # the engine's own keys stay


def test_first_reading_fills_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meta = write_evaluation(tmp_path, [(1, 5, 10)])
    assert read_metric(meta, "oiou").value == 50.0
    assert sums_path(meta).exists()
    monkeypatch.setattr(Records, "read", no_records)
    assert read_metric(meta, "oiou").value == 50.0


def test_changed_records_make_the_cache_stale(tmp_path: Path) -> None:
    meta = write_evaluation(tmp_path, [(1, 5, 10)])
    write_summary(meta)
    old = read_json(meta)["summary"]
    write_evaluation(tmp_path, [(1, 8, 10)])
    write_json(meta, {**read_json(meta), "summary": old})
    assert read_metric(meta, "oiou").value == 80.0
    assert read_image_sums(meta, ["oiou"]).value("oiou") == 80.0


def test_new_version_of_a_metric_is_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meta = write_evaluation(tmp_path, [(1, 5, 10)])
    write_summary(meta)
    doubled = dataclasses.replace(
        compute.METRICS["oiou"], version=2, terms=lambda r: (2 * r.intersection, np.asarray(r.union))
    )
    monkeypatch.setitem(compute.METRICS, "oiou", doubled)
    assert read_metric(meta, "oiou").value == 100.0
    assert read_image_sums(meta, ["oiou"]).value("oiou") == 100.0
    assert read_json(meta)["summary"]["metrics"]["oiou"]["version"] == 2
    assert read_metric(meta, "miou").value == 50.0


def test_read_only_store_is_still_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meta = write_evaluation(tmp_path, [(1, 5, 10)])

    def refuse(*_: object, **__: object) -> None:
        raise summary.UserError("cannot write here")

    monkeypatch.setattr(summary, "write_json", refuse)
    assert read_metric(meta, "oiou").value == 50.0
    assert read_image_sums(meta, ["miou"]).value("miou") == 50.0


def test_an_evaluation_made_anew_meanwhile_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meta = write_evaluation(tmp_path, [(1, 5, 10)])

    def evaluate_again(*_: object) -> None:
        write_evaluation(tmp_path, [(1, 8, 10)])

    monkeypatch.setattr(summary, "_write_sums", evaluate_again)
    write_summary(meta)
    assert "summary" not in read_json(meta)
    monkeypatch.undo()
    assert read_metric(meta, "oiou").value == 80.0


def test_undefined_metric_is_null_not_nan(tmp_path: Path) -> None:
    meta = write_evaluation(tmp_path, [])
    write_summary(meta)
    assert "NaN" not in meta.read_text()
    assert read_metric(meta, "oiou").value is None
    assert read_metric(meta, "oiou").interval is None


def with_training_images(meta: Path, train_images: list[int] | None, **more: str) -> Path:
    write_json(meta, {**read_json(meta), "train_images": train_images, **more})
    return meta


def test_unseen_images_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = [(1, 5, 10), (2, 9, 10), (1, 0, 30), (3, 1, 10)]
    meta = with_training_images(write_evaluation(tmp_path, counts), [1, 7])
    write_summary(meta)
    monkeypatch.setattr(Records, "read", no_records)
    found = read_metric(meta, "oiou", "unseen")
    # images 2 and 3: 10 of 20 pixels; draws give 9 of 10, 1 of 10 or both
    assert (found.value, found.samples, found.images, found.reason) == (50.0, 2, 2, None)
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == (10.0, 90.0)
    everything = read_metric(meta, "oiou")
    assert (everything.value, everything.samples, everything.images) == (25.0, 4, 3)
    sums = read_image_sums(meta, ["oiou"], "unseen")
    assert (sums.image_id.tolist(), sums.samples) == ([2, 3], 2)
    assert [array.tolist() for array in sums.terms["oiou"]] == [[9.0, 1.0], [10.0, 10.0]]
    assert read_image_sums(meta, ["oiou"]).image_id.tolist() == [1, 2, 3]


def test_unseen_is_everything_where_nothing_was_seen(tmp_path: Path) -> None:
    meta = with_training_images(write_evaluation(tmp_path, [(1, 5, 10), (2, 9, 10)]), [])
    assert read_metric(meta, "miou", "unseen") == read_metric(meta, "miou")
    assert read_image_sums(meta, ["miou"], "unseen").image_id.tolist() == [1, 2]


def test_why_there_is_no_unseen_subset(tmp_path: Path) -> None:
    meta = write_evaluation(tmp_path, [(1, 5, 10)])
    old = read_metric(meta, "oiou", "unseen")
    assert (old.value, old.samples) == (None, 0)
    assert "before training images were noted" in str(old.reason)
    with_training_images(meta, None, train_images_unknown="an official checkpoint")
    assert read_metric(meta, "oiou", "unseen").reason == "an official checkpoint"
    with pytest.raises(summary.UserError, match="an official checkpoint"):
        read_image_sums(meta, ["oiou"], "unseen")
    assert read_metric(meta, "oiou").value == 50.0
    with_training_images(meta, [1])
    nothing = read_metric(meta, "oiou", "unseen")
    assert (nothing.value, nothing.interval) == (None, None)
    assert nothing.reason == "all its images are in the training split"


def test_other_training_images_make_the_subset_stale(tmp_path: Path) -> None:
    meta = with_training_images(write_evaluation(tmp_path, [(1, 5, 10), (2, 9, 10)]), [1])
    assert read_metric(meta, "oiou", "unseen").value == 90.0
    with_training_images(meta, [2])
    assert read_image_sums(meta, ["oiou"], "unseen").image_id.tolist() == [1]
    assert read_metric(meta, "oiou", "unseen").value == 50.0


def test_a_summary_without_the_subset_or_a_metric_is_completed(tmp_path: Path) -> None:
    meta = write_evaluation(tmp_path, [(1, 5, 10), (2, 9, 10)])
    write_summary(meta)
    with_training_images(meta, [1])
    assert read_metric(meta, "oiou", "unseen").value == 90.0
    assert read_metric(meta, "pr90_strict", "unseen").value == 0.0
    assert read_json(meta)["summary"]["unseen"]["metrics"].keys() == read_json(meta)["summary"]["metrics"].keys()


def test_the_subset_of_a_store_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meta = with_training_images(write_evaluation(tmp_path, [(1, 5, 10), (2, 9, 10)]), [1])

    def refuse(*_: object, **__: object) -> None:
        raise summary.UserError("cannot write here")

    monkeypatch.setattr(summary, "write_json", refuse)
    assert read_metric(meta, "oiou", "unseen").value == 90.0
    assert read_image_sums(meta, ["oiou"], "unseen").samples == 1
