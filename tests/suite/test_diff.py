"""Two runs side by side: what differs, by how much, and sample by sample."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from fake_store import fill, make_plan, make_records, write_records
from rich.console import Console

from amlrepro.cli.diff import _agreements, sparkline
from amlrepro.cli.main import main
from amlrepro.files import write_json, write_text
from amlrepro.metrics.records import Records
from amlrepro.suite.diff import ABSENT, Agreement, agreement, as_json, compare_runs, flatten, same_samples
from amlrepro.suite.plan import Plan
from amlrepro.suite.store import Store


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan("smoke", seeds=(0,), experiments=("table2",))


@pytest.fixture
def store(plan: Plan, tmp_path: Path) -> Store:
    """CARIS and CARIS+AML on the same samples, the second better by some points."""
    made = Store(tmp_path / "store", "smoke")
    fill(made, plan)
    for number, run_id in enumerate(pair_of(plan)):
        for evaluation in plan.runs[run_id].evals:
            records = make_records(0.6 + 0.05 * number, 90, 30, seed=3)
            write_records(made, plan.runs[run_id], evaluation, records)
        session = {
            "start": 0.0,
            "end": 3600.0 * (number + 1),
            "git": {"commit": "abc", "dirty": bool(number)},
            "versions": {"torch": f"2.{number}", "numpy": "2"},
            "hardware": {"gpus": []},
            "device": "cpu",
        }
        write_json(made.run(run_id).provenance, {"sessions": [session]})
    return made


def pair_of(plan: Plan) -> tuple[str, str]:
    plain, aml = (next(r for r in plan.runs if r.startswith(f"caris_{name}")) for name in ("plain", "aml"))
    return plain, aml


def test_what_differs(store: Store, plan: Plan) -> None:
    plain, aml = pair_of(plan)
    compared = compare_runs((store, plain), (store, aml))
    config = {p.key: (p.first, p.second) for p in compared.config if not p.same and p.matters}
    assert config == {"afm.tau": (0.0, 0.4), "afm.block": (32, 16), "pmme.dim": (2048, 32)}
    environment = {p.key: (p.first, p.second) for p in compared.environment if not p.same}
    assert environment == {"git.dirty": (False, True), "versions.torch": ("2.0", "2.1"), "hours": (1.0, 2.0)}
    assert compared.watermark is not None
    assert compared.remarks == ()


def test_settings_without_effect_are_told_apart(store: Store, plan: Plan) -> None:
    plain, aml = pair_of(plan)
    same = {p.key: p.matters for p in compare_runs((store, plain), (store, plain)).config}
    assert same["train.lr"]
    assert not same["exec.threads"]
    assert not same["pmme.dim"]  # a baseline has no S
    assert not same["random.share"]
    assert {p.key: p.matters for p in compare_runs((store, plain), (store, aml)).config}["pmme.dim"]


def test_results_are_those_of_the_records(store: Store, plan: Plan) -> None:
    plain, aml = pair_of(plan)
    compared = compare_runs((store, plain), (store, aml))
    evaluation = next(e for e in plan.runs[plain].evals if e.split == "testA")
    first, second = (Records.read(store.run(r).eval_records(evaluation.eval_id)) for r in (plain, aml))
    (oiou,) = [r for r in compared.results if (r.evaluation, r.metric) == ("refcoco+.testA", "oIoU")]
    values = [100 * r.intersection.sum() / r.union.sum() for r in (first, second)]
    assert (oiou.first, oiou.second) == (pytest.approx(values[0]), pytest.approx(values[1]))
    assert oiou.difference == pytest.approx(values[1] - values[0])
    assert oiou.interval is not None
    assert oiou.interval.low < values[1] - values[0] < oiou.interval.high
    # paired: by far narrower than the interval of one alone
    assert (
        oiou.interval.high - oiou.interval.low
        < 0.3 * 2 * 1.96 * 100 * np.std(first.intersection / first.union) / 30**0.5
    )
    (p50,) = [r for r in compared.results if (r.evaluation, r.metric) == ("refcoco+.testA", "P@0.5")]
    assert p50.interval is None


def test_agreement_by_hand() -> None:
    """IoUs 0.6 and 0.4; 0.5 and 0.5; 0 and 0.2; and an empty union in both."""
    ids = [[k, k, k, 10, 10] for k in range(4)]
    first = Records.from_counts(ids, [60, 50, 0, 0], [100, 100, 40, 0], [60, 50, 60, 0])
    second = Records.from_counts(ids, [40, 50, 20, 0], [80, 100, 60, 0], [60, 50, 60, 0])
    found = agreement("x", first, second)
    assert (found.samples, found.first_better, found.second_better) == (4, 1, 1)
    assert found.hits == (1, 1, 0, 2)  # 0.5 is a hit, an empty union none
    assert found.mean_distance == pytest.approx((0.2 + 0 + 0.2 + 0) / 4)
    assert same_samples(first, second)
    assert not same_samples(first, make_records(0.5, 4, 2, seed=0))


def test_other_samples_are_not_compared_one_by_one(store: Store, plan: Plan) -> None:
    plain, aml = pair_of(plan)
    evaluation = next(e for e in plan.runs[aml].evals if e.split == "testA")
    write_records(store, plan.runs[aml], evaluation, make_records(0.6, 80, 20, seed=5))
    other = next(e for e in plan.runs[plain].evals if e.split == "testB")
    store.run(plain).eval_records(other.eval_id).unlink()
    compared = compare_runs((store, plain), (store, aml))
    assert compared.remarks[0] == "refcoco+.testA: not the same samples, so nothing is compared sample by sample"
    assert compared.remarks[1].startswith("1 evaluations of B alone: refcoco+-testB-last")
    assert "refcoco+.testA" not in {each.evaluation for each in compared.agreements}
    (oiou,) = [r for r in compared.results if (r.evaluation, r.metric) == ("refcoco+.testA", "oIoU")]
    assert (oiou.difference is not None, oiou.interval) == (True, None)


def test_curves(store: Store, plan: Plan) -> None:
    plain, aml = pair_of(plan)
    rows = [
        {"kind": "step", "epoch": 1, "step": 1, "lr": 1e-3, "loss": 9.0},
        {"kind": "step", "epoch": 1, "step": 2, "lr": 5e-4, "loss": 9.0},
        {"kind": "epoch", "epoch": 1, "step": 2, "loss": 0.7, "seconds": 3.0},
        {"kind": "validation", "epoch": 1, "step": 2, "oiou": 12.5, "samples": 8, "by": "oIoU on val"},
    ]
    write_text(store.run(plain).history, "".join(json.dumps(row) + "\n" for row in rows))
    curves = {curve.name: curve for curve in compare_runs((store, plain), (store, aml)).curves}
    assert curves["lr"].first == (5e-4,)  # the last of the epoch
    assert (curves["loss"].epochs, curves["loss"].first, curves["loss"].second) == ((1, 2), (0.7, None), (1.0, 0.5))
    assert (curves["val oIoU"].first, curves["val oIoU"].second) == ((12.5,), (None,))
    assert "seconds" not in curves


def test_the_same_run_differs_in_nothing(store: Store, plan: Plan) -> None:
    plain, _ = pair_of(plan)
    value = as_json(compare_runs((store, plain), (store, plain)))
    assert [value[name] for name in ("config", "environment", "curves", "results")] == [[], [], [], []]
    assert all(each["first_better"] == each["second_better"] == 0 for each in value["agreements"])
    everything = as_json(compare_runs((store, plain), (store, plain)), everything=True)
    assert len(everything["config"]) > 60
    assert all(each["same"] for each in everything["config"])


def test_small_parts() -> None:
    assert flatten({"a": {"b": 1, "c": {}}, "d": [2]}) == {"a.b": 1, "a.c": {}, "d": [2]}
    assert sparkline([0.0, None, 1.0], 0.0, 1.0) == "▁ █"
    assert sparkline([3.0, 3.0], 3.0, 3.0) == "▁▁"
    assert sparkline([float(k) for k in range(100)], 0.0, 99.0, points=8) == "▁▂▃▄▅▆▇█"
    assert ABSENT == "-"


def test_agreement_fits_eighty_columns() -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(_agreements([Agreement("refcocog(google).testA, haze 4", 10834, 5000, 5000, (1, 2, 3, 4), 0.25)]))
    text = console.export_text()
    assert "0.250" in text
    assert "…" not in text


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ending:
        main(["diff", *map(str, arguments)])
    captured = capsys.readouterr()
    return int(ending.value.code or 0), captured.out, captured.err


def test_the_command(store: Store, plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("caris_plain", "caris_aml", "--store", store.root)
    code, out, _ = run(capsys, *names)
    assert code == 0
    assert "No evidence about the paper" in out
    assert "afm.tau" in out
    assert "train.lr" not in out
    assert "B − A" in out
    assert "train.lr" in run(capsys, *names, "--all")[1]
    value = json.loads(run(capsys, *names, "--json")[1])
    assert (value["first"], value["second"]) == pair_of(plan)
    for given, said in [
        (("caris", "caris_aml"), "several runs begin with 'caris'"),
        (("caris_plain", "nothing"), "unknown run 'nothing'"),
        ((*names[:2], "--profile", "demo"), "a store without runs"),
    ]:
        code, _, err = run(capsys, *given, "--store", store.root)
        assert (code, said in err) == (2, True), err
