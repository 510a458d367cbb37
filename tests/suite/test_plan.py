"""Plans: unique runs, their cost, sharing, and where every cell comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from amlrepro.errors import UserError
from amlrepro.suite.experiment import load_experiments
from amlrepro.suite.inputs import Inputs
from amlrepro.suite.plan import Plan
from amlrepro.suite.planner import build_plan
from amlrepro.suite.printed import load_all_printed
from amlrepro.suite.profile import load_profile, resolve
from amlrepro.suite.rows import Choices
from amlrepro.suite.store import Store
from amlrepro.suite.summary import summarize

# A800 hours of R01 to R13 as the protocol notes work them out: minutes an epoch of Table 9 x 50 x refs / 42,278; ReLA:
# 150,000 updates of 16 at CARIS's time a sample x (480 / 448)^2, with AML x 35.35 / 30.16.
HOURS = {
    ("caris", "plain", "refcoco"): 25.2,
    ("caris", "plain", "refcoco+"): 25.1,
    ("caris", "plain", "refcocog"): 25.1,
    ("caris", "plain", "combined"): 75.4,
    ("caris", "aml", "refcoco"): 29.5,
    ("caris", "aml", "refcoco+"): 29.5,
    ("caris", "aml", "refcocog"): 29.4,
    ("caris", "aml", "combined"): 88.4,
    ("detris", "plain", "refcoco"): 22.6,
    ("detris", "plain", "refcoco+"): 22.5,
}
TABLE2 = {
    ("caris", "plain", "refcoco+"): 25.1,
    ("caris", "aml", "refcoco+"): 29.5,
    ("detris", "plain", "refcoco+"): 22.5,
    ("detris", "aml", "refcoco+"): 27.0,
}
TABLE11 = {("rela", "plain", "grefcoco"): 32.8, ("rela", "aml", "grefcoco"): 38.4}


def table1(profile: str = "paper", inputs: Inputs | None = None, **choices: object) -> Plan:
    return tables("table1", profile=profile, inputs=inputs, **choices)


def tables(*names: str, profile: str = "paper", inputs: Inputs | None = None, **choices: object) -> Plan:
    spec = load_profile(profile)
    made = inputs or Inputs(spec.source)
    return build_plan(load_experiments(list(names)), spec, made, Choices(**choices))  # type: ignore[arg-type]


def hours(plan: Plan) -> dict[tuple[str, str, str], float | None]:
    """Cost by model, strategy and training set."""
    found: dict[tuple[str, str, str], float | None] = {}
    for run in plan.runs.values():
        found[run.config.model.name, run.config.strategy, run.config.data.train] = run.cost_hours
    assert len(found) == len(plan.runs)
    return found


def test_table1_is_ten_runs_at_the_papers_rates() -> None:
    assert hours(table1()) == pytest.approx(HOURS, abs=0.1)


def test_tables_2_and_11_are_their_runs_at_their_rates() -> None:
    assert hours(tables("table2")) == pytest.approx(TABLE2, abs=0.06)
    assert hours(tables("table11")) == pytest.approx(TABLE11, abs=0.06)


def test_table3_trains_only_as_far_as_it_needs() -> None:
    plan = tables("table3")
    aml = {("caris", "aml", name): 29.5 * 10 / 50 for name in ("refcoco", "refcoco+")}
    early = {key: value * 5_000 / 150_000 for key, value in TABLE11.items()}
    assert hours(plan) == pytest.approx(aml | early, abs=0.06)
    assert {(run.config.model.name, run.until, run.milestones) for run in plan.runs.values()} == {
        ("caris", 10, (10,)),
        ("rela", 1, (1,)),
    }
    assert {c.column for c in plan.cells if c.kind == "measured" and c.row == "caris_aml_10ep"} == {
        "refcoco.oiou",
        "refcoco+.oiou",
    }
    assert {(e.split, e.checkpoint) for run in plan.runs.values() for e in run.evals} == {
        ("val", "epoch10"),
        ("val", "epoch1"),
    }


def test_tables_share_runs() -> None:
    assert hours(tables("table1", "table2")) == pytest.approx(HOURS | TABLE2, abs=0.1)
    everything = tables("table1", "table2", "table3", "table11")
    assert hours(everything) == pytest.approx(HOURS | TABLE2 | TABLE11, abs=0.1)
    by_id = everything.runs
    for name in ("table1", "table2", "table3", "table11"):
        assert tables(name).runs.keys() <= by_id.keys()
    asked = next(run for run in by_id.values() if run.config.data.train == "grefcoco")
    assert {e.checkpoint for e in asked.evals} == {"epoch1", "last"}
    assert (asked.until, asked.milestones) == (30, (1,))


def test_runs_keep_what_other_tables_ask_of_them_without_needing_it() -> None:
    run = next(r for r in table1().runs.values() if r.config.strategy == "aml" and r.config.data.train == "refcoco+")
    assert run.config.exec.milestones == (*range(11), 26, 30, 42)  # Tables 3, 7, 10, 12, 13
    assert run.milestones == ()


def test_metrics_and_checkpoints_of_columns() -> None:
    cells = {(c.column, c.requests[0].eval.checkpoint): c.metric for c in tables("table11").cells}
    assert cells == {
        ("ciou.5k", "epoch1"): "ciou",
        ("giou.5k", "epoch1"): "giou",
        ("ciou.150k", "last"): "ciou",
        ("giou.150k", "last"): "giou",
    }


def test_a_shorter_schedule_takes_checkpoints_at_the_same_share_of_its_way() -> None:
    pilot = tables("table3", "table11", profile="pilot")
    names = {(r.config.model.name, e.checkpoint) for r in pilot.runs.values() for e in r.evals}
    assert names == {("caris", "epoch2"), ("rela", "epoch1"), ("rela", "last")}
    smoke = tables("table3", profile="smoke")
    assert {e.checkpoint for r in smoke.runs.values() for e in r.evals} == {"epoch1"}


def test_a_run_that_ends_before_a_checkpoint_is_told() -> None:
    cells = tables("table3", overrides={"exec.until": 5}).cells
    reasons = {c.row: c.reason for c in cells if c.kind == "unavailable"}
    assert reasons == {"caris_aml_10ep": "epoch 10 is asked for, and runs end after epoch 5"}


def test_every_model_is_fed_and_scored_by_its_own_protocol() -> None:
    runs = {r.config.model.name: r for r in tables("table2", "table11").runs.values()}
    detris, rela = runs["detris"], runs["rela"]
    assert {e.resolution for e in detris.evals} == {"original"}
    assert (detris.config.data.vocabulary, detris.config.data.max_tokens) == ("clip", 17)
    assert (detris.config.train.optimizer, detris.config.train.batch, detris.config.train.horizon) == ("adam", 16, 50)
    assert {e.resolution for e in rela.evals} == {"resized"}
    assert (rela.config.data.image_size, rela.config.data.text, rela.config.data.sampling) == (480, "raw", "expression")
    assert (rela.config.train.batch, rela.config.train.horizon * 80_000) == (16, 150_000 * 16)


def test_the_joint_step_leaves_out_models_whose_vision_reads_the_sentence() -> None:
    plan = tables("table2", preset="released")
    cells = [c for c in plan.cells if c.row == "detris_aml"]
    assert {c.kind for c in cells} == {"unavailable"}
    assert "joint step" in str(cells[0].reason)
    assert len(plan.runs) == 3


def test_a_reading_of_features_is_for_the_model_that_offers_it() -> None:
    plan = tables("table2", overrides={"pmme.features": "frozen"})
    found = {r.config.model.name: r.config.pmme.features for r in plan.runs.values() if r.config.strategy == "aml"}
    assert found == {"caris": "default", "detris": "frozen"}


def test_a_split_owner_decides_the_word_limit() -> None:
    spec = load_profile("paper")
    umd = resolve(spec, "detris", "baseline", "refcocog")
    google = resolve(spec, "detris", "baseline", "refcocog", overrides={"data.split_by": "google"})
    assert (umd.data.max_tokens, google.data.max_tokens) == (22, 17)


@pytest.mark.parametrize("name", ["table1", "table2"])
def test_grefcoco_is_refused_where_one_object_is_segmented(name: str) -> None:
    with pytest.raises(UserError, match="several objects or none") as error:
        tables(name, overrides={"data.train": "grefcoco"})
    assert "rela" in str(error.value)


def test_one_weight_file_cannot_serve_two_kinds_of_encoders() -> None:
    with pytest.raises(UserError, match="AMLRIS_DINOV2"):
        tables("table2", overrides={"exec.vision_weights": "swin.pth"})


def test_miou_and_oiou_share_runs_and_evaluations() -> None:
    plan = table1()
    for column in ("refcoco.val", "refcoco+.testB", "refcocog.test"):
        cells = [c for c in plan.cells if c.row == "caris_aml" and c.column == column]
        first, second, combined = (c.requests for c in cells)
        assert first == second != combined
    summary = summarize(plan, None)
    # 2 rows x 3 data sets x 2 blocks, DETRIS on 2 data sets in 2 blocks, and 2 combined
    assert summary.rows_served == 12 + 4 + 2
    assert summary.hours == pytest.approx(sum(HOURS.values()), abs=0.3)
    assert summary.asked == summary.trainings == 10
    assert summary.hours_unshared == summary.hours


def test_sharing_is_counted_by_table() -> None:
    """Table 2 trains 4 models on RefCOCO+, 3 of which are Table 1's; 10 + 4 are asked for."""
    summary = summarize(tables("table1", "table2"), None)
    assert (summary.asked, summary.trainings, summary.trainings_done) == (14, 11, 0)
    shared = [HOURS["caris", s, "refcoco+"] for s in ("plain", "aml")] + [HOURS["detris", "plain", "refcoco+"]]
    assert summary.hours_unshared == pytest.approx((summary.hours or 0) + sum(shared), abs=0.2)


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
    kinds = {kind: sum(c.kind == kind for c in cells) for kind in ("measured", "derived", "printed", "unavailable")}
    # DETRIS: six numbers in each of two blocks; RefCOCOg and the average are dashes in print.
    ours = {"measured": 3 * 2 * 8 + 2 * 6, "derived": 3 * 2, "unavailable": 0}
    assert kinds == {**ours, "printed": (7 + 6 + 5) * 9 + 2 * 3}
    assert {c.row for c in cells if c.kind == "printed"} >= {"detris", "magnet", "polyformer"}
    average = next(c for c in cells if c.kind == "derived")
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
    assert len(shared) == 4 + 2


