"""`amlris bench` as typed: one real benchmark at smoke size, what is kept and shown of it, and mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from amlrepro.bench.catalogue import BENCHMARKS
from amlrepro.cli.bench_view import row_of
from amlrepro.cli.main import main


def run(*arguments: str) -> int:
    try:
        main(["bench", *arguments])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def test_a_benchmark_is_run_kept_and_shown_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ("--out", str(tmp_path))
    assert run("deformable", "--sizes", "smoke", "--rounds", "4", "--json", *out) == 0
    [result] = json.loads(capsys.readouterr().out)
    assert (result["name"], result["sizes"], result["rounds"]) == ("deformable", "smoke", 4)
    assert result["gate"]["passed"]
    [path] = tmp_path.glob("*/smoke/deformable.json")
    assert json.loads(path.read_text()) == result
    assert str(tmp_path) not in path.read_text()
    assert run("--show", "--json", *out) == 0
    assert json.loads(capsys.readouterr().out) == [result]
    assert run("--show", "--markdown", *out) == 0
    line = capsys.readouterr().out.splitlines()[4]
    assert line.count("|") == 8
    assert f"| {result['value']['median']:.3g} x |" in line


def test_ratios_in_words() -> None:
    """A median of 1.172 is +17.2 %; 1.15 at most is +15 %."""
    result = {
        "what": "a",
        "against": "b",
        "reads": "overhead",
        "unit": "x",
        "value": {"median": 1.172, "q1": 1.16, "q3": 1.2},
        "target": {"value": 1.15, "stretch": None},
        "met": False,
        "gate": {"what": "masks", "found": 0.9995, "bound": "0.999", "passed": True},
        "details": {"shown": "memory +4.9 %"},
    }
    row = row_of(result)
    assert (row.median, row.spread, row.target) == ("+17.2 %", "+16.0 to +20.0", "≤ +15.0 %")
    assert (row.reached, row.same, row.more) == ("NO", "yes", "memory +4.9 %")
    assert row.found == "masks: 0.9995 (bound: 0.999)"


def test_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("stage_on", "--out", str(tmp_path)) == 2
    assert "did you mean 'stage_one'" in capsys.readouterr().err
    assert run("--show", "--out", str(tmp_path)) == 2
    assert "nothing has been measured" in capsys.readouterr().err
    assert run("deformable", "--sizes", "huge", "--out", str(tmp_path)) == 2
    assert "huge" in capsys.readouterr().err


def test_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--list", "--json") == 0
    assert [each["name"] for each in json.loads(capsys.readouterr().out)] == [bench.name for bench in BENCHMARKS]
