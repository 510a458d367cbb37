"""gRefCOCO: several targets, one or none; by hand, on the real entries of the miniature, and on synthetic scenes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hand_made import HEIGHT, WIDTH, annotation, rectangle, ref_record, write_grefs
from pycocotools.coco import COCO

from amlrepro.data.check import check_root
from amlrepro.data.digest import available_splits, data_digest, split_counts
from amlrepro.data.masks import ref_mask, ref_mask_drawn
from amlrepro.data.refer import load_refer
from amlrepro.data.stats import root_stats
from amlrepro.data.synth import ensure_synth, synth_manifest
from amlrepro.errors import UserError
from amlrepro.sections import SynthConfig


@pytest.fixture
def grefs(tmp_path: Path) -> Path:
    """Ref 1 names two overlapping objects (10 x 10 at (0, 0) and (5, 5)), ref 2 nothing, ref 3 one square."""
    refs = [
        ref_record(1, [11, 12], 1, "val", ["both boxes", "the two"], category_id=[1, 1]),
        ref_record(2, [-1], 1, "val", ["the giraffe"], category_id=[-1], no_target=True),
        ref_record(3, [13], 2, "train", ["lower box"], category_id=[1]),
    ]
    squares = [(11, 1, rectangle(0, 0, 10, 10)), (12, 1, rectangle(5, 5, 15, 15)), (13, 2, rectangle(5, 5, 15, 15))]
    rows = [annotation(ann_id, image_id, [square]) for ann_id, image_id, square in squares]
    return write_grefs(tmp_path / "root", refs, rows)


def test_by_hand(grefs: Path) -> None:
    data = load_refer(grefs, "grefcoco")
    assert [ref.ann_ids for ref in data.refs] == [(11, 12), (), (13,)]
    assert [ref.category_id for ref in data.refs] == [1, 0, 1]
    assert (data.dataset, data.split_by, data.split_names()) == ("grefcoco", "unc", ["val", "train"])
    # two squares of 100 pixels that share 25
    assert [int(ref_mask(data, ref).sum()) for ref in data.refs] == [175, 0, 100]
    assert ref_mask(data, data.refs[1]).shape == (HEIGHT, WIDTH)
    assert [sentence.sent for _, sentence in data.samples("val")] == ["both boxes", "the two", "the giraffe"]


def test_masks_drawn_at_input_size(grefs: Path) -> None:
    data = load_refer(grefs, "grefcoco")
    # twice the width and 8/3 of the height: the union of 20 x 26.7 boxes, 160/3 pixels for each one before
    expected = np.zeros((80, 80), dtype=bool)
    expected[:27, :20] = True  # y below 26.67, rounded as pycocotools rounds an edge
    expected[13:40, 10:30] = True  # y from 13.33 to 40
    drawn = ref_mask_drawn(data, data.refs[0], 80)
    assert (drawn ^ expected).sum() <= 2 * 20  # at most one row of each box
    assert ref_mask_drawn(data, data.refs[1], 80).sum() == 0


def test_drawn_masks_leave_out_what_relas_mapper_does(tmp_path: Path) -> None:
    run = {"size": [HEIGHT, WIDTH], "counts": [0, HEIGHT * 4, HEIGHT * (WIDTH - 4)]}  # the first four columns
    refs = [ref_record(1, [11, 12], 1, "val", ["a"]), ref_record(2, [12], 1, "val", ["b"])]
    rows = [
        annotation(11, 1, [rectangle(10, 0, 20, 15), [1.0, 2.0, 3.0, 4.0]]),
        annotation(12, 1, run, iscrowd=1),
    ]
    data = load_refer(write_grefs(tmp_path, refs, rows), "grefcoco")
    assert int(ref_mask_drawn(data, data.refs[0], 40).sum()) == 10 * 20  # no crowd, no line of two points
    assert int(ref_mask_drawn(data, data.refs[1], 40).sum()) == 4 * 40  # a crowd alone


@pytest.mark.parametrize("ann_id", [[-1, 11], [11, -1]])
def test_no_target_beside_a_target_is_refused(tmp_path: Path, ann_id: list[int]) -> None:
    root = write_grefs(tmp_path, [ref_record(1, ann_id, 1, "val", ["a"])], [annotation(11, 1, [rectangle(0, 0, 9, 9)])])
    with pytest.raises(UserError, match="record 0 does not have REFER's form"):
        load_refer(root, "grefcoco")


def test_files_that_do_not_parse_or_are_missing(grefs: Path) -> None:
    path = grefs / "grefcoco" / "grefs(unc).json"
    path.write_text(path.read_text()[:-5])
    with pytest.raises(UserError, match="not a JSON file"):
        load_refer(grefs, "grefcoco")
    path.unlink()
    with pytest.raises(UserError, match="no refs of split owner"):
        load_refer(grefs, "grefcoco")


def test_splits_and_digest(grefs: Path) -> None:
    reasons = available_splits(grefs, "grefcoco")
    assert (reasons["train"], reasons["val"]) == (None, None)
    assert reasons["testA"] == "grefs(unc).json of grefcoco has no testA refs"
    assert split_counts(grefs, "grefcoco") == {"train": 1, "val": 2}
    before = data_digest(grefs, "grefcoco")
    with (grefs / "grefcoco" / "grefs(unc).json").open("a") as f:
        f.write(" ")
    assert data_digest(grefs, "grefcoco") != before


def kinds(refs: list[dict[str, Any]]) -> dict[str, int]:
    """Expressions by what they name, read without the package."""
    out = {"one": 0, "several": 0, "none": 0}
    for ref in refs:
        kind = "none" if ref["ann_id"] == [-1] else "several" if len(ref["ann_id"]) > 1 else "one"
        out[kind] += len(ref["sentences"])
    return out


def test_real_entries(shared: Path) -> None:
    root = shared / "data" / "refcoco_mini"
    data = load_refer(root, "grefcoco")
    raw = json.loads((root / "grefcoco" / "grefs(unc).json").read_text())
    # from the folder's own description: 7 refs, 21 sentences, 1 ref without a target; 154 is testB, 113 train
    assert [(ref.ref_id, len(ref.ann_ids)) for ref in data.refs] == [
        *((22, 3), (23, 2), (24, 1), (25, 1), (26, 2), (27, 0), (16, 2))
    ]
    assert sum(len(ref.sentences) for ref in data.refs) == 21
    assert [ref.image_id for ref in data.split("testB")] == [154] * 6
    assert data.split("train")[0].sentences[0].sent.startswith("the guy in the background that's cut off")
    coco = COCO(str(root / "grefcoco" / "instances.json"))
    for ref, record in zip(data.refs, raw, strict=True):
        layers = [coco.annToMask(coco.anns[i]) for i in record["ann_id"] if i != -1]
        union = np.max(layers, axis=0) if layers else np.zeros_like(ref_mask(data, ref))
        assert (ref_mask(data, ref) == union.astype(bool)).all()
        drawn = ref_mask_drawn(data, ref, 480)
        assert drawn.mean() == pytest.approx(union.mean(), abs=2e-3)
        assert drawn.any() == bool(layers)


def test_check_and_stats_count_what_is_named(shared: Path) -> None:
    root = shared / "data" / "refcoco_mini"
    report = check_root(root, dataset="grefcoco")
    assert report.ok, report.findings
    (counts,) = report.counts
    assert (counts.total.refs, counts.total.sentences, counts.total.images) == (7, 21, 2)
    assert counts.official["train"].sentences == 209_344
    (note,) = [f.message for f in report.findings if f.kind == "targets"]
    raw = json.loads((root / "grefcoco" / "grefs(unc).json").read_text())
    assert kinds(raw) == {"one": 7, "several": 12, "none": 2}
    assert "12 expressions name several objects, 2 none" in note
    (row,) = root_stats(root, "grefcoco")
    assert (row.sentences, row.multi_target, row.no_target) == (21, 12, 2)
    assert row.to_json()["appendix"]["no_target"] == 32_202
    # two refs to one object: the other zebras of its image are two
    assert row.same_class == 2


def test_statistics_without_a_single_target(tmp_path: Path) -> None:
    root = write_grefs(tmp_path, [ref_record(1, [-1], 1, "val", ["nothing here"])], [])
    (row,) = root_stats(root, "grefcoco")
    assert (row.same_class, row.area, row.no_target) == (None, None, 1)


def test_check_finds_faults(grefs: Path, tmp_path: Path) -> None:
    assert check_root(grefs).ok
    refs = [ref_record(1, [11, 11], 1, "val", ["twice"]), ref_record(2, [99, -7], 1, "val", ["unknown"])]
    root = write_grefs(tmp_path / "faulty", refs, [annotation(11, 1, [rectangle(0, 0, 9, 9)])])
    found = {f.message: f.items for f in check_root(root).findings if f.level == "problem"}
    assert found["1 refs name an object twice (ref ids)"] == ("1",)
    assert any("ref 2: annotation 99" in items for items in found.values())


def test_the_image_that_official_files_share_between_splits(tmp_path: Path) -> None:
    """The published lists of val and testA both hold image 320432; any other shared image is a leak."""
    for image, level in ((320432, "note"), (320433, "problem")):
        refs = [ref_record(1, [-1], image, "val", ["a"]), ref_record(2, [11], image, "testA", ["b"])]
        root = write_grefs(tmp_path / str(image), refs, [annotation(11, image, [rectangle(0, 0, 9, 9)])])
        assert [f.level for f in check_root(root).findings if f.kind == "leakage"] == [level]


def test_published_split_lists_agree_with_the_partition(shared: Path) -> None:
    """Sentence, ref and image ids of the full data set: splits by image, like RefCOCO's, with one image in two."""
    import gzip

    source = shared / "data" / "refcoco_full_boxes"
    by_split = json.loads((source / "unc_image_splits.json").read_text())
    seen: dict[int, set[str]] = {}
    for split in ("val", "testA", "testB"):
        entries = json.loads(gzip.decompress((source / "grefcoco_split_ids" / f"{split}.json.gz").read_bytes()))
        for entry in entries:
            seen.setdefault(entry["image_id"], set()).add(split)
        images = {entry["image_id"] for entry in entries}
        assert images - {320432} <= set(map(int, by_split[split]))
        assert {(e["target_type"] == "no-target", e["num_targets"] == 0) for e in entries} <= {
            (True,) * 2,
            (False,) * 2,
        }
    assert [image for image, splits in seen.items() if len(splits) > 1] == [320432]


def test_synthetic_scenes(tmp_path: Path) -> None:
    config = SynthConfig(train_images=8, eval_images=3, image_size=64)
    root = ensure_synth(config, tmp_path / "data", workers=1)
    data = load_refer(root, "grefcoco")
    raw = json.loads((root / "grefcoco" / "grefs(unc).json").read_text())
    expected = [() if r["ann_id"] == [-1] else tuple(r["ann_id"]) for r in raw]
    assert [ref.ann_ids for ref in data.refs] == expected
    assert {min(len(ids), 2) for ids in expected} == {0, 1, 2}
    counts = (synth_manifest(root) or {})["counts"]["grefcoco"]
    assert split_counts(root, "grefcoco") == {split: n["refs"] for split, n in counts.items()}
    report = check_root(root)
    assert report.ok, [f for f in report.findings if f.level == "problem"]
    (row,) = [row for row in root_stats(root) if row.dataset == "grefcoco"]
    assert (row.multi_target, row.no_target) == (kinds(raw)["several"], kinds(raw)["none"])