def test_seeds_make_runs_of_the_same_recipes() -> None:
    plan = table1(seeds=(0, 1, 2))
    assert len(plan.runs) == 30
    assert len({run.config.recipe_id for run in plan.runs.values()}) == 10
    cell = next(c for c in plan.cells if c.kind == "measured")
    assert [plan.runs[r.run_id].config.seed for r in cell.requests] == [0, 1, 2]


def test_tau_zero_is_the_baseline() -> None:
    assert len(table1(overrides={"afm.tau": 0.0}).runs) == 4 + 2


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
    run = next(run for run in plan.runs.values() if run.run_id.startswith("caris_plain_refcoco-"))
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
def test_wrong_choices(choices: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError) as error:
        table1(**choices)
    assert says in str(error.value)


def test_planning_writes_nothing(tmp_path: Path) -> None:
    plan = table1("demo", Inputs("synth", synth_folder=tmp_path / "data"))
    summarize(plan, Store(tmp_path / "results", "demo"))
    assert list(tmp_path.iterdir()) == []


def test_everything_is_thirty_runs_and_939_hours() -> None:
    """R01 to R30 of the paper's protocol and their total at its own rates; milestones as its list of checkpoints."""
    plan = tables("all")
    assert len(plan.runs) == 30
    assert sum(run.cost_hours or 0 for run in plan.runs.values()) == pytest.approx(939, abs=0.5)
    by_milestones = sorted((run.milestones, run.until) for run in plan.runs.values() if run.milestones)
    assert by_milestones == [
        ((0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 26, 30, 42), 50),  # R06
        ((1,), 1),  # R28 stops after epoch 1
        ((1,), 30),  # R12, R13: 5,000 of 150,000 updates
        ((1,), 30),
        ((1, 10, 30), 50),  # R02
        ((10,), 50),  # R05
    ]


