"""`amlris audit`: what it prints, writes, keeps and refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from amlrepro.cli.main import main


def run(*arguments: str) -> None:
    with pytest.raises(SystemExit) as done:
        main(["audit", *arguments])
    assert not done.value.code


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as done:
        main(["audit", *arguments])
    assert done.value.code == 2
    return capsys.readouterr().err


@pytest.fixture(autouse=True)
def no_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AMLRIS_DATA", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def test_one_check_in_full(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run("T3-B", "ABS-A", "--store", str(tmp_path))
    said = capsys.readouterr().out
    assert "63.79 - 57.26 = 6.53" in said
    assert "a finding by reading, not by calculation" in said
    assert not list(tmp_path.iterdir())  # nothing was measured, nothing is kept


def test_filters(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run("--experiment", "table5", "--json", "--store", str(tmp_path))
    found = {row["id"] for row in json.loads(capsys.readouterr().out)["findings"]}
    assert found >= {"T5-A", "T5-JL", "THM1"}
    assert "T3-B" not in found
    run("--verdict", "off_by", "--store", str(tmp_path))
    said = capsys.readouterr().out
    assert said.splitlines()[1] == "15 checks"
    assert "T16-B" in said


def test_wrong_names(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "did you mean 'T3-B'" in refused(capsys, "T3-BB")
    assert "contradictory" in refused(capsys, "--verdict", "contradiction")
    assert "did you mean" in refused(capsys, "--experiment", "table55")
    assert "exclude each other" in refused(capsys, "--features", "a.npz", "--run", "b")
    assert "no such file" in refused(capsys, "--features", str(tmp_path / "a.npz"), "--store", str(tmp_path))


def test_page_is_not_overwritten(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    page = tmp_path / "audit.md"
    run("--no-measure", "-o", str(page), "--store", str(tmp_path / "s"))
    assert "**EQ-S**" in page.read_text()
    assert str(page) in capsys.readouterr().out
    assert "--force" in refused(capsys, "--no-measure", "-o", str(page), "--store", str(tmp_path / "s"))
    run("--no-measure", "-o", str(page), "--force", "--store", str(tmp_path / "s"))


@pytest.mark.slow
def test_measured_once_and_kept(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    np.savez(
        tmp_path / "f.npz",
        vision=generator.standard_normal((2, 4, 8)),
        text=generator.standard_normal((2, 5, 6)),
        mask=np.ones((2, 5)),
    )
    run("--features", str(tmp_path / "f.npz"), "--store", str(tmp_path / "s"))
    said = capsys.readouterr().out
    assert "SIMULATED FEATURES" in said
    assert "features of the file f.npz" in said
    assert "measured now and kept in" in said
    assert "public counts" in said
    run("--json", "--store", str(tmp_path / "s"))
    again = json.loads(capsys.readouterr().out)
    assert [method["source"] for method in again["methods"]] == ["file", "simulated"]
    rows = {row["name"]: row for row in again["methods"][1]["readings"]}
    # the released module and mask function, on other draws of such features: mean 0.746, deviation 0.250, 81 % blanked
    assert rows["released"]["mean"] == pytest.approx(0.746, abs=0.02)
    assert rows["released"]["masked"] == pytest.approx(0.81, abs=0.05)
    assert rows["inferred"]["masked"] == pytest.approx(0.030, abs=0.01)
    assert rows["literal"]["blank"] == 1


def test_without_measuring_torch_is_not_imported(tmp_path: Path) -> None:
    code = (
        "import sys; from amlrepro.cli.main import main\n"
        f"try: main(['audit', '--no-measure', '--store', {str(tmp_path)!r}])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('torch', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert done.stdout.startswith("audit of AMLRIS")
