"""Costs that `amlris bench` left: read for tables and plans, of the right sizes only, told as what they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from amlrepro.bench.catalogue import find
from amlrepro.bench.result import as_json, write_result
from amlrepro.bench.spec import Setting
from amlrepro.errors import UserError
from amlrepro.suite.benched import Measures, benched_value, find_cost, read_costs, read_measures
from amlrepro.suite.cells import block_cells
from amlrepro.suite.experiment import load_experiments
from amlrepro.suite.inputs import Inputs
from amlrepro.suite.plan import Plan
from amlrepro.suite.planner import build_plan
from amlrepro.suite.profile import load_profile
from amlrepro.suite.rates import PAPER, measure_rates, says
from amlrepro.suite.rows import Choices
from amlrepro.suite.store import Store
from amlrepro.suite.summary import summarize


def _row(aml: bool, seconds: float, memory: float, **more: Any) -> dict[str, Any]:
    return {
        "model": "caris",
        "size": "demo",
        "image_size": 112,
        "aml": aml,
        "numerics": "faithful",
        "batch": 16,
        "seconds_per_step": seconds,
        "seconds_per_step_q1": seconds,
        "seconds_per_step_q3": seconds,
        "images_per_s": 16 / seconds,
        "memory_mb": memory,
        "allocator_mb": None,
        **more,
    }


def _bench(root: Path, rows: list[dict[str, Any]], device: str = "CPU (X), threads: 1") -> Path:
    path = root / "bench" / device.split()[0].lower() / "demo" / "cost_caris.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"name": "cost_caris", "device": device, "details": {"costs": rows}}))
    return path


def _plan(*names: str) -> Plan:
    profile = load_profile("demo")
    return build_plan(load_experiments(list(names)), profile, Inputs(profile.source), Choices())


def test_table_9_from_a_bench_by_hand(tmp_path: Path) -> None:
    """160 refs in batches of 16 are 10 steps an epoch: 0.6 s a step are 0.1 minutes; 0.69 over 0.6 is 15 %; 1010 MiB
    over 1000 is 1 %. DETRIS was not benched and has no number."""
    _bench(tmp_path, [_row(False, 0.6, 1000.0), _row(True, 0.69, 1010.0)])
    cells = block_cells(Store(tmp_path, "demo"), _plan("table9"), "table9", "cost")
    found = {row: cells[row, "time_min_per_epoch"].value for row in ("caris", "caris_aml", "detris")}
    assert found == {"caris": pytest.approx(0.1), "caris_aml": pytest.approx(0.115), "detris": None}
    assert cells["caris_aml", "time_overhead_pct"].value == pytest.approx(15.0)
    assert cells["caris_aml", "memory_overhead_pct"].value == pytest.approx(1.0)
    cell = cells["caris", "memory_mb"]
    assert cell.value == 1000.0
    assert cell.seeds == ()  # nothing is concluded from it
    assert "by amlris bench, CPU (X)" in str(cell.reason)


def test_a_plan_is_charged_by_what_was_benched(tmp_path: Path) -> None:
    """10 images/s without and 8 with AML: 1/36000 and 1/28800 hours a sample."""
    plan = _plan("table2")
    store = Store(tmp_path, "demo")
    assert measure_rates(store) is PAPER
    _bench(tmp_path, [_row(False, 1.6, 1.0), _row(True, 2.0, 1.0), _row(True, 1.0, 1.0, numerics="fast")])
    rates = measure_rates(store)
    config = next(run.config for run in plan.runs.values() if run.config.strategy == "aml")
    assert rates.hours_per_sample(config, False) == pytest.approx(1 / 36000)
    assert rates.hours_per_sample(config, True) == pytest.approx(1 / 28800)
    assert rates.gpu == "CPU"
    assert says(rates, plan.runs.values()).startswith("what was benched (amlris bench) on CPU")
    assert measure_rates(Store(tmp_path, "smoke")) is PAPER  # other sizes


def test_only_the_same_kind_of_step_is_meant(tmp_path: Path) -> None:
    _bench(tmp_path, [_row(False, 1.0, 1.0)])
    costs = read_costs(tmp_path, "demo")
    config = next(run.config for run in _plan("table2").runs.values() if run.config.strategy == "plain")
    assert find_cost(costs, config) is costs[0]
    for change in ({"train.batch": 8}, {"afm.tau": 0.4}, {"data.image_size": 96}, {"model.options": {"layers": 1}}):
        assert find_cost(costs, config.with_changes(change)) is None
    assert benched_value(costs[0], "time_min_per_epoch", 119) == pytest.approx(7 / 60)  # the short batch is dropped
    assert benched_value(costs[0], "time_min_per_epoch", None) is None


def test_hours_with_all_measures_by_hand(tmp_path: Path) -> None:
    """12 h of training at 1.5 x and 6 h of scoring at 2 x are 8 + 3; of DETRIS no scoring is shared, so 8 + 6. A
    measure whose gate failed does not count."""
    plan = _plan("table2")
    caris, detris = (
        next(r.config for r in plan.runs.values() if r.config.model.name == n) for n in ("caris", "detris")
    )
    for name, value, passed in (("training", 1.5, True), ("evaluation", 2.0, True)):
        path = tmp_path / "bench" / "cpu" / "demo" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"device": "CPU", "value": {"median": value}, "gate": {"passed": passed}}))
    measures = read_measures(tmp_path, "demo")
    assert measures == Measures("CPU", 1.5, 2.0)
    assert measures is not None
    assert measures.hours(caris, 12.0, 6.0) == pytest.approx(11.0)
    assert measures.hours(detris, 12.0, 6.0) == pytest.approx(14.0)
    _bench(tmp_path, [_row(False, 1.6, 1.0), _row(True, 2.0, 1.0)])
    store = Store(tmp_path, "demo")
    summary = summarize(plan, store, measure_rates(store))
    assert summary.hours_fast is not None
    assert summary.hours_in_all is not None
    assert summary.hours_in_all / 2 < summary.hours_fast < summary.hours_in_all / 1.4
    path.write_text(json.dumps({"device": "CPU", "value": {"median": 2.0}, "gate": {"passed": False}}))
    assert read_measures(tmp_path, "demo") == Measures("CPU", 1.5, None)
    assert read_measures(tmp_path, "smoke") is None


def test_a_file_that_is_none_is_told(tmp_path: Path) -> None:
    path = _bench(tmp_path, [{"model": "caris"}])
    with pytest.raises(UserError, match="no result of") as error:
        read_costs(tmp_path, "demo")
    assert str(path) in str(error.value)
    for text in ("[]", '{"device": "CPU", "gate": null}'):
        path.with_name("training.json").write_text(text)
        with pytest.raises(UserError, match=r"no result of"):
            read_measures(tmp_path, "demo")


@pytest.mark.slow
def test_what_the_bench_writes_is_what_is_read(tmp_path: Path) -> None:
    """A real pair in two processes at smoke size."""
    bench, setting = find("cost_caris"), Setting("smoke", rounds=4)
    measured = bench.run(setting)
    write_result(tmp_path / "bench", as_json(bench, setting, measured, "CPU (X), threads: 1", "2"))
    plain, with_aml = read_costs(tmp_path, "smoke")
    assert (plain.aml, with_aml.aml) == (False, True)
    assert plain.images_per_s == pytest.approx(4 / float(plain.values["seconds_per_step"] or 0))
    assert min(float(cost.values["memory_mb"] or 0) for cost in (plain, with_aml)) > 50
