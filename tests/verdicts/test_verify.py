"""Verifying the harness with an injected evaluation: what is evaluated, what counts again, what is noted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fake_store import make_records
from tiny_refer import make_refer

from amlrepro.config import VERSIONS, EvalConfig
from amlrepro.data.digest import data_digest
from amlrepro.errors import UserError
from amlrepro.files import read_json, sha256_file, write_json
from amlrepro.metrics.records import Records
from amlrepro.suite.published import Published, pick_published
from amlrepro.suite.store import Store
from amlrepro.verdicts.harness import harness_path, read_harness
from amlrepro.verdicts.verify import choose_checkpoints, guess, verify_checkpoint


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """RefCOCO with two train and two val images, no test splits."""
    return make_refer(tmp_path / "data", train=2, val=2)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "caris_refcoco.pth"
    path.write_bytes(b"weights")
    return path


class Score:
    """An evaluation that gives made-up records of a quality, and counts its calls."""

    def __init__(self, quality: float = 0.7) -> None:
        self.quality, self.asked = quality, list[EvalConfig]()

    def __call__(self, file: Path, published: Published, asked: EvalConfig, folder: Path) -> None:
        self.asked.append(asked)
        records = make_records(self.quality, 8, 2, seed=len(self.asked))
        records.write(folder / f"{asked.eval_id}.parquet")
        meta = {
            "eval_id": asked.eval_id,
            "eval": asked.model_dump(mode="json"),
            "sha256": sha256_file(file),
            "samples": 8,
            "records_sha256": records.digest(),
            "scored_at": "448 x 448",
        }
        write_json(folder / f"{asked.eval_id}.json", meta)


def test_what_is_noted_follows_from_the_records(tmp_path: Path, root: Path, file: Path) -> None:
    store, score, told = Store(tmp_path / "results", "paper"), Score(), list[str]()
    entry = verify_checkpoint(store, pick_published("refcoco"), file, root, score, told.append)
    (asked,) = score.asked  # the other splits are not there
    assert (asked.dataset, asked.split, asked.resolution, asked.checkpoint) == ("refcoco", "val", "resized", "file")
    assert asked.data_digest == data_digest(root, "refcoco")
    val = entry["splits"]["val"]
    records = Records.read(store.subject(sha256_file(file)[:16]).eval_records(val["eval_id"]))
    assert val["values"]["oiou"] == pytest.approx(100 * records.intersection.sum() / records.union.sum())
    assert val["values"]["miou"] == pytest.approx(100 * (records.intersection / records.union).mean())
    assert val["published"] == {"oiou": "75.13", "miou": "77.41"}
    assert "has no testA refs" in entry["splits"]["testA"]["reason"]
    assert any("testA" in text for text in told)
    rows = {(row.split, row.metric): row for row in read_harness(store).of("caris", "refcoco")}
    assert rows["val", "oiou"].value == val["values"]["oiou"]
    assert "has no testA refs" in str(rows["testA", "miou"].reason)


def test_nothing_is_evaluated_twice(tmp_path: Path, root: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, score = Store(tmp_path / "results", "paper"), Score()

    def again(force: bool = False) -> dict[str, Any]:
        return verify_checkpoint(store, pick_published("refcoco"), file, root, score, print, force)

    first = again()
    assert again()["splits"] == first["splits"]
    assert len(score.asked) == 1
    again(force=True)
    assert len(score.asked) == 2
    file.write_bytes(b"other weights")
    second = again()
    assert len(score.asked) == 3
    assert second["sha256"] != first["sha256"]
    (only,) = read_json(harness_path(store))["checkpoints"]  # in the older one's place
    assert only["sha256"] == second["sha256"]
    table = root / "refcoco" / "instances.json"
    table.write_text(json.dumps({**json.loads(table.read_text()), "info": "changed"}))
    again()
    assert len(score.asked) == 4
    monkeypatch.setitem(VERSIONS, "caris", 2)  # a model that means something else by now
    assert again()["splits"]["val"]["components"]["caris"] == 2
    assert len(score.asked) == 5


def test_weights_that_change_after_they_passed_are_told(tmp_path: Path, root: Path, file: Path) -> None:
    store = Store(tmp_path / "results", "paper")
    verify_checkpoint(store, pick_published("refcoco"), file, root, Score(), print)
    assert not any("stale" in str(row.reason) for row in read_harness(store).rows)
    file.write_bytes(b"other weights")
    stale = [row for row in read_harness(store).rows if "stale" in str(row.reason)]
    assert [(row.checkpoint, row.split) for row in stale] == []  # a part of a split says nothing anyway
    values = read_json(harness_path(store))
    values["checkpoints"][0]["splits"]["val"]["samples"] = 10834
    write_json(harness_path(store), values)
    stale = [row for row in read_harness(store).rows if "stale: the weights" in str(row.reason)]
    assert [(row.checkpoint, row.split) for row in stale] == [("caris-refcoco", "val")] * 2


def test_an_interrupted_verification_keeps_what_it_has(tmp_path: Path, root: Path, file: Path) -> None:
    import pickle

    refs_file = root / "refcoco" / "refs(unc).p"
    refs = pickle.loads(refs_file.read_bytes())
    for number, ref in enumerate(refs):
        ref["split"] = ("val", "testA", "testB", "train")[number % 4]
    refs_file.write_bytes(pickle.dumps(refs, protocol=2))
    store, score = Store(tmp_path / "results", "paper"), Score()

    def interrupted(path: Path, published: Published, asked: EvalConfig, folder: Path) -> None:
        if asked.split == "testB":
            raise KeyboardInterrupt
        score(path, published, asked, folder)

    with pytest.raises(KeyboardInterrupt):
        verify_checkpoint(store, pick_published("refcoco"), file, root, interrupted, print)
    assert set(read_json(harness_path(store))["checkpoints"][0]["splits"]) == {"val", "testA"}
    verify_checkpoint(store, pick_published("refcoco"), file, root, score, print)
    assert [asked.split for asked in score.asked] == ["val", "testA", "testB"]


def test_a_checkpoint_that_changes_meanwhile(tmp_path: Path, root: Path, file: Path) -> None:
    score = Score()

    def disturbed(path: Path, published: Published, asked: EvalConfig, folder: Path) -> None:
        path.write_bytes(b"new")
        score(path, published, asked, folder)

    store = Store(tmp_path / "results", "paper")
    with pytest.raises(UserError, match="changed while"):
        verify_checkpoint(store, pick_published("refcoco"), file, root, disturbed, print)
    assert not harness_path(store).exists()


@pytest.mark.parametrize(
    ("name", "checkpoint"),
    [
        ("caris_refcoco.pth", "caris-refcoco"),
        ("caris_refcoco+.pth", "caris-refcoco+"),
        ("model_best_refcoco_plus.pth", "caris-refcoco+"),
        ("CARIS-RefCOCOplus.pth", "caris-refcoco+"),
        ("model_best_refcocog.pth", "caris-refcocog"),
        ("gref_umd.pth", "caris-refcocog"),
        ("detris_refcocog_google.pth", "detris-refcocog-google"),
        ("detris-b_refcoco+.pth", "detris-refcoco+"),
        ("gres_swin_base.pth", "rela-grefcoco"),
        ("caris_refcocog_google.pth", None),  # nothing is published of it
        ("caris_grefcoco.pth", None),
        ("swin_base.pth", None),
    ],
)
def test_names_of_files(name: str, checkpoint: str | None) -> None:
    assert guess(name) == checkpoint


def test_choosing(tmp_path: Path) -> None:
    for name in ("caris_refcoco+.pth", "caris_refcoco.pth", "notes_refcocog.txt"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "other.pth").write_bytes(b"")
    assert list(choose_checkpoints([], tmp_path)) == ["caris-refcoco", "caris-refcoco+"]
    given = choose_checkpoints([f"refcoco={tmp_path / 'other.pth'}"], tmp_path)
    assert given["caris-refcoco"].name == "other.pth"  # what is named goes first
    (tmp_path / "model_best_refcoco.pth").write_bytes(b"")
    for named, folder, said in [
        ([], tmp_path, "several files look like caris-refcoco"),
        ([], tmp_path / "none", "not a folder"),
        (["refcoco"], None, "ID=FILE"),
        (["refcocco=x"], None, "'caris-refcoco'"),
        (["refcoco=absent.pth"], None, "no such checkpoint"),
        ([f"refcoco={tmp_path / 'other.pth'}"] * 2, None, "two files are given"),
    ]:
        with pytest.raises(UserError) as told:
            choose_checkpoints(named, folder)
        assert said in str(told.value)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no file here is named"):
        choose_checkpoints([], tmp_path / "empty")
