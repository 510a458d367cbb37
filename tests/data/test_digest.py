"""Digests of annotation files and the reasons why a split cannot be used."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from amlrepro.data import digest
from amlrepro.data.digest import available_splits, cache_file, data_digest, split_counts
from amlrepro.errors import UserError


def expected_digest(*paths: Path) -> str:
    joined = "".join(hashlib.sha256(path.read_bytes()).hexdigest() for path in paths)
    return hashlib.sha256(joined.encode()).hexdigest()[:12]


def test_digest_by_its_definition(two_images: Path) -> None:
    folder = two_images / "refcoco"
    assert data_digest(two_images, "refcoco") == expected_digest(folder / "refs(unc).p", folder / "instances.json")


def test_digest_knows_content_and_not_place_or_time(two_images: Path, tmp_path: Path) -> None:
    first = data_digest(two_images, "refcoco")
    copy = tmp_path / "copy"
    shutil.copytree(two_images, copy)
    os.utime(copy / "refcoco" / "instances.json", (1, 1))
    assert data_digest(copy, "refcoco") == first
    with (copy / "refcoco" / "instances.json").open("a") as f:
        f.write(" ")
    assert data_digest(copy, "refcoco") != first


def test_files_are_hashed_once_and_the_cache_may_be_lost(two_images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = data_digest(two_images, "refcoco")
    with monkeypatch.context() as patch:
        patch.setattr(digest, "sha256_file", lambda path: pytest.fail("hashed again"))
        assert data_digest(two_images, "refcoco") == first
    for damage in (b"", b"[1]", b'{"sha256', b"\xff\xfe"):
        cache_file().write_bytes(damage)
        assert data_digest(two_images, "refcoco") == first
    shutil.rmtree(cache_file().parent)
    assert data_digest(two_images, "refcoco") == first
    shutil.rmtree(cache_file().parent)
    cache_file().parent.parent.joinpath("amlrepro").write_text("a file where the folder should be")
    assert data_digest(two_images, "refcoco") == first


def test_digest_of_the_combined_set_covers_its_parts(shared: Path) -> None:
    root = shared / "data" / "refcoco_mini"
    names = [("refcoco", "unc"), ("refcoco+", "unc"), ("refcocog", "umd")]
    paths = [root / name / file for name, owner in names for file in (f"refs({owner}).p", "instances.json")]
    assert data_digest(root, "combined") == expected_digest(*paths)
    with pytest.raises(UserError, match="no refs of split owner"):
        data_digest(root, "refcoco", "google")


def test_reasons_on_the_miniature_real_data(shared: Path) -> None:
    root = shared / "data" / "refcoco_mini"
    reasons = available_splits(root, "refcoco")
    assert list(reasons) == ["train", "val", "testA", "testB"]
    assert [split for split, reason in reasons.items() if reason is None] == ["train", "testA", "testB"]
    assert "no val refs" in (reasons["val"] or "")
    assert available_splits(root, "refcocog")["val"] is None
    assert available_splits(root, "combined") == {"train": None}
    assert split_counts(root, "refcoco") == {"testA": 10, "testB": 4, "train": 47}


def test_reasons_for_missing_folders_and_files(two_images: Path) -> None:
    reason = available_splits(two_images, "refcocog")["test"]
    assert reason == "RefCOCOg is not under this data root: refcocog"
    reason = available_splits(two_images, "refcoco", "google")["val"]
    assert reason == "no refs of split owner 'google': refcoco/refs(google).p"
    assert "needs RefCOCO+" in (available_splits(two_images, "combined")["train"] or "")
    assert available_splits(two_images / "none", "refcoco")["val"] == "the data root does not exist"
