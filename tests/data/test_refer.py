"""The REFER reader against a folder made by hand and the miniature real data."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hand_made import HEIGHT, WIDTH, annotation, picture_name, ref_record, write_refer

from amlrepro.data.refer import ImageInfo, Sentence, load_refer
from amlrepro.errors import UserError


def test_hand_made_folder(two_images: Path) -> None:
    data = load_refer(two_images, "refcoco")
    assert (data.dataset, data.split_by) == ("refcoco", "unc")
    assert data.images == {i: ImageInfo(i, picture_name(i), HEIGHT, WIDTH) for i in (1, 2)}
    assert data.categories == {1: "person"}
    (ref,) = data.split("testA")
    assert (ref.ref_id, ref.ann_ids, ref.image_id, ref.category_id) == (1, (11,), 1, 1)
    assert ref.sentences == (Sentence(100, "Left man!", "left man"), Sentence(101, "Man in red!", "man in red"))
    assert (ref.dataset, ref.split_by) == ("refcoco", "unc")
    assert [r.ref_id for r in data.split("testB")] == [2]
    # the picture's name comes from the image table, never from the ref's own file_name
    assert data.image_of(ref).file_name == picture_name(1)


def test_evaluation_order_is_file_order_then_sentence_order(tmp_path: Path) -> None:
    refs = [
        ref_record(9, 19, 2, "val", ["a", "b"]),
        ref_record(3, 13, 1, "train", ["c"]),
        ref_record(1, 11, 1, "val", ["d", "e"]),
    ]
    data = load_refer(write_refer(tmp_path, refs, []), "refcoco")
    assert [(ref.ref_id, sentence.sent) for ref, sentence in data.samples("val")] == [
        (9, "a"),
        (9, "b"),
        (1, "d"),
        (1, "e"),
    ]


def test_split_names_are_exact(two_images: Path) -> None:
    data = load_refer(two_images, "refcoco")
    for wrong in ("test", "A", "TESTA", "testa"):
        with pytest.raises(UserError, match="unknown split"):
            data.split(wrong)
    with pytest.raises(UserError, match="'val' of refcoco") as caught:
        data.split("val")
    assert "testA 1 refs" in str(caught.value)


@pytest.mark.parametrize(
    ("dataset", "owner", "message"),
    [
        ("refcocog", None, "not under this data root"),
        ("refcoco", "google", "no refs of split owner"),
        ("refcoco", "umd", "unknown split owner"),
        ("refcocoo", None, "unknown data set"),
    ],
)
def test_what_is_missing_is_named(two_images: Path, dataset: str, owner: str | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_refer(two_images, dataset, owner)


def test_missing_root_and_instances(two_images: Path) -> None:
    with pytest.raises(UserError, match="data root does not exist"):
        load_refer(two_images / "none", "refcoco")
    (two_images / "refcoco" / "instances.json").unlink()
    with pytest.raises(UserError, match="no object annotations"):
        load_refer(two_images, "refcoco")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": 1}, "a refs file holds a list"),
        ([{"ref_id": 1}], "record 0 has no field 'ann_id'"),
        ([3], "record 0 does not have REFER's form"),
        ([{**ref_record(1, 2, 3, "val", ["a"]), "sentences": [{"sent_id": 1, "sent": 5}]}], "REFER's form"),
        ([{**ref_record(1, 2, 3, "val", ["a"]), "split": None}], "REFER's form"),
    ],
)
def test_refs_of_another_form(two_images: Path, content: Any, message: str) -> None:
    (two_images / "refcoco" / "refs(unc).p").write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(UserError, match=message):
        load_refer(two_images, "refcoco")


@pytest.mark.parametrize("content", ["{", "[]", '{"images": [{}], "annotations": [], "categories": []}', "\xff"])
def test_instances_of_another_form(two_images: Path, content: str) -> None:
    path = two_images / "refcoco" / "instances.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError) as caught:
        load_refer(two_images, "refcoco")
    assert str(path) in str(caught.value)


def test_a_changed_file_is_read_again(two_images: Path) -> None:
    assert load_refer(two_images, "refcoco") is load_refer(two_images, "refcoco")
    more = [ref_record(i, 11, 1, "testA", ["left man"]) for i in range(1, 4)]
    write_refer(two_images, more, [annotation(11, 1, [[0, 0, 5, 0, 5, 5]])])
    assert len(load_refer(two_images, "refcoco").refs) == 3


def test_ids_that_lead_nowhere(tmp_path: Path) -> None:
    refs = [ref_record(1, 99, 1, "val", ["a"])]
    data = load_refer(write_refer(tmp_path, refs, [annotation(5, 1, [])]), "refcoco")
    with pytest.raises(UserError, match="annotation 99 of ref 1"):
        data.annotations_of(data.refs[0])
    data.images.clear()
    with pytest.raises(UserError, match="image 1 of ref 1"):
        data.image_of(data.refs[0])


def test_miniature_real_data(shared: Path) -> None:
    # counts from the folder's own description: 30 images, 61 refs, 191 and 171 sentences; train 18/47/147|132
    root = shared / "data" / "refcoco_mini"
    for dataset, total, train in (("refcoco", 191, 147), ("refcoco+", 171, 132)):
        data = load_refer(root, dataset)
        assert len(data.images) == 30
        assert len(data.refs) == 61
        assert sum(len(ref.sentences) for ref in data.refs) == total
        assert len(data.split("train")) == 47
        assert len(list(data.samples("train"))) == train
        raw = json.loads((root / dataset / "instances.json").read_text())
        assert set(data.annotations) == {row["id"] for row in raw["annotations"]}
        for row in raw["annotations"]:
            kept = data.annotations[row["id"]]
            assert list(kept.bbox) == row["bbox"]
            if isinstance(row["segmentation"], list):
                assert [list(polygon) for polygon in kept.segmentation or ()] == row["segmentation"]
            else:
                assert kept.segmentation == row["segmentation"]
