"""Which evaluated images a model was trained on: on small folders, and RefCOCOg val on the real annotations."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
from hand_made import annotation, rectangle, ref_record, write_refer

from amlrepro.config import RunConfig
from amlrepro.data import seen
from amlrepro.data.combined import load_combined
from amlrepro.data.digest import data_digest
from amlrepro.data.refer import load_refer, read_refs
from amlrepro.data.seen import seen_images, training_images
from amlrepro.data.synth import ensure_synth
from amlrepro.sections import SynthConfig

MakeConfig = Callable[..., RunConfig]


@pytest.fixture(scope="module")
def full_root(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All refs of RefCOCO and RefCOCO+, val of RefCOCOg; empty annotation files, which need only be there."""
    source = shared / "data" / "refcoco_full_boxes"
    root = tmp_path_factory.mktemp("full")
    for name in ("refcoco/refs(unc).p", "refcoco+/refs(unc).p", "refcocog/refs(umd)_val.p"):
        path = root / name.replace("_val", "")
        path.parent.mkdir()
        path.write_bytes(gzip.decompress((source / f"{name}.gz").read_bytes()))
        (path.parent / "instances.json").write_text("{}")
    return root


def test_half_of_refcocog_val_is_refcoco_plus_training_data(full_root: Path, config_for: MakeConfig) -> None:
    """The counts of the paper's audit: 634 of 1,300 images, 2,851 of 4,896 sentences; 666 images are left."""
    refs = read_refs(full_root / "refcocog" / "refs(umd).p", "refcocog", "umd")
    evaluated = {ref.image_id for ref in refs}
    assert (len(evaluated), sum(len(ref.sentences) for ref in refs)) == (1300, 4896)
    for train in ("refcoco+", "refcoco"):
        found = seen_images(config_for(full_root, data__train=train), full_root, evaluated)
        assert found.reason is None
        assert found.images is not None
        assert (len(found.images), len(evaluated - set(found.images))) == (634, 666)
        assert list(found.images) == sorted(found.images)
        if train == "refcoco+":
            leaked = [ref for ref in refs if ref.image_id in set(found.images)]
            assert sum(len(ref.sentences) for ref in leaked) == 2851


def test_refcocos_own_splits_are_clean(full_root: Path, config_for: MakeConfig) -> None:
    refs = read_refs(full_root / "refcoco" / "refs(unc).p", "refcoco", "unc")
    for split in ("val", "testA", "testB"):
        evaluated = {ref.image_id for ref in refs if ref.split == split}
        config = config_for(full_root, data__train="refcoco+")
        assert seen_images(config, full_root, evaluated).images == ()
    trained = {ref.image_id for ref in refs if ref.split == "train"}
    assert training_images(full_root, "refcoco") == trained
    assert len(trained) == 16994


def test_what_is_counted(training_root: Path, config_for: MakeConfig) -> None:
    # train images 1 to 4, val images 5 and 6
    config = config_for(training_root)
    assert seen_images(config, training_root, [6, 4, 5, 1, 4]).images == (1, 4)
    assert seen_images(config, training_root, [5, 6]).images == ()
    assert seen_images(config, training_root, []).images == ()


def test_the_combined_set_is_the_one_that_is_trained_on(tmp_path: Path) -> None:
    synth = SynthConfig(image_size=32, train_images=12, eval_images=10)
    root = ensure_synth(synth, tmp_path / "synth", workers=1)
    expected = {ref.image_id for ref in load_combined(root).data.split("train")}
    assert training_images(root, "combined") == expected
    plain = set().union(*(training_images(root, name) for name in ("refcoco", "refcoco+", "refcocog")))
    assert expected < plain
    config = RunConfig().with_changes(
        {"data.train": "combined", "data.source": "synth", "data.synth": synth.model_dump()}
    )
    val = {ref.image_id for ref in load_refer(root, "refcocog").split("val")}
    assert seen_images(config, root, val).images == ()
    plus = config.with_changes({"data.train": "refcoco+"})
    leaked = val & {ref.image_id for ref in load_refer(root, "refcoco+").split("train")}
    assert leaked
    assert seen_images(plus, root, val).images == tuple(sorted(leaked))
    other = config.with_changes({"data.synth.seed": 1})
    assert "synthetic scenes" in str(seen_images(other, root, val).reason)


def test_other_data_of_the_same_name_is_no_answer(training_root: Path, config_for: MakeConfig, tmp_path: Path) -> None:
    digest = data_digest(training_root, "refcoco")
    assert seen_images(config_for(training_root, data__digest=digest), training_root, [1]).images == (1,)
    row = annotation(1, 1, [rectangle(0, 0, 5, 5)])
    other = write_refer(tmp_path / "other", [ref_record(1, 1, 1, "train", ["a"])], [row])
    found = seen_images(config_for(other, data__digest=digest), other, [1])
    assert found.images is None
    assert "another refcoco" in str(found.reason)


def test_a_training_set_that_is_not_here(training_root: Path, config_for: MakeConfig) -> None:
    found = seen_images(config_for(training_root, data__train="refcocog"), training_root, [1])
    assert found.images is None
    assert "RefCOCOg is not under this data root" in str(found.reason)
    scenes = config_for(training_root, data__source="synth")
    assert "synthetic scenes" in str(seen_images(scenes, training_root, [1]).reason)


def test_refs_are_read_once(training_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training_images(training_root, "refcoco")

    def refuse(*_: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr(seen, "read_refs", refuse)
    assert training_images(training_root, "refcoco") == {1, 2, 3, 4}
