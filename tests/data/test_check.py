"""`amlris data check` and `amlris data stats`: each kind of damage is found, and nothing else is."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hand_made import HEIGHT, WIDTH, annotation, picture_name, rectangle, ref_record, write_refer
from PIL import Image
from typer.testing import CliRunner

from amlrepro.cli.data import app
from amlrepro.data.check import CheckReport, check_root
from amlrepro.data.stats import root_stats
from amlrepro.errors import UserError


def problems(report: CheckReport) -> dict[str, tuple[str, ...]]:
    return {f.kind: f.items for f in report.findings if f.level == "problem"}


def notes(report: CheckReport) -> str:
    return "\n".join(f"{f.where}: {f.message}" for f in report.findings if f.level == "note")


def sound(tmp_path: Path, **changes: Any) -> Path:
    """Two refs in two images without fault; `changes` replaces fields of annotation 2."""
    refs = [ref_record(1, 1, 1, "train", ["a man", "red man"]), ref_record(2, 2, 2, "val", ["dog"])]
    first = annotation(1, 1, [rectangle(1, 1, 9, 9)])
    return write_refer(tmp_path / "root", refs, [first, {**annotation(2, 2, [rectangle(1, 1, 9, 9)]), **changes}])


def test_a_sound_subset_has_notes_only(tmp_path: Path) -> None:
    report = check_root(sound(tmp_path))
    assert report.ok
    assert problems(report) == {}
    (counts,) = report.counts
    assert {n: (c.refs, c.sentences, c.images) for n, c in counts.splits.items()} == {
        "train": (1, 2, 1),
        "val": (1, 1, 1),
        "testA": (0, 0, 0),
        "testB": (0, 0, 0),
    }
    text = notes(report)
    assert "RefCOCO (unc): counts differ from the official ones; no testA, testB" in text
    assert "RefCOCO+: no refcoco+/refs(unc).p" in text
    assert "combined training set: cannot be built without refcoco+ (unc), refcocog (umd)" in text


def test_strict_makes_other_counts_an_error(tmp_path: Path) -> None:
    report = check_root(sound(tmp_path), strict=True)
    assert set(problems(report)) == {"counts", "missing"}
    assert "train refs: 1 (official 42,404)" in problems(report)["counts"]
    assert "train sentences: 2 (official 120,624)" in problems(report)["counts"]


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"segmentation": None}, "masks"),
        ({"segmentation": []}, "masks"),
        ({"segmentation": [rectangle(3, 3, 3, 3)]}, "empty masks"),
        ({"segmentation": {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH]}}, "empty masks"),
        ({"segmentation": [[1, 2, 3, 4]]}, "broken masks"),
        ({"segmentation": {"size": [9, 9], "counts": [81]}}, "broken masks"),
        ({"segmentation": [rectangle(30, 20, WIDTH + 5, 25)]}, "masks outside"),
        ({"segmentation": [rectangle(-3, 2, 9, 9)]}, "masks outside"),
    ],
)
def test_mask_faults(tmp_path: Path, changes: dict[str, Any], kind: str) -> None:
    report = check_root(sound(tmp_path, **changes))
    assert set(problems(report)) == {kind}
    assert "2" in problems(report)[kind][0]


def test_a_polygon_on_the_edge_is_sound(tmp_path: Path) -> None:
    assert check_root(sound(tmp_path, segmentation=[rectangle(0, 0, WIDTH, HEIGHT)])).ok


def test_image_faults_are_listed(tmp_path: Path) -> None:
    root = sound(tmp_path)
    folder = root / "images/train2014"
    whole = (folder / picture_name(1)).read_bytes()
    (folder / picture_name(2)).unlink()
    (folder / picture_name(1)).write_bytes(whole[: len(whole) // 2])
    report = check_root(root)
    assert problems(report)["missing images"] == (picture_name(2),)
    assert problems(report)["unreadable images"][0].startswith(picture_name(1))
    Image.new("RGB", (WIDTH, HEIGHT + 1)).save(folder / picture_name(1))
    sizes = problems(check_root(root))["image sizes"]
    assert sizes == (f"{picture_name(1)}: {WIDTH} x {HEIGHT + 1}, expected {WIDTH} x {HEIGHT}",)
    (folder / picture_name(1)).unlink()
    folder.rmdir()
    assert "images" in problems(check_root(root))


def test_leakage_between_splits(tmp_path: Path) -> None:
    refs = [ref_record(1, 1, 7, "train", ["a"]), ref_record(2, 2, 7, "testB", ["b"]), ref_record(3, 3, 8, "val", ["c"])]
    rows = [annotation(r["ann_id"], r["image_id"], [rectangle(1, 1, 9, 9)]) for r in refs]
    root = write_refer(tmp_path, refs, rows)
    assert problems(check_root(root))["leakage"] == ("7",)
    # Google's partitions split by object: the same overlap is by design
    for ref in refs:
        ref["split"] = {"testB": "test"}.get(ref["split"], ref["split"])
    (root / "refcoco" / "refs(unc).p").unlink()
    (root / "refcoco" / "refs(google).p").write_bytes(pickle.dumps(refs, protocol=2))
    report = check_root(root)
    assert report.ok
    assert "1 images are in both train and test, by design" in notes(report)


def test_faults_of_the_tables(tmp_path: Path) -> None:
    refs = [
        ref_record(1, 1, 1, "train", ["a"]),
        ref_record(1, 2, 1, "train", ["b"]),
        ref_record(3, 99, 1, "val", [" "]),
        ref_record(4, 2, 2, "dev", []),
    ]
    rows = [annotation(i, 1, [rectangle(1, 1, 9, 9)]) for i in (1, 2)]
    report = check_root(write_refer(tmp_path, refs, rows))
    found = {(f.kind, f.items) for f in report.findings if f.level == "problem"}
    assert ("ids", ("1",)) in found
    assert ("ids", ("100",)) in found
    assert ("ids", ("ref 3: annotation 99", "ref 4: annotation 2")) in found
    assert ("texts", ("300",)) in found
    assert ("texts", ("4",)) in found
    assert ("split names", ("dev",)) in found


def test_nothing_to_check(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        check_root(tmp_path / "none")
    with pytest.raises(UserError, match="no data set under this root"):
        check_root(tmp_path)
    with pytest.raises(UserError, match="not under this data root"):
        check_root(sound(tmp_path), dataset="refcocog")
    with pytest.raises(UserError, match="unknown data set"):
        check_root(sound(tmp_path), dataset="coco")


def test_a_leaking_mixed_file_is_a_problem(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for folder, owner in (("refcoco", "unc"), ("refcoco+", "unc"), ("refcocog", "umd")):
        refs = [ref_record(1, 1, 1, "train", ["a"]), ref_record(2, 2, 2, "val", ["b"])]
        rows = [annotation(i, i, [rectangle(1, 1, 9, 9)]) for i in (1, 2)]
        write_refer(root, refs, rows, folder, owner)
    report = check_root(root)
    assert report.ok
    assert report.combined is not None
    assert (report.combined["refs"], report.combined["images"]) == (3, 1)
    write_refer(root, [ref_record(1, 2, 2, "train", ["a"])], [], "refcocom", "mix")
    assert problems(check_root(root)) == {"leakage": ("2",)}


def test_command_line_codes_and_json(tmp_path: Path) -> None:
    runner = CliRunner()
    root = sound(tmp_path)
    result = runner.invoke(app, ["check", str(root), "--json"])
    assert result.exit_code == 0
    content = json.loads(result.stdout)
    assert content["ok"] is True
    assert content["counts"][0]["splits"]["train"] == {"refs": 1, "sentences": 2, "images": 1}
    assert runner.invoke(app, ["check", str(root), "--strict"]).exit_code == 1
    (root / "images/train2014" / picture_name(2)).unlink()
    result = runner.invoke(app, ["check", str(root)])
    assert result.exit_code == 1
    assert picture_name(2) in result.stdout
    result = runner.invoke(app, ["check", str(root), "--json"])
    assert result.exit_code == 1
    assert json.loads(result.stdout)["ok"] is False


def test_miniature_real_data_is_told_exactly(shared: Path) -> None:
    report = check_root(shared / "data" / "refcoco_mini")
    assert report.ok
    counts = {c.dataset: c for c in report.counts}
    total = counts["refcoco"].total
    assert (total.images, total.refs, total.sentences) == (30, 61, 191)
    found = {name: (c.refs, c.sentences, c.images) for name, c in counts["refcoco"].splits.items()}
    assert found == {"train": (47, 147, 18), "val": (0, 0, 0), "testA": (10, 30, 10), "testB": (4, 14, 2)}
    assert "RefCOCO (unc): counts differ from the official ones; no val" in notes(report)
    assert "gRefCOCO" in notes(report)
    result = CliRunner().invoke(app, ["check", str(shared / "data" / "refcoco_mini")], env={"COLUMNS": "120"})
    assert result.exit_code == 0
    assert "no val" in result.stdout


def test_stats_by_hand(tmp_path: Path) -> None:
    refs = [
        ref_record(1, 1, 1, "train", ["a man", "red man left"]),
        ref_record(2, 2, 1, "train", ["man"]),
        ref_record(3, 4, 2, "val", ["a dog " + "very " * 18]),
    ]
    # image 1: three people and a dog; image 2: one person
    rows = [annotation(i, 1, [], area=120.0) for i in (1, 2, 3)]
    rows += [annotation(4, 2, [], area=60.0), annotation(5, 1, [], category_id=2)]
    root = write_refer(tmp_path / "root", refs, rows)
    (row,) = root_stats(root)
    assert (row.images, row.refs, row.sentences, row.longest, row.vocabulary) == (2, 3, 4, 20, 6)
    assert row.words == pytest.approx((2 + 3 + 1 + 20) / 4)
    assert row.long == pytest.approx(1 / 4)
    assert row.sentences_per_ref == pytest.approx(4 / 3)
    assert row.refs_per_image == pytest.approx(3 / 2)
    assert row.same_class == pytest.approx((2 + 2 + 0) / 3)
    assert row.area == pytest.approx((120 + 120 + 60) / 3 / (WIDTH * HEIGHT))
    by_split = root_stats(root, by_split=True)
    assert [r.split for r in by_split] == ["all", "train", "val"]
    result = CliRunner().invoke(app, ["stats", str(root), "--json"])
    content = json.loads(result.stdout)
    assert content[0]["appendix"]["words"] == 3.61
    assert content[0]["same_class"] == pytest.approx(4 / 3)
    assert "paper, A.1" in CliRunner().invoke(app, ["stats", str(root)], env={"COLUMNS": "120"}).stdout
    with pytest.raises(UserError, match="no data set"):
        root_stats(root, "refcoco+")
