"""Small REFER folders and configurations for the tests of this room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hand_made import HEIGHT, WIDTH, annotation, rectangle, ref_record, write_refer

from amlrepro.config import RunConfig
from amlrepro.models.spec import Protocol


@pytest.fixture
def two_images(tmp_path: Path) -> Path:
    """Two images, an object of two overlapping polygons, three sentences, one testA and one testB ref.

    Object 11: 10 x 10 squares at (0, 0) and (5, 5) overlapping in 5 x 5, so 175 pixels in the union. Object 22: a
    run-length code, column by column: 30 background pixels (column 0), then 60 foreground ones (columns 1 and 2).
    """
    refs = [
        ref_record(1, 11, 1, "testA", ["left man", "man in red"]),
        ref_record(2, 22, 2, "testB", ["the dog"]),
    ]
    squares = [rectangle(0, 0, 10, 10), rectangle(5, 5, 15, 15)]
    columns = {"size": [HEIGHT, WIDTH], "counts": [HEIGHT, 2 * HEIGHT, HEIGHT * (WIDTH - 3)]}
    return write_refer(tmp_path / "root", refs, [annotation(11, 1, squares), annotation(22, 2, columns)])


@pytest.fixture
def training_root(tmp_path: Path) -> Path:
    """Five train refs in four images and a val split in which image 5 has three refs, two of them to one object."""
    refs = [ref_record(i, 10 + i, min(i, 4), "train", [f"word{i} {j}" for j in range(i)]) for i in range(1, 6)]
    refs += [
        ref_record(6, 16, 5, "val", ["the cat", "grey cat"]),
        ref_record(7, 17, 6, "val", ["a lone tree"]),
        ref_record(8, 18, 5, "val", ["the dog"]),
        ref_record(9, 16, 5, "val", ["cat again"]),
    ]
    rows = {r["ann_id"]: annotation(r["ann_id"], r["image_id"], [rectangle(r["ref_id"], 2, 20, 9)]) for r in refs}
    return write_refer(tmp_path / "root", refs, list(rows.values()))


@pytest.fixture
def protocol() -> Protocol:
    """CARIS's input: stretched, ImageNet's mean and deviation."""
    return Protocol(
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        resize="stretch",
        vision_text_free=True,
        stage_one_mode="train",
        validate=lambda horizon: (horizon,),
        precision="float32",
    )


@pytest.fixture
def config_for() -> Callable[..., RunConfig]:
    """A small run configuration on a data root, with dotted changes."""

    def make(root: Path, **changes: Any) -> RunConfig:
        base = {"exec.data_root": str(root), "data.image_size": 32, "data.vocabulary": "words", "data.max_tokens": 6}
        dotted = {key.replace("__", "."): value for key, value in changes.items()}
        return RunConfig().with_changes({**base, "train.batch": 2, **dotted})

    return make


@pytest.fixture(autouse=True)
def private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the user's own cache file out of the tests."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
