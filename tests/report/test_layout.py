"""How numbers are written and tables laid out, by hand."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator

import pytest
from fake_store import make_plan
from injected_store import inject
from rich.console import Console

from amlrepro.report.errata import Footnotes
from amlrepro.report.headers import columns_of, stub_of, wrapped
from amlrepro.report.latex import PAGE, _widths, fragment
from amlrepro.report.lines import Entry
from amlrepro.report.markdown import markdown
from amlrepro.report.numbers import decimals, shown, signed
from amlrepro.report.tabledata import BlockData, TableData, build_table, parts, turned, whose
from amlrepro.report.terminal import terminal
from amlrepro.suite.experiment import experiment_names, load_experiment
from amlrepro.suite.printed import load_printed
from amlrepro.suite.store import Store


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, TableData]]:
    """Every experiment in the paper profile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        plan = make_plan("paper", experiments=tuple(experiment_names()))
        store = Store(tmp_path_factory.mktemp("store"), "paper")
        inject(store, plan)
        yield {experiment.id: build_table(store, plan, experiment) for experiment in plan.experiments}


@pytest.mark.parametrize(
    ("value", "places", "plain", "with_sign"),
    [
        (66.1, 2, "66.10", "+66.10"),
        (-0.65, 2, "−0.65", "−0.65"),
        (-0.004, 2, "0.00", "0.00"),
        (0.004, 2, "0.00", "0.00"),
        (-0.4, 0, "0", "0"),
        (35168.2, 0, "35168", "+35168"),
        (0.00052, 4, "0.0005", "+0.0005"),
        (-10.0, 1, "−10.0", "−10.0"),
    ],
)
def test_numbers(value: float, places: int, plain: str, with_sign: str) -> None:
    assert shown(value, places) == plain
    assert signed(value, places) == with_sign


@pytest.mark.parametrize(
    ("table", "row", "column", "expected"),
    [
        ("table1_miou", "caris", "refcoco.val", 2),
        ("table1_miou", "caris", "avg", 1),
        ("table1_miou", "detris", "avg", 1),  # a dash: as in its column
        ("table5", "caris_aml", "jl_error", 4),
        ("table9", "caris", "batch_size", 0),
        ("table9", "caris", "memory_mb", 0),
        ("table9", "caris", "time_min_per_epoch", 2),
        ("table9", "caris", "time_overhead_pct", 1),
        ("table10", "caris_aml_same_steps", "ep30.oiou", 1),
        ("table12", "sim_mean", "ep1", 4),
        ("table14", "caris", "ep1", 4),
        ("table14", "improvement_pct", "ep1", 1),
    ],
)
def test_decimals_are_those_of_print(table: str, row: str, column: str, expected: int) -> None:
    assert decimals(load_printed(table), row, column) == expected


def test_decimals_where_nothing_is_printed() -> None:
    own = {block.id: block.table() for name in ("table5", "table15") for block in load_experiment(name).blocks}
    assert decimals(own["distortion"], "caris_aml", "text_mean") == 4
    assert decimals(own["clean"], "clean__caris", "refcoco.val.miou") == 2


def test_headers_as_printed() -> None:
    heads = {key: [(c.group, c.name) for c in columns_of(load_printed(key), Footnotes())] for key in KEYS}
    assert heads["table1_miou"][3:] == [
        *(("RefCOCO+", name) for name in ("val", "testA", "testB")),
        *(("RefCOCOg", name) for name in ("val", "test")),
        ("", "Avg"),
    ]
    assert heads["table3"][2:] == [("GRES", "cIoU"), ("GRES", "gIoU")]
    assert heads["table9"][1:3] == [("Memory(MB)", "MB"), ("Memory(MB)", "+%")]
    assert heads["table10"][4:6] == [("10 epochs", "mIoU"), ("10 epochs", "oIoU")]  # T10-A is a footnote
    assert heads["table13"][0] == ("Epoch", "0")
    assert heads["table15"][2] == ("RefCOCO", "pr@50")
    assert heads["table17"][3] == ("RefCOCO+", "testA")  # so is T17-A
    assert heads["fig1d_quoted"][0] == ("RefCOCO average", "mIoU")
    stubs = {key: stub_of(load_printed(key)) for key in KEYS}
    assert {k: s for k, s in stubs.items() if s != "Method"} == {
        "table4": "Threshold tau",
        "table5": "D_a",
        "table12": "Statistic",
        "table13": "Threshold tau",
        "table17": "Threshold tau",
    }
    assert wrapped("vision-vision, 95th percentile", 12) == ["vision-vision,", "95th", "percentile"]


KEYS = (
    *("table1_miou", "table3", "table4", "table5", "table9", "table10"),
    *("table12", "table13", "table15", "table17", "fig1d_quoted"),
)


