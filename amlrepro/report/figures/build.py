"""An experiment's figures: drawn from the store into files, or the reason why not. Nothing is trained or measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from amlrepro.report.figures.from_cells import curves_recipe, radar_recipe
from amlrepro.report.figures.from_pictures import gallery_recipe
from amlrepro.report.figures.from_probes import histogram_recipe, maps_recipe
from amlrepro.report.figures.from_sweeps import grid_recipe, sweep_recipe
from amlrepro.report.figures.recipe import Cells, NotThereError, Origin, Recipe
from amlrepro.report.figures.save import draw_recipe
from amlrepro.suite.figures import CurvesFigure, GalleryFigure, GridFigure, HistogramFigure, RadarFigure, SweepFigure
from amlrepro.suite.plan import Plan, PlannedFigure
from amlrepro.suite.store import Store


@dataclass(frozen=True)
class ReportFigure:
    """A figure of a report.

    files: PDF, PNG, SVG; none with a `reason`, which says why it is not drawn. caption: notes, to stand under its
    title. alt: the figure in words. run_ids: the runs it shows.
    """

    experiment: str
    id: str
    kind: str
    title: str
    caption: str
    files: tuple[Path, ...] = ()
    alt: str = ""
    reason: str | None = None
    run_ids: tuple[str, ...] = ()


def report_figures(
    store: Store, plan: Plan, experiment: str, cells: Mapping[str, Cells], folder: Path
) -> list[ReportFigure]:
    """Draw what can be drawn of an experiment's figures as `folder/<figure id>.{pdf,png,svg}`.

    cells: those of every block (`suite.cells`). Figures whose data and style are as when they were last drawn are
    left as they are, without matplotlib being imported. Raises `UserError` when a file cannot be written.
    """
    origin = Origin(store, plan, cells)
    return [_figure(origin, planned, folder) for planned in plan.figures if planned.experiment == experiment]


def recipe(origin: Origin, planned: PlannedFigure) -> Recipe:
    """How a planned figure comes about; raises `NotThereError` when its data are missing."""
    if planned.reason is not None:
        raise NotThereError(planned.reason)
    spec = planned.spec
    if isinstance(spec, GalleryFigure):
        return gallery_recipe(origin, spec, planned)
    block = origin.plan.block(planned.experiment, spec.block)
    if isinstance(spec, RadarFigure):
        return radar_recipe(origin, block, spec)
    if isinstance(spec, CurvesFigure):
        return curves_recipe(origin, block, spec)
    if isinstance(spec, SweepFigure):
        return sweep_recipe(origin, block, spec)
    if isinstance(spec, GridFigure):
        return grid_recipe(origin, block, spec)
    if isinstance(spec, HistogramFigure):
        return histogram_recipe(origin, block, spec, planned)
    return maps_recipe(origin, block, spec, planned)


def _figure(origin: Origin, planned: PlannedFigure, folder: Path) -> ReportFigure:
    spec = planned.spec
    try:
        found = recipe(origin, planned)
        drawn = draw_recipe(found, folder / spec.id)
    except NotThereError as why:
        return ReportFigure(planned.experiment, spec.id, spec.kind, spec.title, "", reason=str(why))
    return ReportFigure(
        planned.experiment,
        spec.id,
        spec.kind,
        spec.title,
        drawn.caption,
        drawn.files,
        drawn.alt,
        run_ids=found.run_ids,
    )
