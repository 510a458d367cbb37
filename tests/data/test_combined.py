"""The combined training set: the image-exclusion rule on hand-made data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hand_made import annotation, rectangle, ref_record, write_refer

from amlrepro.config import RunConfig
from amlrepro.data.combined import check_mix, load_combined, require_disjoint
from amlrepro.data.loader import open_training
from amlrepro.data.masks import ref_mask
from amlrepro.errors import UserError
from amlrepro.models.spec import Protocol

PARTS = {
    # image 1 is train everywhere; image 2 is testA of RefCOCO+; image 3 is val of RefCOCOg; image 4 only RefCOCO's
    "refcoco": ("unc", [(1, 1, "train"), (2, 2, "train"), (3, 3, "train"), (4, 4, "train")]),
    "refcoco+": ("unc", [(1, 1, "train"), (2, 2, "testA"), (3, 3, "train")]),
    "refcocog": ("umd", [(1, 1, "train"), (2, 3, "val"), (3, 5, "test")]),
}


@pytest.fixture
def three(tmp_path: Path) -> Path:
    for number, (name, (owner, refs)) in enumerate(PARTS.items()):
        records = [ref_record(ref_id, ref_id, image, split, ["a", "b"]) for ref_id, image, split in refs]
        # the same annotation id means another rectangle in each part: a ref must keep its own part's object
        rows = [annotation(r, image, [rectangle(0, 0, 5 + number, 4)]) for r, image, _ in refs]
        write_refer(tmp_path / "three", records, rows, name, owner)
    return tmp_path / "three"


def test_rule_and_report_by_hand(three: Path) -> None:
    made = load_combined(three)
    # images 2, 3 and 5 are evaluated on somewhere
    assert [(ref.dataset, ref.image_id) for ref in made.data.split("train")] == [
        ("refcoco", 1),
        ("refcoco", 4),
        ("refcoco+", 1),
        ("refcocog", 1),
    ]
    ids = [ref.ref_id for ref in made.data.refs]
    assert len(set(ids)) == 4
    assert (made.report.refs, made.report.sentences, made.report.images) == (4, 8, 2)
    found = [
        (p.dataset, p.refs, p.images, p.dropped_refs, p.dropped_sentences, p.dropped_images) for p in made.report.parts
    ]
    assert found == [("refcoco", 2, 2, 2, 4, 2), ("refcoco+", 1, 1, 1, 2, 1), ("refcocog", 1, 1, 0, 0, 0)]


def test_a_ref_keeps_the_object_of_its_own_part(three: Path) -> None:
    data = load_combined(three).data
    assert [int(ref_mask(data, ref).sum()) for ref in data.refs] == [20, 20, 24, 28]


def test_it_feeds_training(three: Path, config_for: Callable[..., RunConfig], protocol: Protocol) -> None:
    training = open_training(config_for(three, data__train="combined"), protocol)
    assert (training.n_refs, training.n_sentences, training.n_images) == (4, 8, 2)
    # four refs in two batches of two; the two objects that share image 1 and an annotation id keep different masks
    targets = [int(t.sum()) for batch in training.batches(0, 2) for t in batch.target]
    assert len(set(targets)) == 3


def test_it_refuses_to_train_on_an_evaluated_image(three: Path) -> None:
    data = load_combined(three).data
    with pytest.raises(UserError, match="1 val or test images are in the training set"):
        require_disjoint(
            [*data.refs, *data.parts["refcoco"].refs[1:2], data.parts["refcoco+"].refs[1]], data.parts, "x"
        )


def test_all_three_parts_are_needed(three: Path) -> None:
    (three / "refcocog" / "refs(umd).p").unlink()
    (three / "refcoco+" / "refs(unc).p").unlink()
    with pytest.raises(UserError, match="needs all of") as caught:
        load_combined(three)
    assert "no RefCOCO+ (unc), no RefCOCOg (umd)" in str(caught.value)


def test_a_broken_part_is_not_taken_for_a_missing_one(three: Path) -> None:
    (three / "refcocog" / "refs(umd).p").write_bytes(b"\x80\x02(")
    with pytest.raises(UserError, match="damaged"):
        load_combined(three)


def test_a_mixed_file_made_by_others_is_checked(three: Path) -> None:
    assert check_mix(three) is None
    mixed = [
        ref_record(1, 1, 1, "train", ["a"]),
        ref_record(1, 2, 3, "train", ["b"]),
        ref_record(3, 3, 5, "train", ["c"]),
    ]
    write_refer(three, mixed, [], "refcocom", "mix")
    report = check_mix(three)
    assert report is not None
    assert (report.refs, report.sentences, report.images) == (3, 3, 3)
    assert report.leaked_images == (3, 5)
    assert report.leaked_refs == 2
    assert not report.unique_ref_ids


def test_miniature_real_data(shared: Path) -> None:
    # image 309 is RefCOCOg val; RefCOCO and RefCOCO+ train have three refs with nine sentences each in it
    made = load_combined(shared / "data" / "refcoco_mini")
    assert (made.report.refs, made.report.sentences, made.report.images) == (2 * 44, 138 + 123, 17)
    assert 309 not in {ref.image_id for ref in made.data.refs}
