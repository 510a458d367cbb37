"""With the printed numbers as results every table is full, and nothing differs but what the paper gets wrong itself."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from fake_store import make_plan
from injected_store import inject

from amlrepro.report import latex
from amlrepro.report.document import FigurePage, report_document
from amlrepro.report.numbers import decimals, shown, signed
from amlrepro.report.tabledata import TableData, build_table
from amlrepro.suite.experiment import experiment_names
from amlrepro.suite.store import Store

Place = tuple[str, str, str]  # block, row, column
Injected = Callable[[str], TableData]

# Cells that come out otherwise than printed, with the audit entry that says why: sums and quotients of printed cells.
OTHERWISE: dict[str, dict[Place, str]] = {
    "table1": {("combined", "caris_aml", "avg"): "T1-AVG5"},
    "table5": {("metrics", "caris_aml", "jl_error"): "T5-JL"},
    "table8": {("metrics", "caris_aml", "jl_error"): "T5-JL"},
    "table9": {("cost", "detris_aml", "memory_overhead_pct"): "T9-A"},
    "table14": {("loss", "improvement_pct", "ep24"): "T14-A"},
    "table16": {
        ("grid", "caris_aml_tau040_rho12", "avg"): "T16-B",
        ("grid", "caris_aml_tau040_rho12", "gain"): "T16-B",
        ("grid", "caris_aml_tau030", "gain"): "T16-C",
        ("grid", "caris_aml_tau040_rho16", "gain"): "T16-C",
    },
}
# A calculated cell is compared with the same calculation on the printed cells, so only a formula can differ.
DIFFERENT = {"T5-JL"}


@pytest.fixture(autouse=True, scope="module")
def fast_disk() -> Iterator[None]:
    """Hundreds of small files that nobody needs after a crash."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="module")
def injected(tmp_path_factory: pytest.TempPathFactory) -> Injected:
    """The table of an experiment in whose store are the printed numbers; each is made once."""

    @cache
    def make(name: str) -> TableData:
        plan = make_plan("paper", experiments=(name,))
        store = Store(tmp_path_factory.mktemp(name), "paper")
        inject(store, plan)
        return build_table(store, plan, plan.experiments[0])

    return make


@pytest.mark.parametrize("name", experiment_names())
def test_every_printed_cell_is_filled_without_a_difference(name: str, injected: Injected) -> None:
    table = injected(name)
    otherwise, different = {}, set()
    for block in table.blocks:
        ours = {line.row for line in block.lines if line.kind == "here"}
        for (row, column), cell in block.cells.items():
            place = block.id, row, column
            if cell.printed is None or row not in ours:
                continue
            assert cell.value is not None, (place, cell.reason)
            assert cell.difference is not None
            assert cell.reason is None
            digits = decimals(block.printed, row, column)
            if shown(cell.value, digits) != cell.printed.text:
                otherwise[place] = OTHERWISE.get(name, {}).get(place, "unexplained")
            if signed(cell.difference, digits).strip("0."):
                different.add(OTHERWISE.get(name, {}).get(place, "unexplained"))
    assert otherwise == OTHERWISE.get(name, {})
    assert different == DIFFERENT & set(otherwise.values())


@pytest.mark.parametrize("name", experiment_names())
def test_our_lines_read_as_the_printed_ones(name: str, injected: Injected) -> None:
    """Digits, dashes and differences in brackets: below each printed line of ours stands the same again."""
    for block in injected(name).blocks:
        printed = {line.row: line for line in block.lines if line.kind in ("printed", "cited")}
        for line in block.lines:
            if line.kind == "here" and line.row in printed:
                for column, ours, theirs in zip(block.columns, line.entries, printed[line.row].entries, strict=True):
                    if (block.id, line.row, column.key) in OTHERWISE.get(name, {}):
                        continue
                    assert ours.text == theirs.text
                    base_is_ours = name != "table3" or not line.row.startswith("caris")  # MagNet is cited
                    assert ours.delta == (theirs.delta if base_is_ours else None)
            if line.kind == "here" and line.row not in printed:
                assert block.printed.own
                assert all(entry.number is not None for entry in line.entries)


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed")
@pytest.mark.parametrize("profile", ["paper", pytest.param("demo", marks=pytest.mark.slow)])
def test_the_whole_report_compiles_and_nothing_sticks_out(profile: str, tmp_path: Path) -> None:
    names = [name for name in experiment_names() if name != "table8"]
    plan = make_plan(profile, experiments=tuple(names))
    store = Store(tmp_path / "store", profile)
    inject(store, plan)
    tables = [build_table(store, plan, experiment) for experiment in plan.experiments]
    for table in tables:
        (tmp_path / table.id).mkdir()
        (tmp_path / table.id / f"{table.id}.tex").write_text(latex.fragment(table), "utf-8")
    (tmp_path / "plate.tex").write_text(
        r"\documentclass{article}\usepackage[paperwidth=400mm,paperheight=90mm]{geometry}"
        r"\begin{document}wide\end{document}",
        "utf-8",
    )
    figures = [FigurePage("figure4a", "Figure 4(a)", "Maps & more: 50 % of $x_1$", "plate.pdf")]
    (tmp_path / "report.tex").write_text(report_document(tables, figures), "utf-8")
    for name in ("plate", "report", "report", "report"):
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", f"{name}.tex"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False)
        assert done.returncode == 0, done.stdout[-2000:]
    assert re.findall(r"Overfull \\hbox.*", done.stdout) == []
    contents = (tmp_path / "report.toc").read_text("utf-8")
    titles = re.findall(r"(Table \d+|Figure \d+(?:\([a-d]\))?): ", contents)
    assert titles == [table.printed_in for table in tables if table.blocks]
    assert len(set(titles)) == len(titles) > 20


def test_a_table_called_and_numbered_as_in_the_paper(injected: Injected) -> None:
    for name, place in (("table12", "Table 12"), ("figure4b", "Figure 4(b)"), ("figure1c", "Figure 1(c)")):
        assert injected(name).printed_in == place