def test_marks_only_where_scores_are_compared(tables: dict[str, TableData]) -> None:
    """Best and second in Tables 1, 4, 5, 16, read off the print; none among costs, statistics, thresholds of one run,
    losses, or in pairs of one baseline or perturbation."""
    for name in ("table2", "table3", "table9", "table11", "table12", "table13", "table14", "table15", "figure6"):
        assert not [e for b in tables[name].blocks for line in b.lines for e in line.entries if e.rank], name
        assert "bold" not in " ".join(tables[name].notes)
    for name, column, best, second in (
        ("table4", "refcoco.val", "caris_aml_tau030", "caris_aml"),  # 75.81, 75.45
        ("table4", "refcocog.val", "caris_aml_tau020", "caris_aml"),  # 65.78, 65.67
        ("table5", "pr50", "caris_aml_da4096", "caris_aml"),  # 80.85, 80.82
        ("table6", "pr90", "caris_aml", "caris_aml_pred_pmme"),  # 36.35, 35.40
        ("table16", "avg", "caris_aml_tau030", "caris_aml_tau030_rho16"),  # 59.44, 59.07
        ("table17", "refcoco+.testB", "caris_aml", "caris_aml_tau030"),  # 59.51, 59.19
    ):
        block = tables[name].blocks[0]
        j = [c.key for c in block.columns].index(column)
        ranks = {line.row: line.entries[j].rank for line in block.lines if line.kind == "printed"}
        assert {row: rank for row, rank in ranks.items() if rank} == {best: 1, second: 2}
    assert not [line for line in tables["table5"].blocks[0].lines if line.entries[4].rank]  # the JL error
    ties = [
        line.row for line in tables["table16"].blocks[0].lines if line.kind == "printed" and line.entries[4].rank == 1
    ]
    assert ties == ["caris_aml_tau030", "caris_aml_tau040_rho12"]  # 34.77 twice


def test_a_turned_block_has_epochs_down_and_methods_across(tables: dict[str, TableData]) -> None:
    (block,) = tables["table14"].blocks
    across = turned(block)
    assert [line.label for line in across.lines][:3] == ["1", "3", "5"]
    assert (across.stub, len(across.lines)) == ("Epoch", 27)
    assert list(dict.fromkeys(c.group for c in across.columns)) == ["CARIS", "AML", "Improvement"]
    assert [c.name for c in across.columns] == ["printed", "ours", "diff."] * 3
    texts = [e.text for e in across.lines[0].entries]
    assert texts == ["0.3114", "0.3114", "0.0000", "0.2903", "0.2903", "0.0000", "6.8", "6.8", "0.0"]
    assert [c.group for c in turned(tables["table13"].blocks[0]).columns][::3] == [f"tau 0.{n}0" for n in (2, 3, 4, 6)]


def test_a_turned_block_says_whose_the_numbers_are(tables: dict[str, TableData]) -> None:
    """Beside the lines there is no room for it then."""
    told = "ours: CARIS (baseline, 1 seed); CARIS+AML (inferred, 1 seed)"
    assert whose(tables["table14"].blocks[0]) == told
    assert told in fragment(tables["table14"])
    assert markdown(tables["table14"]).count(told) == 1
    assert told not in fragment(tables["table1"])


def test_wide_blocks_are_parted_where_print_does_or_between_groups(tables: dict[str, TableData]) -> None:
    (loss,) = tables["table14"].blocks
    assert [[c.name for c in part.columns] for part in parts(loss, _widths, PAGE)] == [
        ["1", "3", "5", "7", "9", "11", "13", "15", "17"],
        ["18", "20", "22", "24", "26", "28", "30", "32", "34"],
        ["35", "37", "39", "41", "43", "45", "47", "49", "50"],
    ]
    oiou = tables["table1"].blocks[1]
    pieces = list(parts(oiou, lambda block: [10.0] * len(block.columns), 45.0))
    assert [[c.key for c in piece.columns] for piece in pieces] == [
        ["refcoco.val", "refcoco.testA", "refcoco.testB"],
        ["refcoco+.val", "refcoco+.testA", "refcoco+.testB"],
        ["refcocog.val", "refcocog.test", "avg"],
    ]
    assert [entry.text for piece in pieces for entry in piece.lines[0].entries] == [
        entry.text for entry in oiou.lines[0].entries
    ]
    assert list(parts(oiou, lambda block: [10.0] * len(block.columns), 90.0)) == [oiou]


def test_lines_without_a_word_are_left_out_of_a_part(tables: dict[str, TableData]) -> None:
    """Table 10's costs have no intervals."""
    (block,) = tables["table10"].blocks
    costs, scores = parts(block, lambda each: [1.0] * len(each.columns), 6.0)
    assert "interval" in {line.kind for line in scores.lines}
    assert "interval" not in {line.kind for line in costs.lines}


@pytest.mark.parametrize("width", [80, 100, 120])
def test_every_table_fits_a_terminal(width: int, tables: dict[str, TableData]) -> None:
    for table in tables.values():
        console = Console(width=width, file=io.StringIO(), color_system=None)
        for part in terminal(table, width):
            console.print(part)
        text = console.file.getvalue()  # type: ignore[attr-defined]
        assert max(map(len, text.splitlines())) <= width, table.id
        assert "…" not in text, table.id
        numbers = [e.text for block in table.blocks for e in entries(block)]
        for number in numbers:
            assert number in text, (table.id, number)


def entries(block: BlockData) -> list[Entry]:
    return [e for line in block.lines if line.kind != "interval" for e in line.entries if re.search(r"\d", e.text)]
