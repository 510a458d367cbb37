"""`amlris export` and `amlris import` as typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sharing_store import lab_store, tree

from amlrepro.cli.main import main
from amlrepro.files import read_json, write_json
from amlrepro.suite.store import Store


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store in `results` of the working folder, and no configuration file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AMLRIS_CONFIG", str(tmp_path / "config.yaml"))
    return lab_store(Path("results"))


def export(*arguments: str) -> int:
    """Exit code of `amlris export ... --profile smoke`."""
    return call("export", *arguments, "--profile", "smoke")


def call(*arguments: str) -> int:
    """Exit code of `amlris ...`."""
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    return int(end.value.code or 0)


def test_the_laboratory_is_named_once_for_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert export("a.zip") == 2
    assert "--lab NAME" in capsys.readouterr().err
    assert not Path("a.zip").exists()
    Path("config.yaml").write_text("laboratory: lab-a\n")
    assert export("a.zip") == 0
    assert capsys.readouterr().out.startswith("profile smoke | laboratory lab-a | without weights\n")


def test_both_sides_show_the_same_number(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert export("a.zip", "--only", store.run_ids()[0], "--lab", "lab-a", "--json") == 0
    sent = json.loads(capsys.readouterr().out)
    assert sent["runs"] == store.run_ids()[:1]
    assert call("import", "a.zip", "--store", "other", "--json") == 0
    arrived = json.loads(capsys.readouterr().out)
    assert arrived["archive"] == sent["archive"]
    assert [run["outcome"] for run in arrived["runs"]] == ["imported"]
    assert arrived["store"] == "other/labs/lab-a/smoke"


def test_a_conflict_ends_with_2(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    export("a.zip", "--lab", "lab-a")
    run_id = store.run_ids()[0]
    state = store.run(run_id).state
    write_json(state, {**read_json(state), "step": 777})
    before = tree(store.folder)
    capsys.readouterr()
    assert call("import", "a.zip", "--merge") == 2
    shown = capsys.readouterr().out
    assert "1 run in conflict: other content under the same name; yours stay as they are" in shown
    assert "777" in shown
    assert tree(store.folder) == before


def test_status_gc_and_logs_do_not_see_other_laboratories(capsys: pytest.CaptureFixture[str]) -> None:
    lab_store(Path("far"), seeds=(5,))
    export("far.zip", "--store", "far", "--lab", "lab-b")

    def told() -> tuple[str, str]:
        capsys.readouterr()
        assert call("status") == 0
        assert call("gc", "--dry-run") == 0
        return tuple(capsys.readouterr())

    before = told()
    assert call("import", "far.zip") == 0
    assert told() == before
    assert call("status", "--store", "results/labs/lab-b") == 0
    assert "-s5" in capsys.readouterr().out


def test_the_profile_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("export", "a.zip", "--lab", "lab-a") == 2
    assert "there are runs of smoke: --profile smoke" in capsys.readouterr().err


def test_ones_own_archive_is_recognised(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    export("a.zip", "--lab", "me")
    capsys.readouterr()
    assert call("import", "a.zip") == 0
    text = capsys.readouterr().out
    assert f"{len(store.run_ids())} runs of this very store, trained here and unchanged: nothing is taken in" in text
    assert not Path("results/labs").exists()


def test_errors_are_told_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    Path("x.zip").write_bytes(b"PK\x03\x04 torn")
    assert call("import", "x.zip") == 2
    assert capsys.readouterr().err.startswith("error: not an archive, or not all of it\n  where:    x.zip\n")
    Path("README.md").write_text("# No archive\n")
    assert call("import", "README.md") == 2
    said = "error: not an archive of runs\n  where:    README.md\n  expected: a zip file that `amlris export` made\n"
    assert capsys.readouterr().err == said
    assert call("export") == 2
    assert "a FILE.zip, --tensorboard DIR or --huggingface DIR" in capsys.readouterr().err
    assert export("a.tar", "--lab", "a") == 2
    assert "a name that ends in .zip" in capsys.readouterr().err
