"""Imported logs: to which row they are bound, and in which cells they are shown, marked and never mixed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fake_store import finish_run, make_plan, make_records, write_records
from official_logs import evaluation, training

from amlrepro.cli.main import main
from amlrepro.data.specs import dataset_spec
from amlrepro.errors import UserError
from amlrepro.report.export import csv_text, json_value
from amlrepro.report.latex import fragment
from amlrepro.report.markdown import markdown
from amlrepro.report.tabledata import build_table
from amlrepro.suite.binding import bind
from amlrepro.suite.cells import CellReader, CellResult
from amlrepro.suite.experiment import load_experiment
from amlrepro.suite.imported import read_imports, write_import
from amlrepro.suite.inputs import Inputs
from amlrepro.suite.official_log import OfficialLog
from amlrepro.suite.official_reader import read_log
from amlrepro.suite.plan import Plan
from amlrepro.suite.planner import build_plan
from amlrepro.suite.printed import load_printed
from amlrepro.suite.profile import load_profile
from amlrepro.suite.rows import Choices
from amlrepro.suite.store import Store

LAST = {49: (69.3, 65.25)}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results", "paper")


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_of("inferred")


def plan_of(preset: str) -> Plan:
    """Table 1 in the paper's profile, without looking at data."""
    return build_plan([load_experiment("table1")], load_profile("paper"), Inputs("refer"), Choices(preset=preset))


def log_of(tmp_path: Path, lines: list[str], name: str = "log.txt") -> OfficialLog:
    (tmp_path / name).write_text("\n".join(lines) + "\n")
    return read_log(tmp_path / name)


def trained(tmp_path: Path, name: str = "log.txt", **changes: Any) -> OfficialLog:
    return log_of(tmp_path, training(50, changes.pop("scores", LAST), **{"updates": 2642, **changes}), name)


def cell(store: Store, plan: Plan, row: str, column: str, block: str = "oiou") -> CellResult:
    return CellReader(store, plan, "table1").cell(block, row, column)


def test_a_training_log_fills_the_val_cell_of_its_row_and_no_other(tmp_path: Path, store: Store, plan: Plan) -> None:
    log = trained(tmp_path)
    write_import(store, log, bind(log, train="refcoco+"))
    found = cell(store, plan, "caris", "refcoco+.val")
    assert found.imported is not None
    assert found.imported.value == 65.25
    line = (tmp_path / "log.txt").read_text().split("\n").index("Overall IoU [65.25]") + 1
    assert found.imported.says == "from an imported log, no records and so no interval: log.txt, after epoch 50"
    assert found.imported.places == (f"log.txt line {line}",)
    assert (found.value, found.seeds, found.interval, found.difference) == (None, (), None, None)
    others = CellReader(store, plan, "table1").block("oiou")
    assert [key for key, result in others.items() if result.imported] == [("caris", "refcoco+.val")]
    miou = CellReader(store, plan, "table1").block("miou")
    assert {key: r.imported.value for key, r in miou.items() if r.imported} == {("caris", "refcoco+.val"): 69.3}


def test_our_own_number_goes_first(tmp_path: Path, store: Store, plan: Plan) -> None:
    log = trained(tmp_path)
    write_import(store, log, bind(log, train="refcoco+"))
    (request,) = cell(store, plan, "caris", "refcoco+.val").cell.evaluations
    run = plan.runs[request.run_id]
    finish_run(store, run)
    write_records(store, run, request.eval, make_records(0.7, 20, 5, seed=1))
    found = cell(store, plan, "caris", "refcoco+.val")
    assert found.value is not None
    assert found.imported is None
    assert len(found.seeds) == 1


def test_a_calculated_cell_takes_no_imported_part(tmp_path: Path, store: Store, plan: Plan) -> None:
    splits = {
        column: column.split(".") for column in (c.key for c in load_printed("table1_oiou").columns) if "." in column
    }
    for number, (column, (data, split)) in enumerate(splits.items()):
        samples = dataset_spec(data).partition(None).splits[split].sentences
        log = log_of(tmp_path, evaluation(samples or 0, 70.0 + number, 60.0 + number), f"{column}.txt")
        options = {"train": data, "data": f"{data}:{split}", "preset": "baseline", "checkpoint": "last"}
        write_import(store, log, bind(log, **options))
        assert cell(store, plan, "caris", column).imported is not None
    average = cell(store, plan, "caris", "avg")
    assert (average.value, average.imported) == (None, None)


def test_the_reading_decides_which_row(tmp_path: Path, store: Store, plan: Plan) -> None:
    log = trained(tmp_path, losses=("org_loss", "sub_loss"))
    binding = bind(log, train="refcoco+")
    assert binding.preset == "released"
    write_import(store, log, binding)
    assert cell(store, plan, "caris_aml", "refcoco+.val").imported is None  # the plan's reading is `inferred`
    assert cell(store, plan_of("released"), "caris_aml", "refcoco+.val").imported is not None


