"""The harness: unverified until official checkpoints come out as published, and no longer when something changed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from amlrepro.config import VERSIONS
from amlrepro.data.specs import dataset_spec
from amlrepro.errors import UserError
from amlrepro.files import sha256_file, write_json
from amlrepro.suite.printed import PrintedNumber
from amlrepro.suite.published import load_published
from amlrepro.suite.store import Store
from amlrepro.verdicts.harness import (
    Harness,
    allowed,
    as_json,
    component_versions,
    harness_path,
    read_harness,
    within,
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results", "paper")


def outcome(store: Store, folder: Path, shift: float = 0.0) -> dict[str, Any]:
    """A `harness.json` in which all checkpoints came out as published, but for `shift`; its weights lie in `folder`."""
    entries = []
    for published in load_published():
        file = folder / f"{published.id}.pth"
        file.write_bytes(published.id.encode())
        stat = file.stat()
        splits = {
            split: {
                "eval_id": f"{published.data}-{split}-file-0000",
                "data_digest": "d",
                "samples": dataset_spec(published.data).partition(published.split_by).splits[split].sentences or 10,
                "records_sha256": "r",
                "components": component_versions(published.model, values),
                "published": {name: number.text for name, number in values.items()},
                "values": {name: number + shift for name, number in values.items()},
            }
            for split, values in published.values.items()
        }
        entry = {
            "id": published.id,
            "file": str(file),
            "stat": [stat.st_size, stat.st_mtime_ns],
            "sha256": sha256_file(file),
            "checked": 1.7e9,
            "splits": splits,
        }
        entries.append(entry)
    return {"format": 1, "checkpoints": entries}


def read(store: Store, values: dict[str, Any]) -> Harness:
    write_json(harness_path(store), values)
    return read_harness(store)


def test_nothing_evaluated(store: Store) -> None:
    harness = read_harness(store)
    assert not harness.verified
    assert harness.says.startswith("harness unverified: no official checkpoint")
    assert len(harness.rows) == 2 * (8 + 9 + 1)  # two metrics on each split of CARIS, DETRIS, ReLA
    assert not harness.verified_for("caris")
    demo = read_harness(Store(store.root, "demo"))
    assert demo.says.startswith("harness unverified: small models")


def test_all_came_out(store: Store, tmp_path: Path) -> None:
    harness = read(store, outcome(store, tmp_path, 0.04))
    assert harness.verified
    assert (
        harness.says
        == "harness verified: 16 published values of CARIS on RefCOCO, RefCOCO+, RefCOCOg came out within 0.05"
    )
    assert harness.checked == "2023-11-14T22:13:20+00:00"
    assert all(row.passed for row in harness.rows)
    assert read_harness(Store(store.root, "pilot")).verified  # the same models and data
    assert not read_harness(Store(store.root, "demo")).verified
    shown = as_json(harness)
    assert shown["rows"][0]["published"] == "75.13"
    assert shown["rows"][0]["value"] == pytest.approx(75.17)


def test_what_is_too_far_off_fails_and_what_is_published_with_one_decimal_may_be_off_by_its_rounding(
    store: Store, tmp_path: Path
) -> None:
    harness = read(store, outcome(store, tmp_path, -0.08))
    assert not harness.verified
    assert "CARIS on RefCOCO val, oIoU came to 75.05, published 75.13: -0.08, more than 0.05" in harness.says
    assert "and 15 more of 16 values" in harness.says
    assert harness.verified_for("detris")  # published with one decimal: 0.05 and half a tenth
    assert not harness.verified_for("caris")
    assert not harness.verified_for("rela")


@pytest.mark.parametrize(
    ("value", "published", "inside"),
    [
        (75.18, "75.13", True),
        (75.1806, "75.13", False),
        (75.08, "75.13", True),
        (76.1, "76.0", True),
        (76.11, "76.0", False),
    ],
)
def test_the_edge_of_the_tolerance(value: float, published: str, inside: bool) -> None:
    assert within(value, PrintedNumber(published)) is inside
    assert allowed(PrintedNumber("63.10")) == 0.05


def test_one_checkpoint_or_split_is_not_enough(store: Store, tmp_path: Path) -> None:
    values = outcome(store, tmp_path)
    values["checkpoints"] = [entry for entry in values["checkpoints"] if entry["id"] != "caris-refcocog"]
    harness = read(store, values)
    assert not harness.verified
    assert "CARIS on RefCOCOg val, oIoU: not evaluated, and 3 more of 16 values" in harness.says
    assert harness.verified_for("caris", "refcoco")
    values["checkpoints"][0]["splits"]["testA"] = {"reason": "split testA is empty"}
    harness = read(store, values)
    assert "CARIS on RefCOCO testA, oIoU: split testA is empty" in harness.says
    assert not harness.verified_for("caris", "refcoco")


def test_what_has_changed_since_does_not_count(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = outcome(store, tmp_path)
    weights = tmp_path / "caris-refcoco.pth"
    os.utime(weights, (1, 1))  # touched: the same bytes
    assert read(store, values).verified
    weights.write_bytes(b"other weights")
    harness = read(store, values)
    assert "stale: the weights in caris-refcoco.pth changed since" in harness.says
    assert [row.checkpoint for row in harness.rows if not row.passed] == ["caris-refcoco"] * 6
    weights.unlink()  # nothing says that they are others
    assert read(store, values).verified

    monkeypatch.setitem(VERSIONS, "caris", 2)
    harness = read_harness(store)
    assert "stale: caris changed since" in harness.says
    assert harness.verified_for("detris")
    monkeypatch.undo()

    values["checkpoints"][0]["splits"]["val"]["published"]["oiou"] = "75.00"
    assert "the published value was 75.00 then" in read(store, values).says


def test_a_model_of_its_own(store: Store, tmp_path: Path) -> None:
    """Claims about DETRIS wait for its checkpoints too; a model of which nothing is published for CARIS's alone."""
    values = outcome(store, tmp_path)
    values["checkpoints"] = [entry for entry in values["checkpoints"] if not entry["id"].startswith("detris")]
    harness = read(store, values)
    assert harness.verified
    assert harness.unverified(["caris", "rela", "plugin"]) == []
    (reason,) = harness.unverified(["caris", "detris", "detris"])
    assert reason == "harness unverified for DETRIS: DETRIS on RefCOCO val, oIoU: not evaluated, 0 of 18 values passed"
    nothing = read(store, {"format": 1, "checkpoints": []})
    assert nothing.unverified(["detris"]) == [nothing.says]


def test_a_part_of_a_split_says_nothing(store: Store, tmp_path: Path) -> None:
    values = outcome(store, tmp_path)
    values["checkpoints"][0]["splits"]["val"]["samples"] = 20
    assert "20 samples, the official split has 10,834" in read(store, values).says


def test_replaced_records_are_stale(store: Store, tmp_path: Path) -> None:
    values = outcome(store, tmp_path)
    first = values["checkpoints"][0]
    meta = store.subject(first["sha256"][:16]).eval_meta(first["splits"]["val"]["eval_id"])
    write_json(meta, {"records_sha256": "r"})
    assert read(store, values).verified
    write_json(meta, {"records_sha256": "other"})
    assert "its records were replaced since" in read(store, values).says


def test_a_file_of_something_else(store: Store) -> None:
    write_json(harness_path(store), {"rows": []})
    with pytest.raises(UserError, match="not an outcome"):
        read_harness(store)
