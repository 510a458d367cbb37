"""`amlris ablate`: which trainings it asks for, what it refuses, what it writes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from amlrepro.cli.main import main


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and no settings of the user's."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("AMLRIS_CONFIG", str(tmp_path / "none.yaml"))
    monkeypatch.delenv("AMLRIS_DATA", raising=False)
    return folder


def call(*arguments: str) -> int:
    """Exit code of `amlris ...`."""
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    return int(end.value.code or 0)


@pytest.mark.parametrize(
    "typed", [["0.2", "0.3", "0.4"], ["0.2,0.3,0.4"], ["0.2", "0.3,0.4"], ["0.2", "0.20", "0.3", "0.4", "0.2"]]
)
def test_values_are_read_however_they_are_typed(typed: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert call("ablate", "tau", "--values", *typed, "--profile", "demo", "--dry-run") == 0
    said = capsys.readouterr().out
    assert "4 unique trainings" in said
    for tau in ("0.2", "0.3", "0.4"):
        assert said.count(f"_tau{tau}-") == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["tua", "--values", "0.2"], ["unknown axis 'tua'", "'tau'"]),
        (["tau", "--values", "high"], ["'high' is no value of tau", "from 0 to 1"]),
        (["tau", "--values", "0.2", "1.5"], ["'1.5' is no value of tau", "from 0 to 1"]),
        (["tau", "--values", "-0.1"], ["'-0.1' is no value of tau"]),
        (["tau", "--values", "nan"], ["'nan' is no value of tau"]),
        (["tau", "--values", ","], ["an empty list", "--values"]),
        (["tau"], ["--values"]),
        (["da", "--values", "12.5"], ["a whole number"]),
        (["stage", "--values", "latte"], ["unknown value of stage 'latte'", "'late'"]),
        (["preset", "--values", "infered"], ["'inferred'"]),
        (["block", "--values", "30"], ["block 30 cannot be trained", "those of 16 or 28 do"]),
        (["level", "--values", "feature", "--model", "detris"], ["level feature cannot be trained"]),
        (["tau", "--values", "0.2", "--by", "rho"], ["--by-values"]),
        (["tau", "--values", "0.2", "--by-values", "0.3"], ["--by"]),
        (["tau", "--values", "0.2", "--by", "tau", "--by-values", "0.3"], ["two different axes"]),
        (["tau", "--values", "0.2", "--set", "afm.tau=0.3"], ["cannot be fixed"]),
        (["preset", "--values", "literal", "--preset", "released"], ["cannot be fixed"]),
        (["tau", "--values", "0.2", "--budget", "10"], ["epochs=10"]),
        (["tau", "--values", "0.2", "--budget", "epochs=0"], ["epochs=10"]),
        (["tau", "--values", "0.2", "--budget", "epochs=99"], ["99", "1 to 50"]),
        (["tau", "--values", "0.2", "--metric", "oio"], ["unknown metric 'oio'", "'oiou'"]),
        (["tau", "--values", "0.2", "--metric", "ciou"], ["ciou is no metric of RefCOCO+"]),
        (["tau", "--values", "0.2", "--train", "refcco"], ["unknown data set 'refcco'", "'refcoco'"]),
        (["tau", "--values", "0.2", "--eval", "refcoco+:vall"], ["unknown split 'vall'", "'val'"]),
        (["tau", "--values", "0.2", "--eval", "refcoco"], ["DATASET:SPLIT"]),
        (["tau", "--values", "0.2", "--eval", "refcoco(google):val"], ["usual partition"]),
        (["tau", "--values", "0.2", "--train", "grefcoco"], ["--model", "rela"]),
        (["tau", "--values", "0.2", "--model", "karis"], ["unknown model 'karis'", "'caris'"]),
    ],
)
def test_mistakes_exit_with_2_and_write_nothing(
    arguments: list[str], says: list[str], work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("ablate", *arguments, "--profile", "demo") == 2
    output = capsys.readouterr()
    assert "Traceback" not in output.err
    for text in says:
        assert text in output.err
    assert list(work.iterdir()) == []


def test_without_data_it_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("ablate", "tau", "--values", "0.2", "0.3") == 2
    assert "amlris ablate tau --values 0.2,0.3 --profile demo" in capsys.readouterr().err


def test_values_without_effect_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    """rho drops blocks of the picture; a feature-level mask has none."""
    arguments = ["ablate", "rho", "--values", "0.2", "0.3", "--set", "afm.level=feature", "--profile", "demo"]
    assert call(*arguments, "--dry-run") == 0
    output = capsys.readouterr()
    assert "rho 0.2 and rho 0.3 are one and the same training" in output.err
    assert "2 unique trainings" in output.out


def test_only_impossible_pairs_of_a_grid_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    """Feature-level masks act inside the decoder, so S cannot come from after it."""
    grid = ["level", "--values", "image", "feature", "--by", "stage", "--by-values", "early", "late"]
    assert call("ablate", *grid, "--profile", "demo", "--dry-run") == 0
    said = capsys.readouterr().out
    assert "4 unique trainings" in said  # no masks, three of the four pairs
    assert "Not available: feature-level masks act in the decoder" in said


@pytest.mark.slow
def test_a_grid_from_end_to_end(work: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Trains, scores, writes table and plots; a table of the same runs then has nothing to train."""
    grid = ["tau", "--values", "0.3", "0.4", "--by", "rho", "--by-values", "1/4", "1/2"]
    common = ["--profile", "smoke", "--device", "cpu", "--jobs", "2"]
    assert call("ablate", *grid, "--metric", "oiou", "miou", "--eval", "refcoco+:testB", *common) == 0
    assert "5 of 5 runs to do" in capfd.readouterr().out
    folder = work / "results" / "smoke" / "report" / "ablate_tau_rho"
    stems = ("curves_oiou", "curves_miou", "grid_refcoco_plus_testB_oiou", "grid_refcoco_plus_testB_miou")
    for stem in stems:
        assert {path.suffix for path in folder.glob(f"{stem}.*")} >= {".pdf", ".png", ".svg"}
    (block,) = json.loads((folder / "ablate_tau_rho.json").read_text("utf-8"))["blocks"]
    assert len(block["cells"]) == 5 * 2
    assert all(cell["ours"] is not None for cell in block["cells"])
    assert (folder / "ablate_tau_rho.tex").exists()
    assert (folder / "index.html").exists()

    shutil.rmtree(folder)
    assert call("ablate", "rho", "--values", "0.25", "--metric", "miou", "--eval", "refcoco+:testB", *common) == 0
    said = capfd.readouterr().out
    assert "to do" not in said  # tau 0.4 is the default
    assert (folder.parent / "ablate_rho" / "curves_miou.png").exists()
