"""A snapshot of a store: read once, read again when changed, calculations kept by what they follow from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from amlrepro.files import read_json, write_json
from amlrepro.suite import snapshot as module
from amlrepro.suite.snapshot import Snapshot
from amlrepro.suite.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path, "demo")


def test_a_file_is_read_once_and_again_when_it_has_changed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[Path] = []
    monkeypatch.setattr(module, "read_json", lambda path: reads.append(path) or read_json(path))
    path = store.folder / "runs" / "r" / "state.json"
    snapshot = Snapshot(store)
    assert snapshot.read(path) is None
    write_json(path, {"epoch": 1})
    assert [snapshot.read(path) for _ in range(3)] == [{"epoch": 1}] * 3
    assert len(reads) == 1
    write_json(path, {"epoch": 2})
    os.utime(path, ns=(0, 5))
    assert snapshot.read(path) == {"epoch": 2}
    assert len(reads) == 2


def test_it_tells_what_the_store_tells(store: Store) -> None:
    run = store.run("r")
    run.config.parent.mkdir(parents=True)
    run.write_state("failed", epoch=3, reason="no memory")
    snapshot = Snapshot(store)
    assert snapshot.status("r") == store.status("r")
    assert snapshot.status("absent") == store.status("absent")
    assert snapshot.state("r") == run.read_state()


def test_a_calculation_is_kept_by_kind_and_origin(store: Store) -> None:
    store.folder.mkdir(parents=True)
    done: list[str] = []

    def calculate(name: str, snapshot: Store, kind: str, origin: object) -> object:
        return snapshot.calculated(kind, origin, lambda: done.append(name) or [name])

    first = Snapshot(store)
    assert calculate("a", first, "mean", [1, "x"]) == ["a"]
    assert calculate("b", first, "mean", [1, "x"]) == ["a"]
    assert calculate("c", first, "difference", [1, "x"]) == ["c"]
    assert calculate("d", first, "mean", [2, "x"]) == ["d"]
    assert calculate("e", first, "mean", None) == ["e"]  # nothing is known of it: never kept
    first.keep()
    second = Snapshot(store)
    assert calculate("f", second, "mean", [1, "x"]) == ["a"]
    assert calculate("g", second, "mean", None) == ["g"]
    assert done == ["a", "c", "d", "e", "g"]
    assert calculate("h", store, "mean", [1, "x"]) == ["h"]  # a plain store keeps nothing


def test_what_is_remembered_is_made_once_a_snapshot(store: Store) -> None:
    snapshot = Snapshot(store)
    first = snapshot.remembered(("x", 1), lambda: ["made"])
    assert snapshot.remembered(("x", 1), lambda: ["again"]) is first
    assert snapshot.remembered(("x", 2), lambda: ["other"]) == ["other"]
    assert Snapshot(store).remembered(("x", 1), lambda: ["again"]) == ["again"]
    assert store.remembered(("x", 1), lambda: ["again"]) == ["again"]


@pytest.mark.parametrize("content", ["{ torn", "[1, 2]", ""])
def test_a_broken_cache_is_no_cache(store: Store, content: str) -> None:
    store.folder.mkdir(parents=True)
    (store.folder / "cache.json").write_text(content)
    snapshot = Snapshot(store)
    assert snapshot.calculated("mean", [1], lambda: 5) == 5
    snapshot.keep()
    assert list(read_json(store.folder / "cache.json").values()) == [5]
