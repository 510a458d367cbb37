"""Ablations as experiments: their runs are the tables' runs."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from amlrepro.aml.axes import axis, parse_values
from amlrepro.suite.ablation import Sweep, ablation_experiment
from amlrepro.suite.experiment import Experiment, load_experiment
from amlrepro.suite.figures import GridFigure, SweepFigure
from amlrepro.suite.inputs import Inputs
from amlrepro.suite.plan import Plan
from amlrepro.suite.planner import build_plan
from amlrepro.suite.profile import load_profile
from amlrepro.suite.rows import Choices


def sweep(name: str, *values: str) -> Sweep:
    found = axis(name)
    return Sweep(found, tuple(change[found.key] for change in parse_values(found, values)))


def plan(experiment: Experiment, profile: str = "paper", overrides: Mapping[str, object] | None = None) -> Plan:
    inputs = Inputs("refer") if profile == "paper" else Inputs("synth")
    return build_plan([experiment], load_profile(profile), inputs, Choices(overrides=overrides or {}))


def ablation(*sweeps: Sweep, split: str = "val", metrics: tuple[str, ...] = ("oiou",)) -> Experiment:
    return ablation_experiment(sweeps, "refcoco+", [("refcoco+", split)], metrics)


def runs_of(table: str) -> dict[str, str]:
    """Run by printed row, of the cells that RefCOCO+ is trained for."""
    made = plan(load_experiment(table))
    on_plus = {run_id for run_id, run in made.runs.items() if run.config.data.train == "refcoco+"}
    return {c.row: r.run_id for c in made.cells for r in c.evaluations if r.run_id in on_plus}


@pytest.mark.parametrize(
    ("table", "sweeps", "rows"),
    [
        ("table4", [sweep("tau", "0.2", "0.3", "0.4")], 4),
        ("table16", [sweep("tau", "0.3", "0.4"), sweep("rho", "1/2", "1/4", "1/6")], 7),
        ("table5", [sweep("da", "1024", "2048", "4096")], 3),
        ("table6", [sweep("stage", "early", "late", "pred")], 4),
        ("table18", [sweep("level", "image", "feature")], 3),
    ],
)
def test_runs_are_those_of_the_papers_tables(table: str, sweeps: list[Sweep], rows: int) -> None:
    found = set(plan(ablation(*sweeps)).runs)
    assert len(found) == 1 + len(sweeps[0].values) * (len(sweeps[1].values) if sweeps[1:] else 1)
    expected = set(runs_of(table).values())
    assert len(expected) == rows
    assert expected <= found


def test_evaluations_are_those_of_the_table_too() -> None:
    ours = {(r.run_id, r.eval_id) for c in plan(ablation(sweep("tau", "0.2", "0.3"))).cells for r in c.evaluations}
    theirs = {(r.run_id, r.eval_id) for c in plan(load_experiment("table4")).cells for r in c.evaluations}
    assert len(ours) == 3
    assert ours < theirs


def test_a_short_budget_is_the_beginning_of_the_same_runs() -> None:
    whole = plan(ablation(sweep("tau", "0.2")))
    short = plan(ablation(sweep("tau", "0.2")), overrides={"exec.until": 10})
    assert set(whole.runs) == set(short.runs)
    assert {run.until for run in short.runs.values()} == {10}
    assert {e.checkpoint for run in short.runs.values() for e in run.evals} == {"epoch10"}


def test_pictures_trained_on_are_left_out_beside() -> None:
    experiment = ablation_experiment([sweep("tau", "0.2")], "refcoco+", [("refcocog", "val")])
    subsets = [cell.subset for cell in plan(experiment).cells]
    assert subsets == ["all", "unseen", "all", "unseen"]
    assert experiment.notes


def test_figures_name_every_row_at_its_place() -> None:
    experiment = ablation(sweep("tau", "0.2", "0.4"), sweep("rho", "1/6", "1/2"))
    curves, grid = experiment.figures
    assert isinstance(curves, SweepFigure)
    assert curves.x == [0.2, 0.4]
    assert curves.reference == "baseline"
    table = experiment.blocks[0].table()
    for y, (name, rows) in enumerate(curves.lines.items()):
        assert [table.row(row).label for row in rows] == [f"tau 0.2, {name}", f"tau 0.4, {name}"]
        assert isinstance(grid, GridFigure)
        assert grid.cells[y] == rows
    settings = experiment.blocks[0].rows["tau_0.2_rho_0.1667"].set
    assert settings == {"afm.tau": 0.2, "afm.rho": pytest.approx(1 / 6)}


def test_a_preset_is_a_rows_own() -> None:
    """A profile's keys for a preset apply: the demo's smaller blocks."""
    made = plan(ablation(sweep("preset", "inferred", "literal", "baseline")), "demo")
    by_row = {cell.row: made.runs[cell.evaluations[0].run_id].config for cell in made.cells}
    assert by_row["baseline"].run_id == by_row["preset_baseline"].run_id
    assert by_row["preset_literal"].afm.dropout == "pixel"
    assert by_row["preset_literal"].afm.block == by_row["preset_inferred"].afm.block == 16
