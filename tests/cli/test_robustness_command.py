"""`amlris robustness` as a user calls it."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from amlrepro.cli.main import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Give the command in an empty folder; returns exit code, standard output and error."""
    monkeypatch.setenv("AMLRIS_CONFIG", str(tmp_path / "none.yaml"))
    monkeypatch.delenv("AMLRIS_DATA", raising=False)
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["robustness", *arguments])
        captured = capsys.readouterr()
        code = ended.value.code
        return (code if isinstance(code, int) else 0), captured.out, captured.err

    return call


def test_what_would_run(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("--train", "refcoco+", "--profile", "demo", "--dry-run")
    assert code == 0
    assert "2 unique trainings" in out
    assert "\n32 evaluations" in out
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    "lists",
    [
        "--models caris caris_aml detris --eval refcoco:val refcoco:testA --perturbations haze lowlight --severity 2 4",
        "--models caris,caris_aml,detris --eval refcoco:val,refcoco:testA --perturbations haze,lowlight --severity 2,4",
    ],
)
def test_lists_with_spaces_or_commas(run: Run, lists: str) -> None:
    code, out, _ = run(*lists.split(), "--train", "refcoco", "--profile", "demo", "--dry-run")
    assert code == 0
    # two splits, whole and 2 x 2 perturbed, three models
    assert "3 unique trainings" in out
    assert "\n30 evaluations" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--severity 6", "one or more of 1, 2, 3, 4, 5"),
        ("--severity strong", "severities are levels"),
        ("--perturbations hase", "did you mean 'haze'"),
        ("--perturbations occlude_30 --severity 1", "one strength only"),
        ("--models cars", "did you mean 'caris'"),
        ("--eval refcoco", "DATASET:SPLIT"),
        ("--eval refcoco:test", "unknown split 'test'"),
        ("--eval refcocog(google):val", "usual partition"),
        ("--metrics mIoU", "did you mean 'miou'"),
        ("--metrics ciou", "ciou is no metric of RefCOCO"),
        ("--train refcoco++", "did you mean 'refcoco+'"),
        ("--train grefcoco --models caris", "several objects or none"),
        ("--models ,", "an empty list"),
        ("--profile smok", "did you mean 'smoke'"),
        ("--profile paper", "amlris robustness --train refcoco+ --profile demo"),
    ],
)
def test_wrong_input_is_one_message_and_writes_nothing(run: Run, tmp_path: Path, arguments: str, message: str) -> None:
    code, _, err = run("--train", "refcoco+", "--profile", "smoke", *arguments.split())
    assert code == 2
    assert err.count("error:") == 1
    assert message in err
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
def test_from_nothing_to_a_table_and_back(run: Run, tmp_path: Path) -> None:
    """Tiny models on synthetic scenes; given again, the command finds everything there."""
    options = ["--train", "refcoco+", "--profile", "smoke", "--models", "caris", "--device", "cpu"]
    options += ["--perturbations", "haze", "occlude_50", "--eval", "refcocog:val"]
    options += ["--set", "data.synth.eval_images=10"]  # so many that some are training pictures of RefCOCO+
    code, out, err = run(*options)
    assert code == 0, err
    assert "1 of 1 runs to do" in out
    folder = tmp_path / "results" / "smoke" / "report" / "robustness_refcoco_plus"
    lines = (folder / "robustness_refcoco_plus.csv").read_text().splitlines()
    rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    measured = [row for row in rows if row["row"].startswith(("clean", "haze", "occlude_50"))]
    assert len(measured) == 3 * 6
    assert all(row["ours"] for row in rows)
    samples = {row["column"]: int(row["samples"]) for row in measured}
    assert 0 < samples["refcocog.val.unseen.miou"] < samples["refcocog.val.miou"]
    code, again, _ = run(*options)
    assert code == 0
    assert "runs to do" not in again
    assert again[again.index("SYNTHETIC") :] == out[out.index("SYNTHETIC") :]
