"""Radars and curves: from a block's cells, the paper's numbers and ours."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from amlrepro.metrics.compute import METRICS
from amlrepro.models.registry import get_spec
from amlrepro.report.figures.data import (
    AnyFigure,
    CurvePanel,
    CurvesData,
    CurveSeries,
    RadarAxis,
    RadarData,
    RadarPanel,
    RadarSeries,
    plain,
)
from amlrepro.report.figures.recipe import Cells, NotThereError, Origin, Recipe
from amlrepro.report.figures.ticks import axis_ticks
from amlrepro.suite.cells import CellResult, Key
from amlrepro.suite.experiment import Block
from amlrepro.suite.figures import CurvesFigure, RadarFigure, SweepFigure

_FEWEST_AXES = 3
_METHODS = {"baseline": "", "random": " + random mask", "maskris": " + MaskRIS"}
_NAME = 9  # letters of an axis name on one line


def method_label(block: Block, row: str) -> str:
    """What a row's method is called in a figure."""
    table = block.table()
    spec = block.rows.get(row)
    if spec is None or (table.own and spec.label is None):
        return table.row(row).label.rstrip("*")
    return spec.label or get_spec(spec.model).title + _METHODS.get(spec.preset, "+AML")


@dataclass(frozen=True)
class _Spoke:
    """One axis of a radar: its name and each method's cell."""

    label: str
    cells: dict[str, tuple[str, str]]


def radar_recipe(origin: Origin, block: Block, spec: RadarFigure) -> Recipe:
    """A panel of the paper's numbers and one of ours, for each of the spec's panels. Raises `NotThereError` when there
    is no number of ours to show on three axes."""
    cells = origin.cells[block.id]
    pictures = {title: _by_group(spec, column) for column, title in spec.panels.items()}
    if not spec.groups:
        pictures = {"": [_Spoke(_two_lines(block, key), {r: (r, key) for r in spec.rows}) for key in spec.axes]}
    labels = {r: method_label(block, _a_row(spec, r)) for r in spec.rows}
    panels = [p for title, spokes in pictures.items() for p in _pair(origin, title, spokes, labels, cells)]
    shown = {key for spokes in pictures.values() for spoke in spokes for key in spoke.cells.values()}
    notes = ["Each axis begins at its own value in the centre; all are equally long in points."]
    data = RadarData(
        id=spec.id,
        title=spec.title,
        watermark=origin.watermark,
        notes=(*_metric_note(cells, shown), *notes, *missing_notes(block, cells, sorted(shown))),
        panels=tuple(panels),
    )
    return Recipe(plain(data), partial(same, data), shown_runs(cells, shown))


def _by_group(spec: RadarFigure, column: str) -> list[_Spoke]:
    return [
        _Spoke(textwrap.fill(title, _NAME), {method: (f"{group}__{method}", column) for method in spec.rows})
        for group, title in spec.groups.items()
    ]


def _a_row(spec: RadarFigure, method: str) -> str:
    """A row of the method, for its name."""
    return f"{next(iter(spec.groups))}__{method}" if spec.groups else method


def _two_lines(block: Block, column: str) -> str:
    """`RefCOCO+ testA` with its split below."""
    return block.table().column(column).header.replace(" ", "\n", 1)


def _pair(
    origin: Origin, title: str, spokes: Sequence[_Spoke], labels: dict[str, str], cells: Cells
) -> list[RadarPanel]:
    """The two panels of one picture; on common axes, unless ours are no evidence about the paper's numbers."""
    printed = _series(spokes, labels, cells, "printed")
    ours = _series(spokes, labels, cells, "value")
    there = sum(any(s.values[k] is not None for s in ours) for k in range(len(spokes)))
    if there < _FEWEST_AXES:
        raise NotThereError(why_missing(cells, [key for spoke in spokes for key in spoke.cells.values()]))
    apart = origin.plan.watermark is not None
    both = [*printed, *ours]
    name = f"profile {origin.plan.profile}" if apart else "reproduced"
    pairs = [("as printed", printed, printed if apart else both), (name, ours, ours if apart else both)]
    return [
        RadarPanel(f"{title}: {what}" if title else what, _axes(spokes, ranged), tuple(series))
        for what, series, ranged in pairs
        if series
    ]