def test_every_printed_cell_of_a_method_is_made_here() -> None:
    """No cell that the paper measured (reproduced or ours) is left out of all experiments."""
    made = {
        (b.printed, c.row, c.column)
        for p in [tables("all")]
        for c in p.cells
        if c.kind != "printed"
        for b in [p.block(c.experiment, c.block)]
        if b.printed
    }
    left_out = [
        (key, row.key, column.key)
        for key, table in load_all_printed().items()
        for row in table.rows
        for column in table.columns
        if row.kind != "cited" and row.values[column.key] is not None and (key, row.key, column.key) not in made
    ]
    assert left_out == []


def test_scaled_values_take_the_profiles_size() -> None:
    def dims(profile: str) -> set[int]:
        return {run.config.pmme.dim for run in tables("table5", profile=profile).runs.values()}

    assert dims("paper") == {1024, 2048, 4096}
    assert dims("demo") == {32, 64, 128}


def test_a_baseline_is_measured_with_the_methods_similarity() -> None:
    plan = tables("figure6")
    probes = {c.row: c.requests[0].probe for c in plan.cells_of("figure6", "statistics")}
    aml = next(run.config for run in plan.runs.values() if run.config.strategy == "aml")
    assert (probes["caris"].pmme, probes["caris"].afm) == (aml.pmme, aml.afm)
    assert (probes["caris_aml"].pmme, probes["caris_aml"].afm) == (aml.pmme, aml.afm)


