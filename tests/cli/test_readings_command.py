"""`amlris readings`: what it asks for, what it refuses, and a known answer by real trainings of tiny models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from amlrepro.cli.carry_out import WorkOptions
from amlrepro.cli.main import main
from amlrepro.cli.options import Opened


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
    assert call("--profile", "paper", "--all", "--dry-run", "--assume-data") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith("profile paper")
    assert "48 unique trainings" in said
    assert "4 departures are left out: inferred:mode=train, the same training as inferred" in said
    hours = (30 * 35.35 + 16 * 35.35 * 2.51 / 1.176 + 2 * 30.16) / 60
    assert f"Training costs {hours:.1f} A800 hours" in said


def test_both_phases_are_planned_and_what_is_not_yet_chosen_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """Presets and CARIS with two seeds: 4 epochs of AML's step, 2 of the joint step, 2 of CARIS's are 5.9 hours."""
    assert call("--dry-run", "--assume-data") == 0
    said = " ".join(capsys.readouterr().out.split())
    first, then, second = said.partition(" then the presets are trained, 6.8 A800 hours")
    assert then
    assert "0 unique trainings" in first
    assert "as many as fit into 10 h: 3.2 h are left, and one takes 1.3 h, with the joint step 2.6 h" in second
    hours = (4 * 35.35 + 2 * 35.35 * 2.51 / 1.176 + 2 * 30.16) / 60
    assert "8 unique trainings" in second
    assert f"Training costs {hours:.1f} A800 hours" in second


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
        (["--all", "--readings", "inferred"], ["--all", "--readings"]),
        (["--all", "--hours", "5"], ["--hours", "--all"]),
        (["--hours", "5", "--readings", "inferred"], ["--hours", "--readings"]),
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


def test_without_waiting_the_choice_is_left_to_the_next_call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """SLURM has been given the first phase and the command ends: nothing is chosen, and it says how to go on."""
    submitted: list[set[int]] = []

    def submit(opened: Opened, work: WorkOptions, show: object, first_line: str | None = None) -> None:
        submitted.append({run.until for run in opened.plan.runs.values()})

    monkeypatch.setattr("amlrepro.cli.readings.carry_out", submit)
    monkeypatch.setattr(WorkOptions, "check", lambda self: None)
    with pytest.raises(SystemExit) as end:
        main(["readings", "--profile", "demo", "--executor", "slurm", "--no-wait"])
    assert not end.value.code
    assert submitted == [{0}]
    assert "give the same command again" in capsys.readouterr().out


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


@pytest.mark.slow
def test_a_field_is_chosen_trained_and_gone_on_with(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No hours: the presets alone, which is said. With those of one departure more (6.84 + 1.28) it is the nearest of
    those that learn in one pass, and only that is trained anew."""
    size = ["--set", "data.image_size=112", "--set", "data.synth.image_size=112"]
    tiny = ["--profile", "smoke", *size, "--device", "cpu", "--jobs", "2", "--target", "literal"]
    assert call(*tiny, "--hours", "0") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "3 of 23 readings are trained: " in said
    assert "more than given" in said
    first = json.loads((work / "results" / "smoke" / "readings.json").read_text())
    assert {each["name"] for each in first["readings"]} == {"inferred", "literal", "released"}
    assert call(*tiny, "--hours", "8.2") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("runs to do") == 1
    assert "2 of 12 runs to do" in said
    report = json.loads((work / "results" / "smoke" / "readings.json").read_text())
    rows = report["screening"]["readings"]
    assert len(rows) == 23
    chosen = [row["name"] for row in rows if row["trained"]]
    (extra,) = set(chosen) - {"inferred", "literal", "released"}
    assert extra == next(row["name"] for row in rows if row["hours"] < 1.3)
    assert report["screening"]["spent"] <= 8.2
    assert {each["name"] for each in report["readings"]} == {*chosen}
    assert call(*tiny, "--hours", "8.2") == 0
    assert "runs to do" not in capsys.readouterr().out


@pytest.mark.slow
def test_where_nothing_can_be_measured_nothing_is_trained(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Pictures of 48 pixels hold no patch of an object: one message, and no training."""
    assert call("--profile", "smoke", "--device", "cpu", "--jobs", "2") == 2
    error = capsys.readouterr().err
    assert "no reading can be told from another here" in error
    assert "nothing to measure it on" in error
    assert not (work / "results" / "smoke" / "readings.json").exists()
    assert not any("aml" in run.name for run in (work / "results" / "smoke" / "runs").iterdir())
