"""Exporters after the fact: event files that TensorBoard's own reader opens, a data set whose card tells the truth."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from fake_store import fill, make_plan

from amlrepro.cli.main import main
from amlrepro.config import EvalConfig
from amlrepro.errors import UserError
from amlrepro.files import write_json
from amlrepro.metrics.records import Records
from amlrepro.suite.plan import Plan
from amlrepro.suite.record_dataset import RECORD, SUBJECT, export_records
from amlrepro.suite.store import Store
from amlrepro.suite.tensorboard import Clock, evaluation_title, export_tensorboard

pytest.importorskip("tensorboard")


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan("smoke", seeds=(0, 1), experiments=("table2",))


@pytest.fixture(scope="module")
def store(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Store:
    made = Store(tmp_path_factory.mktemp("store"), "smoke")
    fill(made, plan)
    for run_id in plan.runs:
        session = {"start": 1000.0, "git": {"commit": "abc"}, "versions": {"torch": "2"}, "host": "secret"}
        write_json(made.run(run_id).provenance, {"sessions": [session]})
    return made


def test_tensorboard_reads_what_the_history_says(store: Store, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    done = export_tensorboard(store, store.run_ids(), tmp_path / "tb")
    assert len(done.files) == len(store.run_ids()) == 8
    run_id = store.run_ids()[0]
    found = EventAccumulator(str(tmp_path / "tb" / run_id)).Reload()
    rows = store.run(run_id).history_rows()
    assert [(e.step, e.value) for e in found.Scalars("epoch/loss")] == [
        (row["epoch"], pytest.approx(row["loss"])) for row in rows
    ]
    meta = json.loads(next(store.run(run_id).evals.glob("refcoco+-testA-last-*.json")).read_text())
    records = Records.read(store.run(run_id).eval_records(meta["eval_id"]))
    (point,) = found.Scalars("refcoco+.testA/oIoU")
    assert point.step == 2
    assert point.value == pytest.approx(100 * records.intersection.sum() / records.union.sum(), rel=1e-6)
    (text,) = found.Tensors("config")
    assert b"horizon: 2" in text.tensor_proto.string_val[0]


def test_the_same_store_gives_the_same_bytes(store: Store, tmp_path: Path) -> None:
    first = export_tensorboard(store, store.run_ids(), tmp_path / "a").files
    second = export_tensorboard(store, store.run_ids(), tmp_path / "b").files
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert [path.relative_to(tmp_path / "a") for path in first] == [path.relative_to(tmp_path / "b") for path in second]


def test_the_clock_counts_seconds_of_training() -> None:
    rows = [{"kind": "epoch", "step": 10, "seconds": 20.0}, {"kind": "epoch", "step": 20, "seconds": 40.0}]
    clock = Clock(rows, 1000.0)
    assert [clock.at(step) for step in (0, 5, 10, 15, 20)] == [1000.0, 1010.0, 1020.0, 1040.0, 1060.0]
    assert clock.at(25) == 1075.0  # on at the mean rate, 60 s / 20
    assert Clock([], 1000.0).at(7) == 1000.0


def test_an_evaluation_is_called_by_what_is_not_as_usual() -> None:
    plain = EvalConfig(dataset="refcoco", split="val")
    assert evaluation_title(plain, "caris") == "refcoco.val"
    assert (
        evaluation_title(plain, "detris") == "refcoco.val, resized"
    )  # scored at the picture's own size by its authors
    special = EvalConfig(
        dataset="refcoco",
        split="val",
        split_by="google",
        perturbation="haze",
        severity=4,
        resolution="original",
        text="other",
        checkpoint="epoch10",
    )
    assert evaluation_title(special, "caris") == "refcoco(google).val, haze 4, original, other sentences, epoch10"


def front_matter(folder: Path) -> dict[str, Any]:
    head = (folder / "README.md").read_text().split("---\n")[1]
    return dict(yaml.safe_load(head))


def test_the_card_says_what_the_files_hold(store: Store, tmp_path: Path) -> None:
    done = export_records(store, store.run_ids(), tmp_path / "hf")
    card = front_matter(done.folder)
    named = {part["path"]: config["config_name"] for config in card["configs"] for part in config["data_files"]}
    on_disk = {path.relative_to(done.folder).as_posix() for path in done.folder.rglob("*.parquet")}
    assert set(named) == on_disk
    assert len(on_disk) == 3 + 2  # RefCOCO+ val, testA, testB, the evaluations, the runs
    info = {each["config_name"]: each for each in card["dataset_info"]}
    kinds = {"bool": "bool", "int64": "int64", "int32": "int32", "string": "string", "double": "float64"}
    total = 0
    for config in card["configs"]:
        features = {each["name"]: each["dtype"] for each in info[config["config_name"]]["features"]}
        counted = {each["name"]: each["num_examples"] for each in info[config["config_name"]]["splits"]}
        for part in config["data_files"]:
            assert re.fullmatch(r"\w+", part["split"])  # what the Hub takes for the name of a split
            table = pq.read_table(done.folder / part["path"])
            assert {field.name: kinds[str(field.type)] for field in table.schema} == features
            assert counted[part["split"]] == table.num_rows
            total += table.num_rows
    assert card["size_categories"] == ["1K<n<10K"]
    assert 1_000 <= total < 10_000
    assert card["license"] == "unknown"
    assert "synthetic" in card["tags"]
    assert "No evidence about the paper" in (done.folder / "README.md").read_text()


def test_records_come_back_as_they_were(store: Store, tmp_path: Path) -> None:
    export_records(store, store.run_ids(), tmp_path / "hf")
    table = pq.read_table(tmp_path / "hf" / "records" / "refcoco+" / "val.parquet")
    assert table.column_names == [*SUBJECT, *RECORD]
    subjects = np.array(table["subject"].to_pylist())
    evaluations = pq.read_table(tmp_path / "hf" / "evaluations.parquet").to_pylist()
    assert len(evaluations) == 8 * 3
    for row in evaluations:
        if row["split"] == "val":
            mine = table.take(np.flatnonzero(subjects == row["subject"]))
            records = Records(**{name: mine.column(name).to_numpy() for name in RECORD})
            assert records.digest() == row["records_sha256"]
            oiou = 100 * mine["intersection"].to_numpy().sum() / mine["union"].to_numpy().sum()
            assert row["oiou"] == pytest.approx(oiou)
            assert row["oiou_low"] < oiou < row["oiou_high"]
    assert {(row["model"], row["seed"]) for row in evaluations} == {(m, s) for m in ("caris", "detris") for s in (0, 1)}


def test_no_host_and_no_path_leave_the_house(store: Store, tmp_path: Path) -> None:
    done = export_records(store, store.run_ids(), tmp_path / "hf")
    (row, *_) = pq.read_table(done.folder / "runs.parquet").to_pylist()
    assert (row["commit"], json.loads(row["versions"])) == ("abc", {"torch": "2"})
    assert yaml.safe_load(row["config"])["train"]["horizon"] == 2
    assert "exec" not in yaml.safe_load(row["config"])
    for path in done.files:
        assert b"secret" not in path.read_bytes()


def test_a_run_of_an_older_version_is_left_out_and_named(store: Store, tmp_path: Path) -> None:
    import shutil

    copy = Store(tmp_path / "copy", "smoke")
    shutil.copytree(store.folder, copy.folder)
    old = copy.run_ids()[0]
    shutil.move(copy.run(old).path, copy.run("caris_old-0000000000-s0").path)
    done = export_records(copy, copy.run_ids(), tmp_path / "hf")
    assert done.left_out == ("caris_old-0000000000-s0: made by an older version",)
    subjects = pq.read_table(tmp_path / "hf" / "evaluations.parquet")["subject"].to_pylist()
    assert len(set(subjects)) == 7


def test_weights_from_files_are_told_by_their_hash(store: Store, tmp_path: Path) -> None:
    from fake_store import make_records

    copy = Store(tmp_path / "copy", "smoke")
    folder = copy.subject("0123456789abcdef").evals
    records, evaluation = (
        make_records(0.7, 12, 6, seed=1),
        EvalConfig(dataset="refcoco", split="val", checkpoint="file"),
    )
    records.write(folder / f"{evaluation.eval_id}.parquet")
    meta = {
        "eval": evaluation.model_dump(mode="json"),
        "sha256": "0123456789abcdef" * 4,
        "model": "caris",
        "origin": "official",
        "samples": 12,
        "records_sha256": records.digest(),
    }
    write_json(folder / f"{evaluation.eval_id}.json", meta)
    export_records(copy, [], tmp_path / "hf")
    (row,) = pq.read_table(tmp_path / "hf" / "evaluations.parquet").to_pylist()
    assert (row["subject"], row["method"], row["train"], row["epoch"]) == (
        "sha256:0123456789abcdef",
        "official",
        None,
        None,
    )
    assert row["miou"] == pytest.approx(100 * np.mean(records.intersection / records.union))
    export_records(copy, [], tmp_path / "without", subjects=False)
    assert pq.read_table(tmp_path / "without" / "evaluations.parquet").num_rows == 0


def command(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ending:
        main(["export", *map(str, arguments)])
    captured = capsys.readouterr()
    return int(ending.value.code or 0), captured.out, captured.err


def test_the_command(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--store", store.root, "--profile", "smoke")
    code, out, _ = command(capsys, "--tensorboard", tmp_path / "tb", "--huggingface", tmp_path / "hf", *options)
    assert code == 0
    assert f"8 files in {tmp_path / 'tb'}" in out
    assert "left out" not in out
    code, out, _ = command(capsys, "--tensorboard", tmp_path / "one", "--only", "detris_aml", *options)
    assert code == 2  # two seeds
    code, out, _ = command(capsys, "--tensorboard", tmp_path / "one", "--only", store.run_ids()[0], *options)
    assert [path.name for path in (tmp_path / "one").iterdir()] == [store.run_ids()[0]]


def test_nothing_is_overwritten_without_force(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--huggingface", tmp_path, "--store", store.root, "--profile", "smoke")
    (tmp_path / "README.md").write_text("mine")
    code, _, err = command(capsys, *options)
    assert (code, (tmp_path / "README.md").read_text()) == (2, "mine")
    assert "this folder is not empty" in err
    assert "--force" in err
    assert command(capsys, *options, "--force")[0] == 0
    assert (tmp_path / "README.md").read_text().startswith("---\npretty_name")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing to export to"),
        (["--tensorboard", "tb", "--profile", "demoo"], "'demo'"),
        (["--tensorboard", "tb", "--profile", "paper"], "there are runs of smoke: --profile smoke"),
        (["--tensorboard", "tb", "--profile", "smoke", "--only", "nothing"], "unknown run"),
    ],
)
def test_what_is_wrong_is_said(
    store: Store,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = command(capsys, *arguments, "--store", store.root)
    assert code == 2
    assert said in err
    assert not (tmp_path / "tb").exists()


def test_without_the_package_it_says_how_to_get_it(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.event_pb2", None)
    with pytest.raises(UserError, match=r"amlrepro\[export\]"):
        export_tensorboard(store, store.run_ids(), tmp_path / "tb")
    assert not (tmp_path / "tb").exists()
