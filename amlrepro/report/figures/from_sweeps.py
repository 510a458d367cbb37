"""Curves over a setting and fields over two: from the rows of a block that differ by them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from amlrepro.report.figures.data import CurvePanel, CurveSeries, GridData, plain
from amlrepro.report.figures.from_cells import (
    curves_of,
    method_label,
    missing_notes,
    our_curve,
    same,
    shown_runs,
    why_missing,
)
from amlrepro.report.figures.recipe import NotThereError, Origin, Recipe
from amlrepro.suite.experiment import Block
from amlrepro.suite.figures import GridFigure, SweepFigure


def sweep_recipe(origin: Origin, block: Block, spec: SweepFigure) -> Recipe:
    """A panel for each column, with intervals; the reference is level over all x. Raises `NotThereError` when no number
    is there."""
    keys = [(row, column) for column in spec.panels.values() for row in spec.rows]
    panels = [CurvePanel(title, tuple(_series(origin, block, spec, column))) for title, column in spec.panels.items()]
    return curves_of(origin, block, spec, keys, panels)


def _series(origin: Origin, block: Block, spec: SweepFigure, column: str) -> list[CurveSeries]:
    cells = origin.cells[block.id]
    lines = {label: [cells[row, column] for row in rows] for label, rows in spec.lines.items()}
    out = [our_curve("aml" if len(lines) == 1 else label, label, found) for label, found in lines.items()]
    if spec.reference is not None:
        level = [cells[spec.reference, column]] * len(spec.x)
        out.append(replace(our_curve("baseline", method_label(block, spec.reference), level), level=True))
    return [series for series in out if any(value is not None for value in series.values)]


def grid_recipe(origin: Origin, block: Block, spec: GridFigure) -> Recipe:
    """The numbers of one column over both settings. Raises `NotThereError` when none is there."""
    cells = origin.cells[block.id]
    keys = [(row, spec.column) for row in spec.rows]
    if not any(cells[key].value is not None for key in keys):
        raise NotThereError(why_missing(cells, keys))
    data = GridData(
        id=spec.id,
        title=spec.title,
        watermark=origin.watermark,
        notes=missing_notes(block, cells, keys),
        x=tuple(spec.x),
        y=tuple(spec.y),
        x_label=spec.x_label,
        y_label=spec.y_label,
        value_label=spec.value_label,
        values=tuple(tuple(cells[row, spec.column].value for row in line) for line in spec.cells),
    )
    return Recipe(plain(data), partial(same, data), shown_runs(cells, set(keys)))