def test_a_measurement_of_cost_trains_nothing() -> None:
    plan = tables("table9")
    assert {run.until for run in plan.runs.values()} == {0}
    assert sum(run.cost_hours or 0 for run in plan.runs.values()) == 0
    formulas = {c.row: c.value for c in plan.cells if c.column == "batch_size"}
    assert formulas == {"caris": 16, "caris_aml": 16, "detris": 16, "detris_aml": 16}


def test_a_recipe_is_worked_out_once_for_all_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    """And each seed's configuration is the one that it alone would have."""
    resolved: list[object] = []

    def count(*arguments: Any, **more: Any) -> Any:
        resolved.append(arguments[1:])
        return resolve(*arguments, **more)

    monkeypatch.setattr("amlrepro.suite.rows.resolve", count)
    one = len(table1(seeds=(0,)).runs), len(resolved)
    resolved.clear()
    plan = table1(seeds=tuple(range(17)))
    assert (len(plan.runs), len(resolved)) == (17 * one[0], one[1])
    assert set(table1(seeds=(5,)).runs) == {name for name in plan.runs if name.endswith("-s5")}
    (alone,) = (run for name, run in table1(seeds=(5,)).runs.items() if name.startswith("caris_aml_refcocog"))
    assert plan.runs[alone.run_id].config == alone.config


def test_a_seed_that_a_command_sets_by_name_stands() -> None:
    plan = table1(seeds=(0, 1), overrides={"seed": 7})
    assert {run.config.seed for run in plan.runs.values()} == {7}
