"""Every number that the paper prints, cell by cell in every format, against the file it was copied from."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_store import make_plan

from amlrepro.report import latex, markdown
from amlrepro.report.export import csv_text, json_value
from amlrepro.report.tabledata import TableData, build_table
from amlrepro.suite.experiment import Block, Experiment, experiment_names
from amlrepro.suite.inputs import Inputs
from amlrepro.suite.planner import build_plan
from amlrepro.suite.printed import load_all_printed, tables_path
from amlrepro.suite.profile import load_profile
from amlrepro.suite.rows import Choices
from amlrepro.suite.store import Store

KEYS = list(load_all_printed())
Rows = list[list[str]]


def written(path: Path) -> dict[str, Any]:
    """The file with every number as the characters that stand there."""
    return dict(yaml.load(path.read_text("utf-8"), Loader=yaml.BaseLoader))


@pytest.fixture(scope="module")
def source() -> dict[str, Any]:
    return written(tables_path())


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TableData]:
    """Each printed table as one block of an experiment that runs nothing."""
    printed = load_all_printed()
    experiments = [
        Experiment(id=key, title=printed[key].title, blocks=[Block(id=key, title=key, printed=key, rows={})])
        for key in KEYS
    ]
    profile = load_profile("paper")
    plan = build_plan(experiments, profile, Inputs(profile.source), Choices())
    store = Store(tmp_path_factory.mktemp("store"), "paper")
    return {experiment.id: build_table(store, plan, experiment) for experiment in experiments}


def expected(source: dict[str, Any], key: str) -> Rows:
    """What each row must show: digits of print, a dash for nothing, a difference in brackets where one is printed."""
    table = source[key]
    return [[_shown(row["values"][c], row["delta"].get(c)) for c in table["columns"]] for row in table["rows"]]


def _shown(value: str, delta: str | None) -> str:
    number = "–" if value in ("null", "") else value
    if delta is None:
        return number
    return f"{number} ({'−' + delta[1:] if delta.startswith('-') else '+' + delta})"


def test_the_file_equals_the_one_it_was_copied_from(shared: Path, source: dict[str, Any]) -> None:
    original = written(shared / "paper" / "tables.yaml")
    assert list(source) == list(original)
    for key, table in original.items():
        for field in ("title", "columns", "column_info", "errata"):
            assert source[key][field] == table[field], (key, field)
        rows = [{name: value for name, value in row.items() if name != "runs"} for row in table["rows"]]
        assert source[key]["rows"] == rows


@pytest.mark.parametrize("key", KEYS)
def test_lines(key: str, tables: dict[str, TableData], source: dict[str, Any]) -> None:
    (block,) = tables[key].blocks
    found = [[e.text + (f" ({e.delta})" if e.delta else "") for e in line.entries] for line in block.lines]
    assert found == expected(source, key)
    assert [line.label for line in block.lines] == [row["label"] for row in source[key]["rows"]]


@pytest.mark.parametrize("key", KEYS)
def test_latex(key: str, tables: dict[str, TableData], source: dict[str, Any]) -> None:
    assert latex_rows(latex.fragment(tables[key])) == expected(source, key)


def latex_rows(fragment: str) -> Rows:
    """Rows of all pieces of a table, pieces set beside each other again."""
    rows: Rows = []
    for piece in re.findall(r"\\bottomrule\\endfoot\n(.*?)\\end\{longtable\}", fragment, re.DOTALL):
        lines = [re.sub(r"\\\\\*?$", "", line) for line in piece.strip().split("\n")]
        cells = [[_plain(cell) for cell in re.split(r"(?<!\\) & ", line)[1:]] for line in lines]
        rows = [before + more for before, more in zip(rows, cells, strict=True)] if rows else cells
    return rows


def _plain(cell: str) -> str:
    cell = re.sub(r"\\rlap\{\\textsuperscript\{[^}]*\}\}", "", cell)
    cell = re.sub(r"\\ensuremath\{-\}", "−", cell)
    cell = re.sub(r"\{\\scriptsize\\,\((.*?)\)\}", r" (\1)", cell)
    for _ in range(2):
        cell = re.sub(r"\\(?:textcolor\{black!55\}|textbf|underline)\{([^{}]*)\}", r"\1", cell)
    return cell.replace("--", "–")


@pytest.mark.parametrize("key", KEYS)
def test_markdown(key: str, tables: dict[str, TableData], source: dict[str, Any]) -> None:
    rows: Rows = []
    for piece in re.findall(r"\| ---.*\n((?:\|.*\n)+)", markdown.markdown(tables[key])):
        lines = [[c.strip() for c in re.split(r"(?<!\\)\|", line)[3:-1]] for line in piece.strip().split("\n")]
        cells = [[re.sub(r"\*\*|</?u>|<sup>.*?</sup>", "", cell) for cell in line] for line in lines]
        rows = [before + more for before, more in zip(rows, cells, strict=True)] if rows else cells
    assert rows == expected(source, key)


@pytest.mark.parametrize("key", KEYS)
def test_csv_and_json(key: str, tables: dict[str, TableData], source: dict[str, Any]) -> None:
    cells = {
        (row["key"], column): (row["values"][column].replace("null", ""), row["delta"].get(column, ""))
        for row in source[key]["rows"]
        for column in source[key]["columns"]
    }
    lines = list(csv.DictReader(io.StringIO(csv_text(tables[key]))))
    assert {(r["row"], r["column"]): (r["printed"], r["printed_delta"]) for r in lines} == cells
    (block,) = json.loads(json.dumps(json_value(tables[key])))["blocks"]
    numbers = {(c["row"], c["column"]): c["printed"] for c in block["cells"]}
    assert numbers == {place: float(text) if text else None for place, (text, _) in cells.items()}


@pytest.mark.parametrize("key", KEYS)
def test_errata_are_marked_where_they_are_and_told_below(
    key: str, tables: dict[str, TableData], source: dict[str, Any]
) -> None:
    table = tables[key]
    (block,) = table.blocks
    texts = " ".join(table.footnotes)
    marked_cells, marked_columns = set(), set()
    for erratum in source[key]["errata"]:
        assert f"(audit {erratum['see']})" in texts
        assert str(erratum["recomputed"]).split("/")[0].strip().lower() in texts.lower()
        for pattern in erratum["column"].split(" and "):
            columns = [c for c in source[key]["columns"] if c == pattern or c[:2] + "*" == pattern]
            assert columns
            if erratum["row"] == "*":
                marked_columns |= set(columns)
            else:
                marked_cells |= {(erratum["row"], column) for column in columns}
    assert {column.key for column in block.columns if column.marks} == marked_columns
    keys = [column.key for column in block.columns]
    found = {(line.row, keys[j]) for line in block.lines for j, entry in enumerate(line.entries) if entry.marks}
    assert found == marked_cells
    assert latex.fragment(table).count(r"\rlap{\textsuperscript") == len(marked_cells) + 2 * len(marked_columns)


def test_audit_ids_are_real(shared: Path, source: dict[str, Any]) -> None:
    audit = {entry["id"] for entry in yaml.safe_load((shared / "paper" / "inconsistencies.yaml").read_text("utf-8"))}
    assert {erratum["see"] for table in source.values() for erratum in table["errata"]} <= audit


@pytest.mark.parametrize("name", experiment_names())
def test_experiments_show_the_printed_numbers(name: str, source: dict[str, Any], tmp_path: Path) -> None:
    """What `amlris report` shows of an experiment for which nothing has been run."""
    plan = make_plan("paper", experiments=(name,))
    table = build_table(Store(tmp_path, "paper"), plan, plan.experiments[0])
    for block in table.blocks:
        lines = [line for line in block.lines if line.kind in ("printed", "cited")]
        if block.printed.own:
            assert not lines
            continue
        found = [[e.text + (f" ({e.delta})" if e.delta else "") for e in line.entries] for line in lines]
        assert found == expected(source, block.printed.key)
        for erratum in source[block.printed.key]["errata"]:
            assert f"(audit {erratum['see']})" in " ".join(table.footnotes)
