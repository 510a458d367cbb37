"""`amlris readings`: what it asks for, what it refuses, and a known answer by real trainings of tiny models."""

from __future__ import annotations

import json
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
    """Exit code of `amlris readings ...`."""
    with pytest.raises(SystemExit) as end:
        main(["readings", *arguments])
    return int(end.value.code or 0)


def test_the_plan_and_its_cost_come_first(capsys: pytest.CaptureFixture[str]) -> None:
    """By Table 9: 30 epochs of AML's own step at 35.35 minutes, 16 of the joint step at 2.51 times 30.16, 2 of CARIS's;
    the joint ones are the five departures of released that keep it, released itself and two with step=joint."""
    assert call("--profile", "paper", "--dry-run", "--assume-data") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith("profile paper")
    assert "48 unique trainings" in said
    assert "4 departures are left out: inferred:mode=train, the same training as inferred" in said
    hours = (30 * 35.35 + 16 * 35.35 * 2.51 / 1.176 + 2 * 30.16) / 60
    assert f"Training costs {hours:.1f} A800 hours" in said


def test_a_first_look_trains_nothing(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--profile", "demo", "--epoch0-only", "--dry-run") == 0
    captured = capsys.readouterr()
    assert "0 unique trainings" in captured.out
    assert "the target is a run of released of its own" in captured.err
    assert not (work / "results").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--readings", "inferred:token=real"], ["unknown reading 'inferred:token=real'", "inferred:tokens=real"]),
        (["--readings", "released:da=2048"], ["no reading of its own", "the same training as released"]),
        (["--target", "releasd"], ["unknown reading 'releasd'", "--target", "released"]),
        (["--target", "released", "--target-seed", "1"], ["--target-seed", "a seed other than 0, 1"]),
        (["--assume-data"], ["--assume-data", "--dry-run"]),
        (["--json"], ["no readings have been ranked yet", "readings.json"]),
    ],
)
def test_what_is_refused(work: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: list[str]) -> None:
    assert call("--profile", "demo", *arguments) == 2
    error = capsys.readouterr().err
    for words in says:
        assert words in error
    assert not (work / "results").exists()


def test_without_data_nothing_falls_back(capsys: pytest.CaptureFixture[str]) -> None:
    assert call() == 2
    assert "no data root is given" in capsys.readouterr().err


@pytest.mark.slow
def test_a_known_answer_by_real_trainings(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Flat S against sharp S: with `literal` every patch is weak, with `inferred` few are. A run of `literal` with
    another seed is told from `inferred` before training and after the first epoch; nothing is trained twice."""
    size = ["--set", "data.image_size=112", "--set", "data.synth.image_size=112"]
    tiny = ["--profile", "smoke", *size, "--device", "cpu", "--jobs", "2", "--target", "literal"]
    assert call(*tiny, "--readings", "inferred", "literal", "--epoch0-only") == 0
    first = json.loads((work / "results" / "smoke" / "readings_epoch0.json").read_text())
    assert first["readings"][0]["name"] == "literal"
    capsys.readouterr()
    assert call(*tiny, "--readings", "inferred", "literal") == 0
    said = capsys.readouterr().out
    assert "literal is nearest to the target, a run of literal" in " ".join(said.split())
    assert "The known answer is found." in " ".join(said.split())
    assert call("--profile", "smoke", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert [reading["name"] for reading in report["readings"]] == ["literal", "inferred"]
    assert report["readings"][1]["label"] == "farther"
    assert report["sampled"]
    assert not report["complete"]
    assert call(*tiny, "--readings", "inferred", "literal") == 0
    assert "runs to do" not in capsys.readouterr().out
