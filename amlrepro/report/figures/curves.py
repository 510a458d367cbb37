"""Curves with intervals, and the table of a grid of two settings."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from amlrepro.report.figures import style
from amlrepro.report.figures.data import CurvePanel, CurvesData, CurveSeries, GridData
from amlrepro.report.figures.sheet import Sheet
from amlrepro.report.figures.style import Look, looks

_ABREAST = 3
_FEW = 8  # points: with more, intervals are shown by the band alone


def draw_curves(data: CurvesData) -> Figure:
    """Panels share both scales. Numbers on x: lines with bands, and bars if points are few; names: points with bars.

    Ids: `panel<number>/<key>`, with `/printed` for the paper's own numbers, drawn hollow and dotted.
    """
    everything = [s for panel in data.panels for s in panel.series]
    labels = {s.key: s.label for s in everything}
    chosen = looks(list(labels))
    columns, rows = min(len(data.panels), _ABREAST), math.ceil(len(data.panels) / _ABREAST)
    left, right, gap, top, below = 0.52, 0.10, 0.16, 0.24, 0.22
    width = style.PAGE if columns > 1 else 3.6
    side = (width - left - right - gap * (columns - 1)) / columns
    tall = 1.75 if columns > 1 else 2.1
    step = top + tall + below
    sheet = Sheet(width, rows * step + 0.42, data.watermark)
    limits = y_limits(everything)
    for number, panel in enumerate(data.panels):
        row, column = divmod(number, _ABREAST)
        ax = sheet.axes(left + column * (side + gap), row * step + top, side, tall)
        _draw_panel(ax, data, panel, number, chosen)
        ax.set_ylim(*limits)
        if column:
            ax.tick_params(labelleft=False)
        else:
            ax.set_ylabel(data.y_label)
    sheet.text((left + width - right) / 2, rows * step + 0.06, data.x_label, ha="center", va="center")
    printed = any(s.printed for s in everything)
    sheet.legend([(labels[k], chosen[k]) for k in labels], rows * step + 0.29, printed=printed, lines=not _named(data))
    return sheet.figure


def _named(data: CurvesData) -> bool:
    """Whether x has names, not numbers."""
    return any(isinstance(x, str) for x in data.x)


def y_limits(series: Sequence[CurveSeries]) -> tuple[float, float]:
    """Limits that hold every value and interval, with a twelfth of the span to spare on either side."""
    numbers = [v for s in series for v in (*s.values, *s.low, *s.high) if v is not None]
    if not numbers:
        return 0.0, 1.0
    low, high = min(numbers), max(numbers)
    spare = (high - low) / 12 or max(abs(high) / 20, 0.5)
    return low - spare, high + spare


def _draw_panel(ax: Axes, data: CurvesData, panel: CurvePanel, number: int, chosen: dict[str, Look]) -> None:
    ax.set_title(panel.title, weight="bold", pad=5)
    ax.grid(axis="y")
    named = _named(data)
    places = list(range(len(data.x))) if named else [float(x) for x in data.x]
    ax.set_xticks(places, [x if isinstance(x, str) else f"{x:g}" for x in data.x])
    span = (max(places) - min(places)) or 1.0
    for k, series in enumerate(panel.series):
        shift = 0.18 * (k - (len(panel.series) - 1) / 2) if named else 0.0
        at = np.array(places, dtype=float) + shift
        _draw_series(ax, series, at, chosen[series.key], f"panel{number}/{series.key}", named)
    margin = 0.5 if named else 0.06 * span
    ax.set_xlim(min(places) - margin, max(places) + margin)


def _draw_series(ax: Axes, series: CurveSeries, x: np.ndarray, look: Look, gid: str, named: bool) -> None:
    y, low, high = (_numbers(v, len(x)) for v in (series.values, series.low, series.high))
    if series.printed:
        line = ax.plot(x, y, color=look.color, marker=look.marker, mfc="white", ls="" if named else ":", lw=0.9)[0]
        line.set(gid=f"{gid}/printed", zorder=2)
        return
    if not named and np.isfinite(low).any():
        band = ax.fill_between(x, low, high, color=look.color, alpha=0.16, lw=0, zorder=1)
        band.set_gid(f"{gid}/interval")
    known = np.isfinite(low) & np.isfinite(y)
    if known.any() and len(x) <= _FEW:
        ends = np.stack([y - low, high - y])[:, known]
        ax.errorbar(x[known], y[known], ends, fmt="none", ecolor=look.color, elinewidth=0.8, capsize=2, capthick=0.8)
    style_line = "" if named else look.line
    line = ax.plot(x, y, color=look.color, marker=look.marker, ls=style_line, zorder=3)[0]
    line.set_gid(gid)


def _numbers(values: Sequence[float | None], count: int) -> np.ndarray:
    padded = [*values, *[None] * (count - len(values))]
    return np.array([math.nan if v is None else v for v in padded], dtype=float)


def draw_grid(data: GridData) -> Figure:
    """A heat map with the number in each cell, darkest where lowest. A cell without a value is grey with a dash."""
    cell_w, cell_h, left, top = 0.62, 0.34, 0.85, 0.14
    wide, tall = cell_w * len(data.x), cell_h * len(data.y)
    sheet = Sheet(max(left + wide + 0.85, 3.35), top + tall + 0.52, data.watermark)
    ax = sheet.axes(left, top, wide, tall)
    values = np.array([[math.nan if v is None else v for v in row] for row in data.values], dtype=float)
    colours = colormaps[style.SEQUENTIAL].with_extremes(bad=style.MISSING)
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    image = ax.imshow(values, cmap=colours, vmin=low, vmax=high if high > low else low + 1, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        bright = math.isnan(value) or image.norm(value) > 0.55
        text = "–" if math.isnan(value) else f"{value:.2f}"
        ax.text(column, row, text, ha="center", va="center", fontsize=style.SMALL, color="black" if bright else "white")
    ax.set_xticks(range(len(data.x)), [str(x) for x in data.x])
    ax.set_yticks(range(len(data.y)), [str(y) for y in data.y])
    ax.set(xlabel=data.x_label, ylabel=data.y_label)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    bar = sheet.figure.colorbar(image, cax=sheet.axes(left + wide + 0.12, top, 0.09, tall))
    bar.set_label(data.value_label)
    bar.outline.set_visible(False)
    return sheet.figure
