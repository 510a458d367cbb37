"""Plans: unique runs, their cost, sharing, and where every cell comes from."""

from __future__ import annotations

from pathlib import Path

import pytest

from amlrepro.errors import UserError
from amlrepro.suite.experiment import load_experiment
from amlrepro.suite.inputs import Inputs
from amlrepro.suite.plan import Plan
from amlrepro.suite.planner import Choices, build_plan
from amlrepro.suite.profile import load_profile
from amlrepro.suite.store import Store
from amlrepro.suite.summary import summarize

# A800 hours of R01 to R08 as the protocol notes work them out: minutes an epoch of Table 9 x 50 x refs / 42,278.
HOURS = {
    ("plain", "refcoco"): 25.2,
    ("plain", "refcoco+"): 25.1,
    ("plain", "refcocog"): 25.1,
    ("plain", "combined"): 75.4,
    ("aml", "refcoco"): 29.5,
    ("aml", "refcoco+"): 29.5,
    ("aml", "refcocog"): 29.4,
    ("aml", "combined"): 88.4,
}


def table1(profile: str = "paper", inputs: Inputs | None = None, **choices: object) -> Plan:
    spec = load_profile(profile)
    made = inputs or Inputs(spec.source)
    return build_plan([load_experiment("table1")], spec, made, Choices(**choices))  # type: ignore[arg-type]


def test_table1_is_eight_runs_at_the_papers_rates() -> None:
    runs = table1().runs.values()
    found = {(run.config.strategy, run.config.data.train): run.cost_hours for run in runs}
    assert len(runs) == 8
    assert found == pytest.approx(HOURS, abs=0.1)


def test_miou_and_oiou_share_runs_and_evaluations() -> None:
    plan = table1()
    for column in ("refcoco.val", "refcoco+.testB", "refcocog.test"):
        cells = [c for c in plan.cells if c.row == "caris_aml" and c.column == column]
        first, second, combined = (c.requests for c in cells)
        assert first == second != combined
    summary = summarize(plan, None)
    assert summary.rows_served == 14  # 2 rows x 3 data sets x 2 blocks, and 2 combined
    assert summary.hours == pytest.approx(sum(HOURS.values()), abs=0.3)
    separate = sum(hours for (_, train), hours in HOURS.items() if train != "combined")
    assert summary.hours_unshared == pytest.approx(sum(HOURS.values()) + separate, abs=0.5)


def test_each_data_set_is_scored_by_its_own_model_and_the_combined_one_everywhere() -> None:
    plan = table1()
    splits = {"refcoco": 3, "refcoco+": 3, "refcocog": 2}
    for run in plan.runs.values():
        own = [e for e in run.evals if e.text == "own"]
        if run.config.data.train == "combined":
            assert len(own) == 8
        else:
            assert len(own) == splits[run.config.data.train]
            assert {e.dataset for e in own} == {run.config.data.train}
    others = [(run.config.strategy, run.config.data.train, e.split) for run in plan.runs.values() for e in run.evals
              if e.text == "other"]  # fmt: skip
    assert others == [("plain", "refcoco", "val")]  # the language check's


def test_kinds_of_cells() -> None:
    cells = table1().cells
    kinds = {kind: sum(c.kind == kind for c in cells) for kind in ("measured", "average", "printed", "unavailable")}
    assert kinds == {"measured": 3 * 2 * 8, "average": 3 * 2, "printed": (8 + 7 + 5) * 9, "unavailable": 0}
    assert {c.row for c in cells if c.kind == "printed"} >= {"detris", "magnet", "polyformer"}
    average = next(c for c in cells if c.kind == "average")
    assert len(average.parts) == 8


def test_aml_rows_carry_their_preset() -> None:
    assert {c.preset for c in table1().cells if c.row == "caris_aml"} == {"inferred"}
    assert {c.preset for c in table1().cells if c.row == "caris"} == {"baseline"}
    assert {c.preset for c in table1(preset="literal").cells if c.row == "caris_aml"} == {"literal"}
    tuned = table1(overrides={"afm.tau": 0.3})
    assert {c.preset for c in tuned.cells if c.row == "caris_aml"} == {"inferred, tau 0.3"}


