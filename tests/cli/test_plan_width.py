"""What `amlris plan` prints on a terminal of 80 columns: lines end between words, and names of runs are whole."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from amlrepro.cli import options as shared
from amlrepro.cli import plan as command
from amlrepro.cli.options import PlanOptions, headline, open_plan, say_headline
from amlrepro.cli.plan import print_plan
from amlrepro.suite.experiment import load_experiments
from amlrepro.suite.rates import PAPER
from amlrepro.suite.summary import summarize


def printed(monkeypatch: pytest.MonkeyPatch, folder: Path, width: int) -> tuple[list[str], list[str], str]:
    """Lines of `amlris plan table1 table7`, names of its runs, and all words that people wrote for it."""
    said = io.StringIO()
    for module in (shared, command):
        make = lambda: Console(file=said, width=width, force_terminal=True, color_system=None, highlight=False)  # noqa: E731
        monkeypatch.setattr(module, "wide_console", make)
    options = PlanOptions(store=folder)
    opened = open_plan(load_experiments(["table1", "table7"]), options, command="amlris plan", assume_data=True)
    say_headline(opened)
    print_plan(opened, summarize(opened.plan, None, PAPER))
    words = " ".join([headline(opened), *(experiment.comment for experiment in opened.plan.experiments)])
    return said.getvalue().splitlines(), list(opened.plan.runs), words


@pytest.mark.parametrize("width", [80, 200])
def test_lines_end_between_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, width: int) -> None:
    lines, runs, words = printed(monkeypatch, tmp_path, width)
    assert max(map(len, lines)) <= width
    assert all(sum(line.startswith(name) for line in lines) == 1 for name in runs)
    assert not any("…" in line for line in lines)
    told = iter(" ".join(lines).split())
    assert all(word in told for word in words.split())  # in this order, each whole
    text = " ".join(lines)
    assert ("In a wider terminal, and in --json: probes, evals, method" in text) == (width == 80)