def test_epochs_that_are_not_there_are_not_guessed(tmp_path: Path, store: Store, plan: Plan) -> None:
    log = trained(tmp_path, scores={40: (69.0, 65.0)})
    write_import(store, log, bind(log, train="refcoco+"))
    assert cell(store, plan, "caris", "refcoco+.val").imported is None


def test_a_batch_that_was_another_is_said(tmp_path: Path, store: Store, plan: Plan) -> None:
    log = trained(tmp_path, updates=42278)
    write_import(store, log, bind(log, train="refcoco+"))
    (request,) = cell(store, plan, "caris", "refcoco+.val").cell.evaluations
    refs = plan.runs[request.run_id].refs
    found = cell(store, plan, "caris", "refcoco+.val").imported
    assert found is not None
    if refs:
        assert f"of 42278 updates each (ours have {refs // 16})" in found.says


def test_an_evaluation_s_log(tmp_path: Path, store: Store, plan: Plan) -> None:
    log = log_of(tmp_path, evaluation(5726, 74.8, 72.1))
    binding = bind(log, train="refcoco+", data="refcoco+:testA", preset="baseline", checkpoint="best")
    write_import(store, log, binding)
    found = cell(store, plan, "caris", "refcoco+.testA").imported
    assert found is not None
    assert found.value == 72.1
    assert "checkpoint best (chosen on val)" in found.says
    exact = log_of(tmp_path, evaluation(5726, 74.0, 71.9), "last.txt")
    write_import(
        store, exact, bind(exact, train="refcoco+", data="refcoco+:testA", preset="baseline", checkpoint="last")
    )
    found = cell(store, plan, "caris", "refcoco+.testA").imported
    assert found is not None
    assert found.value == 71.9  # the very checkpoint goes first


def test_original_size_is_another_protocol(tmp_path: Path, store: Store, plan: Plan) -> None:
    log = log_of(tmp_path, evaluation(5726, 74.8, 72.1, "original"))
    write_import(store, log, bind(log, train="refcoco+", data="refcoco+:testA", preset="baseline", checkpoint="last"))
    assert cell(store, plan, "caris", "refcoco+.testA").imported is None


def test_several_logs_of_a_row(tmp_path: Path, store: Store, plan: Plan) -> None:
    first, second = trained(tmp_path, "a.txt"), trained(tmp_path, "b.txt", scores={49: (70.0, 65.75)})
    write_import(store, first, bind(first, train="refcoco+", seed=0))
    with pytest.raises(UserError, match="another log is there"):
        write_import(store, second, bind(second, train="refcoco+", seed=0))
    with pytest.raises(UserError, match="imported as something else"):
        write_import(store, first, bind(first, train="refcoco", seed=0))
    write_import(store, second, bind(second, train="refcoco+", seed=1))
    write_import(store, second, bind(second, train="refcoco+", seed=1))  # the same again
    assert len(read_imports(store)) == 2
    found = cell(store, plan, "caris", "refcoco+.val").imported
    assert found is not None
    assert found.value == pytest.approx((65.25 + 65.75) / 2)
    assert found.says.startswith("mean of 2 imported logs")
    third = trained(tmp_path, "c.txt", scores={49: (70.0, 60.0)})
    write_import(store, third, bind(third, train="refcoco+", seed=1), force=True)
    assert [log.name for log in read_imports(store)] == ["a.txt", "c.txt"]


def test_small_models_are_beside_no_log(tmp_path: Path) -> None:
    store, plan = Store(tmp_path / "results", "demo"), make_plan("demo")
    log = trained(tmp_path)
    write_import(store, log, bind(log, train="refcoco+"))
    assert cell(store, plan, "caris", "refcoco+.val").imported is None


def test_every_format_marks_it(tmp_path: Path, store: Store, plan: Plan) -> None:
    log = trained(tmp_path)
    write_import(store, log, bind(log, train="refcoco+"))
    table = build_table(store, plan, plan.experiments[0])
    (number,) = [n for n, text in enumerate(table.footnotes, 1) if "from an imported log" in text]
    block = next(block for block in table.blocks if block.id == "oiou")
    (line,) = [line for line in block.lines if (line.row, line.kind) == ("caris", "here")]
    (entry,) = [entry for entry in line.entries if number in entry.marks]
    assert (entry.text, entry.number, entry.rank) == ("65.25", None, None)
    assert not [line for line in block.lines if line.kind in ("difference", "interval") and line.row == "caris"]
    assert f"65.25<sup>{number}</sup>" in markdown(table)
    assert "from an imported log" in markdown(table)
    assert "from an imported log" in fragment(table)
    assert "log.txt line" in csv_text(table)
    cells = json_value(table)["blocks"][0]["cells"] + json_value(table)["blocks"][1]["cells"]
    assert sorted(c["imported"] for c in cells if c["imported"]) == [65.25, 69.3]
    assert all(c["ours"] is None for c in cells if c["imported"])


