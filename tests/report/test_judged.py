"""Verdicts on cells in every format, and the pages beside the tables."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fake_store import fill, make_plan
from injected_store import inject

from amlrepro.report.api import report
from amlrepro.report.export import csv_text, json_value
from amlrepro.report.latex import fragment
from amlrepro.report.markdown import markdown
from amlrepro.report.tabledata import build_table
from amlrepro.suite.experiment import experiment_names
from amlrepro.suite.store import Store
from amlrepro.verdicts.budget import SEEDS, plan_budget
from amlrepro.verdicts.cells import Basis, judge

SYMBOLS = {"inside": "≈", "printed is higher": "↑", "printed is lower": "↓"}


def test_levels_stand_beside_our_numbers_in_every_format(tmp_path: Path) -> None:
    """Three seeds of two recipes of CARIS give 4 degrees of freedom, and so do two of DETRIS."""
    store, plan = Store(tmp_path, "paper"), make_plan("paper", (0, 1, 2), ("table2",))
    fill(store, plan, samples=30, images=10)
    table = build_table(store, plan, plan.experiments[0], judge(store, plan).cells)
    (block,) = table.blocks
    levels = {key: each.level for key, each in block.verdicts.items()}
    assert len(levels) == 12  # four methods on three splits
    for line in block.lines:
        for entry, column in zip(line.entries, block.columns, strict=True):
            level, printed = levels[line.row, column.key], block.printed.value(line.row, column.key)
            assert level is not None
            assert level.low is not None
            assert level.high is not None
            assert printed is not None
            assert (level.label == "inside") == (level.low <= printed <= level.high)
            assert entry.level == (SYMBOLS[level.label] if line.kind == "here" else "")
    shown = {entry.level for line in block.lines for entry in line.entries} - {""}
    macros = {"≈": "approx", "↑": "uparrow", "↓": "downarrow"}
    for symbol in shown:
        assert rf"\textsuperscript{{\ensuremath{{\{macros[symbol]}}}}}\," in fragment(table)
        assert f" {symbol} |" in markdown(table)
    assert ",inside," in csv_text(table)
    cell = json_value(table)["blocks"][0]["cells"][0]
    assert cell["level_low"] < cell["ours"] < cell["level_high"]
    assert cell["harness_verified"] is False
    assert any("prediction interval" in note for note in table.notes)


def test_one_seed_has_no_level_and_a_demo_never(tmp_path: Path) -> None:
    for profile, told in (("paper", True), ("demo", False)):
        store, plan = Store(tmp_path, profile), make_plan(profile, (0,), ("table2",))
        fill(store, plan, samples=12, images=4)
        table = build_table(store, plan, plan.experiments[0], judge(store, plan).cells)
        assert not any(entry.level for line in table.blocks[0].lines for entry in line.entries)
        assert any("No verdict on the level" in note for note in table.notes) == told


@pytest.mark.slow
def test_pages_of_the_whole_with_the_printed_numbers_as_results(tmp_path: Path) -> None:
    """The audit's counts are those of its checks, 126 in all; every claim says that the variance is unknown."""
    names = tuple(experiment_names())
    store, plan, large = Store(tmp_path, "paper"), make_plan("paper", (0,), names), make_plan("paper", SEEDS, names)
    inject(store, plan)
    basis = Basis(plan, budgets=lambda: [plan_budget(store, large, hours) for hours in (10, 165)])
    page = report(store, plan, basis=basis).page
    texts = {path.name: path.read_text("utf-8") for path in page.parent.glob("*.html")}
    assert texts.keys() == {f"{name}.html" for name in ("index", "claims", "audit", "readings", "harness", "budget")}
    for text in texts.values():
        assert re.findall(r'<a href="(\w+\.html)"', text.partition("</nav>")[0]) == [
            f"{name}.html" for name in ("index", "claims", "audit", "readings", "harness", "budget")
        ]
    assert "<dt>Variance unknown</dt><dd><b>99</b>" in texts["claims.html"]
    assert texts["audit.html"].count('id="check-') == 126
    for name, count in (("Contradictory", 46), ("Off by a little", 15), ("Unclear", 13), ("Consistent", 52)):
        assert f"<dt>{name}</dt><dd><b>{count}</b>" in texts["audit.html"]
    assert "Not measured yet" in texts["readings.html"]
    assert "0 of 16" in texts["harness.html"]
    assert 'class="n">165 h</th>' in texts["budget.html"]
    ids = {name: set(re.findall(r' id="([^"]+)"', text)) for name, text in texts.items()}
    for text in texts.values():
        for name, place in re.findall(r'href="(\w+\.html)#([^"]+)"', text):
            assert place in ids[name], (name, place)
