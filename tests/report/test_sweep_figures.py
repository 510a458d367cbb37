"""Figures of ablations: every number at the place of its settings."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_store import fill

from amlrepro.aml.axes import axis, parse_values
from amlrepro.report.figures.build import recipe
from amlrepro.report.figures.data import CurvesData, GridData
from amlrepro.report.figures.recipe import NotThereError, Origin
from amlrepro.suite.ablation import Sweep, ablation_experiment
from amlrepro.suite.cells import block_cells
from amlrepro.suite.inputs import Inputs
from amlrepro.suite.planner import build_plan
from amlrepro.suite.profile import load_profile
from amlrepro.suite.rows import Choices
from amlrepro.suite.store import Store


def sweep(name: str, *values: str) -> Sweep:
    found = axis(name)
    return Sweep(found, tuple(change[found.key] for change in parse_values(found, values)))


def origin(folder: Path, *sweeps: Sweep, filled: bool = True) -> Origin:
    """An ablation's plan with made-up records behind it."""
    experiment = ablation_experiment(sweeps, "refcoco+", [("refcoco+", "val"), ("refcoco+", "testA")])
    plan = build_plan([experiment], load_profile("smoke"), Inputs("synth", synth_folder=folder), Choices())
    store = Store(folder / "results", "smoke")
    if filled:
        fill(store, plan, samples=12, images=4)
    return Origin(store, plan, {"sweep": block_cells(store, plan, experiment.id, "sweep")})


def test_a_curve_goes_through_its_rows(tmp_path: Path) -> None:
    made = origin(tmp_path, sweep("tau", "0.2", "0.3", "0.4"))
    (figure,) = made.plan.figures
    data = recipe(made, figure).make()
    assert isinstance(data, CurvesData)
    assert data.x == (0.2, 0.3, 0.4)
    assert [panel.title for panel in data.panels] == ["RefCOCO+ val", "RefCOCO+ testA"]
    cells = made.cells["sweep"]
    for panel, column in zip(data.panels, ("refcoco+.val.oiou", "refcoco+.testA.oiou"), strict=True):
        curve, level = panel.series
        assert curve.values == tuple(cells[f"tau_{tau}", column].value for tau in ("0.2", "0.3", "0.4"))
        assert set(level.values) == {cells["baseline", column].value}
        assert len(level.values) == 3
        interval = cells["tau_0.3", column].interval
        assert interval is not None
        assert (curve.low[1], curve.high[1]) == (interval.low, interval.high)
    assert data.watermark


def test_a_field_has_the_first_axis_across_and_the_second_down(tmp_path: Path) -> None:
    made = origin(tmp_path, sweep("tau", "0.2", "0.4"), sweep("rho", "1/6", "1/4", "1/2"))
    planned = next(figure for figure in made.plan.figures if figure.spec.id == "grid_refcoco_plus_val_oiou")
    data = recipe(made, planned).make()
    assert isinstance(data, GridData)
    assert (data.x, data.y) == (("0.2", "0.4"), ("0.1667", "0.25", "0.5"))
    cells = made.cells["sweep"]
    for y, rho in enumerate(data.y):
        for x, tau in enumerate(data.x):
            assert data.values[y][x] == cells[f"tau_{tau}_rho_{rho}", "refcoco+.val.oiou"].value is not None


def test_names_have_no_order(tmp_path: Path) -> None:
    made = origin(tmp_path, sweep("stage", "early", "late", "pred"))
    data = recipe(made, made.plan.figures[0]).make()
    assert isinstance(data, CurvesData)
    assert data.x == ("early", "late", "pred")


def test_nothing_is_drawn_from_nothing(tmp_path: Path) -> None:
    made = origin(tmp_path, sweep("tau", "0.2"), sweep("rho", "1/2"), filled=False)
    for figure in made.plan.figures:
        with pytest.raises(NotThereError, match="run"):
            recipe(made, figure)
