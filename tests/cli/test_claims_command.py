"""`amlris claims` from the command line, on the smoke profile and made-up results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_store import finish_run, make_records, write_records

from amlrepro.cli.main import main
from amlrepro.suite.store import Store
from amlrepro.verdicts.claims import load_claims


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Figure 4(b) with three seeds: AML ten points above CARIS and random masks, which do not differ."""
    from amlrepro.suite.experiment import load_experiments
    from amlrepro.suite.inputs import Inputs
    from amlrepro.suite.planner import build_plan
    from amlrepro.suite.profile import load_profile
    from amlrepro.suite.rows import Choices

    inputs = Inputs("synth", synth_folder=tmp_path.absolute() / "data")
    plan = build_plan(load_experiments(["figure4b"]), load_profile("smoke"), inputs, Choices((0, 1, 2)))
    there = Store(tmp_path, "smoke")
    for number, run in enumerate(plan.runs.values()):
        finish_run(there, run)
        for evaluation in run.evals:
            quality = 0.5 + 0.1 * (run.config.strategy == "aml") - 0.05 * (evaluation.perturbation is not None)
            write_records(there, run, evaluation, make_records(quality, 90, 30, seed=number))
    return tmp_path


def call(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as end:
        main(["claims", *words])
    assert end.value.code == 0
    return capsys.readouterr().out


def told(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as end:
        main(["claims", *words])
    assert end.value.code == 2
    return capsys.readouterr().err


def test_seeds_of_the_store_are_found_and_decide(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = ["--profile", "smoke", "--store", str(store)]
    values = json.loads(call(capsys, "F4B-B-random", "T1-D2-val", "T1-SOTA2", *base, "--json"))
    assert values["seeds"] == [0, 1, 2]
    assert values["watermark"]
    by_id = {claim["id"]: claim for claim in values["claims"]}
    assert by_id["F4B-B-random"]["label"] == "direction holds here"
    assert by_id["F4B-B-random"]["n_first"] == 3
    assert by_id["T1-D2-val"]["label"] == "direction holds here"  # Table 1 shows the same evaluations
    assert by_id["T1-SOTA2"]["label"] == "not run"


def test_the_table_says_what_is_decided_and_why_not(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = call(capsys, "--profile", "smoke", "--store", str(store))
    assert "profile smoke" in shown.splitlines()[0]
    assert "not about the paper" in shown
    assert f"{len(load_claims())} claims:" in shown
    assert "direction holds here" in shown
    assert "nothing is locked" in shown
    assert "1.83" not in shown  # printed effects stand beside no number of small models
    detail = call(capsys, "F4B-B-random", "--profile", "smoke", "--store", str(store))
    assert "audit F4B-A" in detail
    assert "figure4b/occluded/caris_aml/val.30" in detail.replace("\n", "")


def test_lock_then_judge(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = ["--profile", "smoke", "--store", str(store)]
    shown = call(capsys, "lock", "--seeds", "0", "1", *base)
    assert "seeds 0, 1" in shown
    assert "locked already" in told(capsys, "lock", *base)
    values = json.loads(call(capsys, "T1-D2-val", *base, "--seeds", "0", "1", "2", "--json"))
    assert values["claims"][0]["exploratory"] == "seeds that were not fixed beforehand: 2"
    assert json.loads(call(capsys, "T1-D2-val", *base, "--json"))["seeds"] == [0, 1]
    again = json.loads(call(capsys, "lock", "--force", *base, "--json"))
    assert again["seeds"] == [0, 1, 2, 3, 4]


def test_wrong_names_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = ["--profile", "smoke", "--store", str(tmp_path)]
    assert "T1-D2-val" in told(capsys, "T1-D2-vall", *base)
    assert "'robustness'" in told(capsys, "--family", "robustnes", *base)
    assert "table15" in told(capsys, "--experiment", "table115", *base)
    assert "no claim is all of that" in told(capsys, "T1-D2-val", "--family", "cost", *base)
    assert "fixes all claims together" in told(capsys, "lock", "T1-D2-val", *base)
    assert "belongs to" in told(capsys, "--force", *base)


def test_filters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = ["--profile", "smoke", "--store", str(tmp_path), "--json"]
    found = json.loads(call(capsys, "--family", "state of the art", *base))["claims"]
    assert {claim["family"] for claim in found} == {"state of the art"}
    found = json.loads(call(capsys, "--experiment", "table18", *base))["claims"]
    assert [claim["id"] for claim in found] == ["T18-B-avg", "T18-B-aml", "T18-B-feature", "T18-B-splits"]


def test_a_lock_needs_no_data_and_results_do(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("AMLRIS_DATA", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    empty = ["--store", str(tmp_path / "empty")]
    assert "before any run was done" in call(capsys, "lock", "--assume-data", *empty)
    assert (tmp_path / "empty" / "paper" / "claims_lock.json").exists()
    assert "results know their data" in told(capsys, "--assume-data", *empty)
    there = ["--profile", "smoke", "--store", str(store)]
    assert "has runs already" in told(capsys, "lock", "--assume-data", *there)


def test_the_report_shows_the_seeds_that_claims_judge(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["report", "figure4b", "--profile", "smoke", "--store", str(store)])
    assert end.value.code == 0
    assert "seeds 0, 1, 2" in capsys.readouterr().out.splitlines()[0]
    page = (store / "smoke" / "report" / "figure4b" / "claims.html").read_text("utf-8")
    assert "<dt>Seeds</dt><dd>0, 1, 2</dd>" in page
    assert "direction holds here" in page
