"""Synthetic data sets: official formats, partitions, statistics, determinism, reuse and refusal."""

from __future__ import annotations

import hashlib
import json
import pickle
import subprocess
import sys
from collections import Counter
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle
from pycocotools.coco import COCO

from amlrepro.data.synth import ensure_synth, synth_digest, synth_manifest
from amlrepro.data.synth.draw import render
from amlrepro.data.synth.outline import mask_polygons
from amlrepro.data.synth.scene import compose
from amlrepro.errors import UserError
from amlrepro.sections import SynthConfig

CONFIG = SynthConfig(train_images=60, eval_images=15)
TINY = SynthConfig(train_images=20, eval_images=4, image_size=64, seed=5)
OWNERS = {"refcoco": "unc", "refcoco+": "unc", "refcocog": "umd"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ensure_synth(CONFIG, tmp_path_factory.mktemp("synth") / "data", workers=1)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ensure_synth(TINY, tmp_path_factory.mktemp("tiny") / "data", workers=1)


def refs_of(root: Path, dataset: str) -> list[dict[str, Any]]:
    return list(pickle.loads((root / dataset / f"refs({OWNERS[dataset]}).p").read_bytes()))


def hashes(root: Path) -> dict[str, str]:
    return {
        p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in root.rglob("*")
        if p.is_file()
    }


@pytest.mark.parametrize("dataset", [*OWNERS, "grefcoco"])
def test_instances_read_by_pycocotools(root: Path, dataset: str, capsys: pytest.CaptureFixture[str]) -> None:
    coco = COCO(str(root / dataset / "instances.json"))
    assert {c["name"] for c in coco.loadCats(coco.getCatIds())} >= {"person", "car", "sports ball"}
    for image in coco.loadImgs(coco.getImgIds()):
        with Image.open(root / "images" / "train2014" / image["file_name"]) as picture:
            assert (picture.width, picture.height) == (image["width"], image["height"])
            assert picture.format == "JPEG"
        assert min(picture.size) == CONFIG.image_size
        total = np.zeros((image["height"], image["width"]), int)
        for a in coco.loadAnns(coco.getAnnIds([image["id"]])):
            inside = coco.annToMask(a)
            rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
            x, y, w, h = a["bbox"]
            assert inside.sum() == pytest.approx(a["area"], rel=0.05, abs=8)
            assert x <= columns[0] <= columns[-1] < x + w
            assert y <= rows[0] <= rows[-1] < y + h
            total += inside
        assert total.max() <= 1  # masks are what is visible: they never overlap


@pytest.mark.parametrize("dataset", list(OWNERS))
def test_refs_have_the_official_fields(root: Path, dataset: str) -> None:
    annotations = {a["id"]: a for a in json.loads((root / dataset / "instances.json").read_text())["annotations"]}
    refs = refs_of(root, dataset)
    assert len({r["ref_id"] for r in refs}) == len(refs)
    sentence_ids = [s["sent_id"] for r in refs for s in r["sentences"]]
    assert len(set(sentence_ids)) == len(sentence_ids)
    for ref in refs:
        keys = {"ref_id", "ann_id", "image_id", "category_id", "split", "sent_ids", "sentences", "file_name"}
        assert set(ref) == keys
        found = annotations[ref["ann_id"]]
        assert (found["image_id"], found["category_id"]) == (ref["image_id"], ref["category_id"])
        assert ref["sent_ids"] == [s["sent_id"] for s in ref["sentences"]]
        for s in ref["sentences"]:
            assert set(s) == {"sent_id", "raw", "sent", "tokens"}
            assert s["sent"].split() == s["tokens"]
            assert s["raw"].lower().rstrip(".") == s["sent"]


def test_grefs_have_the_official_fields(root: Path) -> None:
    annotations = {a["id"]: a for a in json.loads((root / "grefcoco" / "instances.json").read_text())["annotations"]}
    for ref in json.loads((root / "grefcoco" / "grefs(unc).json").read_text()):
        if ref["ann_id"] == [-1]:
            assert ref["category_id"] == [-1]
        else:
            assert [annotations[k]["category_id"] for k in ref["ann_id"]] == ref["category_id"]
            assert {annotations[k]["image_id"] for k in ref["ann_id"]} == {ref["image_id"]}


def test_partitions(root: Path) -> None:
    splits = {}
    for dataset in OWNERS:
        by_image: dict[int, set[str]] = {}
        for ref in refs_of(root, dataset):
            by_image.setdefault(ref["image_id"], set()).add(ref["split"])
        assert all(len(found) == 1 for found in by_image.values())
        splits[dataset] = {image: next(iter(found)) for image, found in by_image.items()}
        sizes = Counter(splits[dataset].values())
        assert sizes.pop("train") == CONFIG.train_images
        names = {"val", "test"} if dataset == "refcocog" else {"val", "testA", "testB"}
        assert sizes == dict.fromkeys(names, CONFIG.eval_images)
    assert splits["refcoco"] == splits["refcoco+"]
    both = Counter((splits["refcoco"][k], splits["refcocog"][k]) for k in splits["refcoco"] & splits["refcocog"].keys())
    # what the combined training set must leave out, in both directions
    pairs = {("val", "train"), ("testA", "train"), ("testB", "train"), ("train", "val"), ("train", "test")}
    assert set(both) == pairs | {("train", "train")}


@pytest.mark.parametrize("dataset", ["refcoco", "refcoco+"])
def test_focus_of_the_test_splits(root: Path, dataset: str) -> None:
    categories: dict[str, set[int]] = {}
    for ref in refs_of(root, dataset):
        categories.setdefault(ref["split"], set()).add(ref["category_id"])
    assert categories["testA"] == {1}
    assert 1 not in categories["testB"]
    assert categories["train"] == {1, 3, 9, 18, 28, 37, 38, 47}


@pytest.mark.parametrize(
    ("dataset", "words", "others", "sentences", "refs"),
    # words and others: Appendix A.1; sentences a ref and refs an image: the published totals
    [
        ("refcoco", 3.61, 3.9, 142210 / 50000, 50000 / 19994),
        ("refcoco+", 3.53, 3.9, 141564 / 49856, 49856 / 19992),
        ("refcocog", 8.43, 1.6, 95010 / 49822, 49822 / 25799),
    ],
)
def test_statistics_resemble_the_real_ones(
    root: Path, dataset: str, words: float, others: float, sentences: float, refs: float
) -> None:
    found = refs_of(root, dataset)
    instances = json.loads((root / dataset / "instances.json").read_text())
    of_class = Counter((a["image_id"], a["category_id"]) for a in instances["annotations"])
    assert fmean(len(s["tokens"]) for r in found for s in r["sentences"]) == pytest.approx(words, rel=0.07)
    # the paper's count leaves out the referent itself: on the official files that reading gives its 3.9
    assert fmean(of_class[r["image_id"], r["category_id"]] - 1 for r in found) == pytest.approx(others, rel=0.2)
    assert fmean(len(r["sentences"]) for r in found) == pytest.approx(sentences, rel=0.07)
    per_image = Counter(r["image_id"] for r in found)
    assert fmean(per_image.values()) == pytest.approx(refs, rel=0.12)
    assert fmean(count > 1 for count in per_image.values()) > 0.7  # "a sentence about another object" exists


def test_closed_vocabulary(root: Path) -> None:
    words = {word for d in OWNERS for r in refs_of(root, d) for s in r["sentences"] for word in s["tokens"]}
    words |= {
        word
        for r in json.loads((root / "grefcoco" / "grefs(unc).json").read_text())
        for s in r["sentences"]
        for word in s["tokens"]
    }
    assert 60 <= len(words) <= 120
    assert max(len(s["tokens"]) for d in OWNERS for r in refs_of(root, d) for s in r["sentences"]) <= 18


def test_polygons_give_the_visible_mask() -> None:
    compared = 0
    for index in range(25):
        rng = np.random.default_rng([1, index])
        picture = render(compose(rng, 112, "crowd" if index % 2 else "varied", "any"), rng)
        for mask in picture.masks:
            if mask.sum() <= 100:
                continue
            drawn = rle.decode(rle.merge(rle.frPyObjects(mask_polygons(mask), *mask.shape))).astype(bool)
            assert (drawn & mask).sum() / (drawn | mask).sum() >= 0.95
            compared += 1
    assert compared > 80


def test_polygons_of_a_ring_and_of_parts() -> None:
    mask = np.zeros((20, 30), bool)
    mask[2:12, 3:14] = True
    mask[5:8, 6:10] = False  # a hole
    mask[14:19, 20:28] = True  # a second part
    mask[0, 0] = True  # a speck, left out
    polygons = mask_polygons(mask)
    drawn = rle.decode(rle.merge(rle.frPyObjects(polygons, 20, 30))).astype(bool)
    mask[0, 0] = False
    np.testing.assert_array_equal(drawn, mask)
    assert mask_polygons(mask[13:], (0, 13)) == [[20.0, 14.0, 28.0, 14.0, 28.0, 19.0, 20.0, 19.0]]


def test_same_bytes_for_one_and_two_workers(tiny: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    again = ensure_synth(TINY, tmp_path / "b", lambda done, total: seen.append((done, total)), workers=2)
    assert hashes(again) == hashes(tiny)
    total = seen[-1][1]
    assert total > 25  # more than one chunk, so both workers draw
    assert seen[0] == (0, total)
    assert seen[-1] == (total, total)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_another_seed_gives_other_scenes(tiny: Path, tmp_path: Path) -> None:
    other = ensure_synth(TINY.model_copy(update={"seed": 6}), tmp_path / "c", workers=1)
    pictures = {name: value for name, value in hashes(tiny).items() if name.endswith(".jpg")}
    assert pictures.keys() <= hashes(other).keys()
    assert not set(pictures.values()) & set(hashes(other).values())


def test_reuse_and_refusal(tmp_path: Path) -> None:
    config = SynthConfig(train_images=2, eval_images=1, image_size=48)
    root = ensure_synth(config, tmp_path / "data", workers=1)
    before = {p: p.stat().st_mtime_ns for p in root.rglob("*")}
    calls: list[int] = []
    assert ensure_synth(config, root, lambda done, total: calls.append(done)) == root
    assert not calls
    assert {p: p.stat().st_mtime_ns for p in root.rglob("*")} == before
    other = SynthConfig(train_images=2, eval_images=1, image_size=48, seed=1)
    with pytest.raises(UserError, match="other synthetic data"):
        ensure_synth(other, root, workers=1)
    assert {p: p.stat().st_mtime_ns for p in root.rglob("*")} == before
    ensure_synth(other, root, workers=1, force=True)
    manifest = synth_manifest(root)
    assert manifest is not None
    assert manifest["digest"] == synth_digest(other)
    assert sorted(p.name for p in tmp_path.iterdir() if not p.name.endswith(".lock")) == ["data"]


def test_damage_is_noticed(tmp_path: Path) -> None:
    config = SynthConfig(train_images=1, eval_images=1, image_size=48)
    root = ensure_synth(config, tmp_path / "data", workers=1)
    next((root / "images" / "train2014").iterdir()).unlink()
    with pytest.raises(UserError, match="damaged"):
        ensure_synth(config, root, workers=1)


def test_a_folder_with_something_else_is_never_touched(tmp_path: Path) -> None:
    precious = tmp_path / "data" / "thesis.tex"
    precious.parent.mkdir()
    precious.write_text("years of work")
    for force in (False, True):
        with pytest.raises(UserError, match="never overwritten"):
            ensure_synth(TINY, precious.parent, workers=1, force=force)
    assert precious.read_text() == "years of work"
    assert list(precious.parent.iterdir()) == [precious]


def test_digest_is_of_parameters_alone() -> None:
    assert synth_digest(SynthConfig()) == synth_digest(SynthConfig(seed=0, train_images=400))
    variants = [{"seed": 1}, {"image_size": 113}, {"train_images": 401}, {"eval_images": 61}, {"noise": 0.5}]
    digests = {synth_digest(SynthConfig.model_validate(v)) for v in variants}
    assert len(digests | {synth_digest(SynthConfig())}) == 6


def test_interface_loads_no_torch() -> None:
    code = "import sys, amlrepro.data.synth; print([m for m in ('torch', 'pandas', 'numpy') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_command(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from amlrepro.cli.data import app

    runner = CliRunner()
    arguments = ["synth", str(tmp_path / "d"), "--images", "2", "--eval-images", "1", "--size", "48", "--workers", "1"]
    first = runner.invoke(app, [*arguments, "--json"])
    assert first.exit_code == 0
    made = json.loads(first.stdout)
    assert made["made"] == made["pictures"]["files"] > 0
    assert made["counts"]["refcoco"]["train"]["images"] == 2
    second = runner.invoke(app, arguments)
    assert second.exit_code == 0
    assert "already there" in second.stdout
    third = runner.invoke(app, [*arguments, "--seed", "1"])
    assert isinstance(third.exception, UserError)