def _series(spokes: Sequence[_Spoke], labels: dict[str, str], cells: Cells, field: str) -> list[RadarSeries]:
    """Methods with at least one number."""
    out = []
    for method, label in labels.items():
        found = [cells.get(spoke.cells[method]) for spoke in spokes]
        numbers = [None if cell is None else getattr(cell, field) for cell in found]
        if any(n is not None for n in numbers):
            out.append(RadarSeries(method, label, tuple(None if n is None else float(n) for n in numbers)))
    return out


def _axes(spokes: Sequence[_Spoke], series: Sequence[RadarSeries]) -> tuple[RadarAxis, ...]:
    numbers = [[v for s in series if (v := s.values[k]) is not None] for k in range(len(spokes))]
    return tuple(RadarAxis(s.label, t) for s, t in zip(spokes, axis_ticks(numbers), strict=True))


def curves_recipe(origin: Origin, block: Block, spec: CurvesFigure) -> Recipe:
    """Ours with intervals, and the paper's own numbers where it prints some and ours can be set beside them."""
    panels = []
    for title, columns in spec.panels.items():
        series = [s for row in spec.rows for s in _curves(origin, block, row, columns)]
        panels.append(CurvePanel(title, tuple(series)))
    keys = [(row, column) for columns in spec.panels.values() for row in spec.rows for column in columns]
    return curves_of(origin, block, spec, keys, panels)


def curves_of(
    origin: Origin, block: Block, spec: CurvesFigure | SweepFigure, keys: list[Key], panels: list[CurvePanel]
) -> Recipe:
    """Panels of curves drawn from the cells `keys`. Raises `NotThereError` when none of them has a number."""
    cells = origin.cells[block.id]
    if not any(cells[key].value is not None for key in keys):
        raise NotThereError(why_missing(cells, keys))
    intervals = any(cells[key].interval is not None for key in keys)
    data = CurvesData(
        id=spec.id,
        title=spec.title,
        watermark=origin.watermark,
        notes=(
            *(["Bars and bands: 95 % intervals over images."] if intervals else []),
            *missing_notes(block, cells, keys),
        ),
        x=tuple(spec.x),
        x_label=spec.x_label,
        y_label=spec.y_label,
        panels=tuple(panels),
    )
    return Recipe(plain(data), partial(same, data), shown_runs(cells, set(keys)))


def _curves(origin: Origin, block: Block, row: str, columns: Sequence[str]) -> list[CurveSeries]:
    found = [origin.cells[block.id][row, column] for column in columns]
    label = method_label(block, row)
    ours = our_curve(row, label, found)
    out = [ours] if any(v is not None for v in ours.values) else []
    printed = tuple(None if c.printed is None else float(c.printed) for c in found)
    if origin.plan.watermark is None and any(v is not None for v in printed):
        out.append(CurveSeries(row, label, printed, printed=True))
    return out


def our_curve(key: str, label: str, cells: Sequence[CellResult]) -> CurveSeries:
    """A curve through our numbers, with their intervals."""
    low = tuple(c.interval.low if c.interval else None for c in cells)
    high = tuple(c.interval.high if c.interval else None for c in cells)
    return CurveSeries(key, label, tuple(c.value for c in cells), low, high)


def _metric_note(cells: Cells, shown: set[tuple[str, str]]) -> tuple[str, ...]:
    names = sorted({cells[key].cell.metric for key in shown if key in cells})
    titles = [METRICS[name].title for name in names if name in METRICS]
    return (f"{', '.join(titles)}, percent.",) if titles else ()


def missing_notes(block: Block, cells: Cells, keys: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """What ours lacks, a sentence a reason."""
    without: dict[str, dict[str, None]] = {}
    for row, column in keys:
        cell = cells.get((row, column))
        if cell is not None and cell.value is None and cell.reason and row in block.rows:
            without.setdefault(cell.reason, {})[f"{method_label(block, row)} {block.table().column(column).header}"] = (
                None
            )
    return tuple(f"Not there: {', '.join(names)} ({reason})." for reason, names in without.items())


def why_missing(cells: Cells, keys: Sequence[tuple[str, str]]) -> str:
    """Why there is nothing to draw."""
    reasons = dict.fromkeys(c.reason for key in keys if (c := cells.get(key)) is not None and c.reason)
    return "; ".join(str(r) for r in reasons) or "too few numbers"


def shown_runs(cells: Cells, keys: set[tuple[str, str]]) -> tuple[str, ...]:
    """The runs behind these cells."""
    return tuple(sorted({run for key in keys if key in cells for run in cells[key].run_ids}))


def same(data: AnyFigure) -> AnyFigure:
    """For a `Recipe` whose data are made already."""
    return data