def test_a_preset_changes_the_aml_runs_only() -> None:
    inferred, released = table1(), table1(preset="released")
    shared = inferred.runs.keys() & released.runs.keys()
    assert {inferred.runs[run_id].config.strategy for run_id in shared} == {"plain"}
    assert len(shared) == 4


def test_seeds_make_runs_of_the_same_recipes() -> None:
    plan = table1(seeds=(0, 1, 2))
    assert len(plan.runs) == 24
    assert len({run.config.recipe_id for run in plan.runs.values()}) == 8
    cell = next(c for c in plan.cells if c.kind == "measured")
    assert [plan.runs[r.run_id].config.seed for r in cell.requests] == [0, 1, 2]


def test_tau_zero_is_the_baseline() -> None:
    assert len(table1(overrides={"afm.tau": 0.0}).runs) == 4


def test_a_shorter_run_is_scored_at_its_milestone() -> None:
    run = next(iter(table1(overrides={"exec.until": 10}).runs.values()))
    assert (run.until, run.milestones) == (10, (10,))
    assert {e.checkpoint for e in run.evals} == {"epoch10"}
    assert run.run_id in table1().runs  # how far it goes is not part of its name
    with pytest.raises(UserError, match=r"exec\.until"):
        table1(overrides={"exec.until": 51})


def test_small_models_have_no_cost() -> None:
    assert {run.cost_hours for run in table1("demo").runs.values()} == {None}
    assert table1("demo").watermark
    assert table1("paper").watermark is None


def test_cost_follows_the_data_that_are_there(shared: Path) -> None:
    plan = table1("paper", Inputs("refer", shared / "data" / "refcoco_mini"))
    run = next(run for run in plan.runs.values() if run.config.data.train == "refcoco")
    assert run.refs == 47  # the miniature's training refs
    assert run.cost_hours == pytest.approx(30.16 / 60 * 50 * 47 / 42278)


def test_real_data_without_some_sets_leave_reasons(shared: Path) -> None:
    plan = table1("demo", Inputs("refer", shared / "data" / "refcoco_mini"))
    assert plan.watermark == load_profile("demo").real_watermark
    assert {run.config.data.train for run in plan.runs.values()} == {"refcoco", "refcoco+", "combined"}
    assert all(run.config.data.digest for run in plan.runs.values())
    there = {"refcoco.testA", "refcoco.testB", "refcoco+.testA", "refcoco+.testB"}
    measured = {(c.block, c.column) for c in plan.cells if c.kind == "measured"}
    assert measured == {
        *((block, column) for block in ("miou", "oiou", "combined") for column in there),
        ("combined", "refcocog.val"),
    }
    reasons = {c.column: str(c.reason) for c in plan.cells if c.kind == "unavailable" and c.block == "miou"}
    assert "val" in reasons["refcoco.val"]
    assert "train" in reasons["refcocog.val"]  # it has a val split, but nothing to train on
    language = next(check for check in plan.checks if check.name == "language_use")
    assert "val" in str(language.reason)


@pytest.mark.parametrize(
    ("choices", "says"),
    [
        ({"preset": "infered"}, "did you mean 'inferred'"),
        ({"overrides": {"afm.tua": 0.3}}, "did you mean 'afm.tau'"),
        ({"overrides": {"afm.tau": "high"}}, "afm.tau"),
        ({"overrides": {"model.size": "huge"}}, "unknown model size"),
    ],
)
def test_wrong_choices(choices: dict[str, object], says: str) -> None:
    with pytest.raises(UserError) as error:
        table1(**choices)
    assert says in str(error.value)


def test_planning_writes_nothing(tmp_path: Path) -> None:
    plan = table1("demo", Inputs("synth", synth_folder=tmp_path / "data"))
    summarize(plan, Store(tmp_path / "results", "demo"))
    assert list(tmp_path.iterdir()) == []
