"""Packing runs: the same bytes each time, nothing private in them, and what stays out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sharing_store import HOST, SECRETS, lab_store, tree, unpack

from amlrepro.config import load_config
from amlrepro.errors import UserError
from amlrepro.files import read_json, sha256_file, write_json
from amlrepro.metrics.summary import write_summary
from amlrepro.suite.sharing.manifest import MANIFEST, digest
from amlrepro.suite.sharing.origins import Origin, write_origin
from amlrepro.suite.sharing.packing import export_archive
from amlrepro.suite.sharing.scrub import without_paths
from amlrepro.suite.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return lab_store(tmp_path / "results")


def test_the_same_runs_give_the_same_file(store: Store, tmp_path: Path) -> None:
    first = export_archive(store, tmp_path / "a.zip", store.run_ids(), "lab-a")
    for run_id in store.run_ids():  # a report was made meanwhile, and somebody looked
        for meta in store.run(run_id).evals.glob("*.json"):
            write_summary(meta)
        store.run(run_id).write_state("done")
        store.run(run_id).beat()
    again = export_archive(store, tmp_path / "b.zip", list(reversed(store.run_ids())), "lab-a")
    assert sha256_file(first.file) == sha256_file(again.file)
    assert first.digest == again.digest == digest(unpack(first.file)[MANIFEST])
    other = export_archive(store, tmp_path / "c.zip", store.run_ids(), "lab-b")
    assert other.digest != first.digest


def test_the_manifest_names_every_file_with_its_hash(store: Store, tmp_path: Path) -> None:
    done = export_archive(store, tmp_path / "a.zip", store.run_ids(), "lab-a", checkpoints=True)
    entries = unpack(done.file)
    manifest = json.loads(entries.pop(MANIFEST))
    assert {f["path"]: f["sha256"] for f in manifest["files"]} == {n: digest(data) for n, data in entries.items()}
    assert manifest["laboratory"] == "lab-a"
    assert manifest["profile"] == "smoke"
    assert manifest["runs"] == store.run_ids()
    assert list(entries) == sorted(entries)


@pytest.mark.parametrize("checkpoints", [False, True])
def test_nothing_private_leaves(store: Store, tmp_path: Path, checkpoints: bool) -> None:
    before = b"".join(tree(store.folder).values())
    assert all(secret.encode() in before for secret in SECRETS if secret != "/scratch")
    done = export_archive(store, tmp_path / "a.zip", store.run_ids(), "lab-a", checkpoints=checkpoints)
    entries = unpack(done.file)
    for name, data in entries.items():
        for secret in (*SECRETS, str(tmp_path)):
            assert secret.encode() not in data, f"{secret} in {name}"
    assert not [name for name in entries if name.endswith((".npz", "log.txt", "job.json", "heartbeat"))]
    assert bool([name for name in entries if "checkpoints" in name]) == checkpoints


def test_what_matters_stays(store: Store, tmp_path: Path) -> None:
    run = store.run(store.run_ids()[0])
    entries = unpack(export_archive(store, tmp_path / "a.zip", [run.path.name], "lab-a", checkpoints=True).file)
    folder = f"runs/{run.path.name}"
    for records in run.evals.glob("*.parquet"):
        assert entries[f"{folder}/evals/{records.name}"] == records.read_bytes()
    (session,) = json.loads(entries[f"{folder}/provenance.json"])["sessions"]
    assert session["git"] == {"commit": "c0ffee", "dirty": False}
    assert session["hardware"] == {"cpus": 8, "gpus": ["NVIDIA A800"]}
    assert session["end"] - session["start"] == 60
    config = tmp_path / "config.yaml"
    config.write_bytes(entries[f"{folder}/config.yaml"])
    assert load_config(config).run_id == run.path.name
    assert load_config(config).exec.data_root is None
    weights = entries[f"{folder}/checkpoints/last.safetensors"]
    assert weights[-8:] == run.checkpoint("last").read_bytes()[-8:]
    pytest.importorskip("safetensors")
    from safetensors.numpy import load

    assert load(weights)["model/weight"].tolist() == [1.5, -2.0]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("no such file: /home/meyer/data/refs.p", "no such file: (path)"),
        ("~/data and C:\\Users\\meyer\\x", "(path) and (path)"),
        ("oIoU on refcoco+ val, 48 x 48", "oIoU on refcoco+ val, 48 x 48"),
        ("images/s, and/or timm/swin", "images/s, and/or timm/swin"),
        ("file:///scratch/a", "file:(path)"),
    ],
)
def test_paths_are_taken_out_of_texts(text: str, left: str) -> None:
    assert without_paths({"a": [text, 1, None]}) == {"a": [left, 1, None]}


def test_a_file_that_is_there_stays_unless_forced(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "a.zip"
    file.write_text("precious")
    with pytest.raises(UserError, match="there already"):
        export_archive(store, file, store.run_ids(), "lab-a")
    assert file.read_text() == "precious"
    assert export_archive(store, file, store.run_ids(), "lab-a", force=True).size == file.stat().st_size > 1000


def test_unfinished_and_others_runs_stay_out(store: Store, tmp_path: Path) -> None:
    first, second, *rest = store.run_ids()
    assert rest
    store.run(first).write_state("failed", reason=f"no room on {HOST}")
    write_origin(store.run(second), Origin("lab-b", "0" * 64, "0.1.0", 1.0))
    done = export_archive(store, tmp_path / "a.zip", [*store.run_ids(), "nothing-s0"], "lab-a")
    assert done.manifest.runs == rest
    assert done.left_out == {
        first: "it is not finished (failed)",
        second: "it is of laboratory lab-b",
        "nothing-s0": "there is nothing of it yet",
    }
    with pytest.raises(UserError, match="nothing to export"):
        export_archive(store, tmp_path / "b.zip", [first], "lab-a")
    assert not (tmp_path / "b.zip").exists()


def test_damaged_records_are_noticed_before_they_leave(store: Store, tmp_path: Path) -> None:
    run = store.run(store.run_ids()[0])
    meta = next(run.evals.glob("*.json"))
    write_json(meta, {**read_json(meta), "records_sha256": "0" * 64})
    with pytest.raises(UserError, match="not exported: the records are not those") as error:
        export_archive(store, tmp_path / "a.zip", store.run_ids(), "lab-a")
    assert meta.stem in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


@pytest.mark.parametrize("name", ["", "../b", "a/b", ".hidden", "a b", "ä", "x" * 41, "a."])
def test_names_of_laboratories(store: Store, tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="not a name for a laboratory"):
        export_archive(store, tmp_path / "a.zip", store.run_ids(), name)