@pytest.mark.parametrize(
    ("lines", "options", "said"),
    [
        (training(2, {1: (60, 58)}), {}, "does not say what was trained on"),
        (training(2, {1: (60, 58)}), {"train": "refcocoo"}, "'refcoco'"),
        (training(2, {1: (60, 58)}), {"train": "grefcoco"}, "unknown training set"),
        (training(2, {1: (60, 58)}), {"train": "combined"}, "does not say what was evaluated"),
        (training(2, {1: (60, 58)}), {"train": "refcoco", "checkpoint": "best"}, "tells its epochs"),
        (training(2, {1: (60, 58)}), {"train": "refcoco", "preset": "released"}, "it prints total_loss"),
        (
            training(2, {1: (60, 58)}, losses=("org_loss", "sub_loss")),
            {"train": "refcoco", "preset": "baseline"},
            "org_loss",
        ),
        (training(2, {1: (60, 58)}), {"train": "refcoco", "preset": "infered"}, "'inferred'"),
        (evaluation(10834, 77, 75), {"train": "refcoco"}, "does not say what was evaluated"),
        (evaluation(10834, 77, 75), {"train": "refcoco", "data": "refcoco:val"}, "which method"),
        (
            evaluation(10834, 77, 75),
            {"train": "refcoco", "data": "refcoco:val", "preset": "baseline"},
            "of which weights",
        ),
        (
            evaluation(10834, 77, 75),
            {"train": "refcoco", "data": "refcoco:val", "preset": "baseline", "checkpoint": "bset"},
            "no such checkpoint",
        ),
        (
            evaluation(10758, 77, 75),
            {"train": "refcoco", "data": "refcoco:val", "preset": "baseline", "checkpoint": "best"},
            "10,758 samples",
        ),
        (
            evaluation(1, 77, 75) * 2,
            {"train": "refcoco", "data": "refcoco:val", "preset": "baseline"},
            "one evaluation a file",
        ),
    ],
)
def test_what_is_not_known_is_asked_for(tmp_path: Path, lines: list[str], options: dict[str, str], said: str) -> None:
    log = log_of(tmp_path, lines)
    with pytest.raises(UserError) as told:
        bind(log, **options)  # type: ignore[arg-type]
    assert said in str(told.value)


def test_what_the_log_shows_of_its_command_is_taken(tmp_path: Path) -> None:
    command = "+ python train.py --model caris --dataset refcocog --splitBy umd --epochs 50"
    log = log_of(tmp_path, [command, *training(2, {1: (60, 58)})])
    binding = bind(log)
    assert (binding.train, binding.dataset, binding.split, binding.split_by) == ("refcocog", "refcocog", "val", "umd")
    with pytest.raises(UserError, match=r"another training set[\s\S]*log.txt:1"):
        bind(log, train="refcoco")
    mixed = log_of(tmp_path, [command + " --mix", *training(2, {1: (60, 58)})])
    assert (bind(mixed).train, bind(mixed).dataset) == ("combined", "refcocog")
    shown = "+ python eval.py --dataset refcoco+ --splitBy unc --split testA --resume out/model_best_refcoco+.pth"
    scored = log_of(tmp_path, [shown, *evaluation(5726, 74.8, 72.1)])
    binding = bind(scored, train="refcoco+", preset="baseline")
    assert (binding.split, binding.checkpoint) == ("testA", "best")


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ending:
        main(["import-log", *map(str, arguments)])
    captured = capsys.readouterr()
    return int(ending.value.code or 0), captured.out, captured.err


def test_the_command(tmp_path: Path, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    lines = training(50, {48: (69.1, 65.0), **LAST})
    lines[lines.index("    precision@0.7 = 70.20")] = "    precision@0.7 = "
    file = tmp_path / "caris.txt"
    file.write_text("\n".join(lines))
    code, out, _ = run(capsys, file, "--train", "refcoco+", "--store", store.root)
    assert code == 0
    assert "caris.txt: training by CARIS" in out
    assert f"broken caris.txt:{lines.index('    precision@0.7 = ') + 1}" in out
    assert "expected: precision@0.7 = NUMBER" in out
    assert "65.25" in out
    (kept,) = read_imports(store)
    assert "pr70" not in kept.values["scores"][0]["metrics"]
    assert kept.values["scores"][1]["metrics"]["pr70"]["value"] == 70.2
    code, out, _ = run(capsys, file, "--train", "refcoco+", "--store", store.root, "--json")
    assert json.loads(out)[0]["binding"]["train"] == "refcoco+"
    for arguments, said in [
        ([file, "--train", "refcoco+", "--seeds", "0 1"], "one seed a file"),
        ([file, "--train", "refcoco+", "--profile", "demo"], "of full size"),
        ([tmp_path / "none.txt", "--train", "refcoco+"], "no such log"),
        ([file, "--train", "refcoco"], "imported as something else"),
    ]:
        code, _, err = run(capsys, *arguments, "--store", store.root)
        assert (code, said in err) == (2, True), err
