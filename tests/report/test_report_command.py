"""`amlris report` as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_store import fill

from amlrepro.cli.main import main
from amlrepro.cli.options import PlanOptions, open_plan
from amlrepro.suite.experiment import experiment_names, load_experiment


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty store; the user's own settings are out of the way."""
    monkeypatch.setenv("AMLRIS_CONFIG", str(tmp_path / "none.yaml"))
    monkeypatch.delenv("AMLRIS_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "results"


def run(*arguments: str) -> int:
    """Exit code of the command."""
    with pytest.raises(SystemExit) as ended:
        main(["report", *arguments])
    return int(ended.value.code or 0)


def test_tables_are_printed_and_written(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    opened = open_plan(
        [load_experiment("table1")], PlanOptions(profile="smoke", store=store), command="amlris report table1"
    )
    fill(opened.store, opened.plan, samples=12, images=4)
    assert run("table1", "--profile", "smoke", "--store", str(store)) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[0].startswith("profile smoke")
    assert "SYNTHETIC DATA" in said.splitlines()[1]
    assert said.count("ours: CARIS+AML") == 3
    written = sorted(path.name for path in (store / "smoke" / "report" / "table1").iterdir())
    tables = ["table1.csv", "table1.json", "table1.md", "table1.tex", "table1_document.tex"]
    assert written == ["claims.html", "index.html", *tables]


def test_json_and_another_folder(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--profile", "smoke", "--store", str(store), "--out", str(tmp_path / "out"), "--json") == 0
    tables = json.loads(capsys.readouterr().out)
    assert [table["id"] for table in tables] == experiment_names()
    table = tables[0]
    assert [len(block["cells"]) for block in table["blocks"]] == [90, 81, 63]
    assert {cell["reason"] for cell in table["blocks"][0]["cells"] if cell["row"] == "caris"} == {
        "not run yet",
        "an average needs all its splits",
    }
    assert (tmp_path / "out" / "table1" / "table1.md").exists()
    assert not store.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tabel1", "--profile", "smoke"), "did you mean 'table1'"),
        (("table1", "--profile", "smok"), "did you mean 'smoke'"),
        (("table1", "--profile", "smoke", "--set", "afm.tua=0.3"), "did you mean 'afm.tau'"),
        (("table1", "--profile", "smoke", "--set", "afm.tau=high"), "afm.tau"),
        (("table1",), "--profile demo"),
    ],
)
def test_wrong_input_is_one_message_and_writes_nothing(
    store: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    assert run(*arguments) == 2
    said = capsys.readouterr().err
    assert said.count("error:") == 1
    assert message in said
    assert not store.exists()
