"""Curves with intervals, and the table of a grid of two settings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from amlrepro.report.figures import style
from amlrepro.report.figures.data import CurvePanel, CurvesData, CurveSeries, GridData
from amlrepro.report.figures.pictures import LINE, fitted
from amlrepro.report.figures.sheet import Sheet, legend_height
from amlrepro.report.figures.style import Look, looks

_ABREAST = 3
_FEW = 8  # points: with more, intervals are shown by the band alone
_CLOSE = 6  # of the axis: numbers nearer than a sixth of it would have labels that touch


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
    names = [fitted(x, side / len(data.x)) if isinstance(x, str) else f"{x:g}" for x in data.x]
    below += LINE * max(name.count("\n") for name in names)
    step = top + tall + below
    levels = {s.key for s in everything if s.level}
    entries = [(labels[key], _in_legend(look, key in levels, _named(data.x))) for key, look in chosen.items()]
    printed = any(s.printed for s in everything)
    sheet = Sheet(width, rows * step + 0.22 + legend_height(entries, width, printed=printed), data.watermark)
    limits = y_limits(everything)
    for number, panel in enumerate(data.panels):
        row, column = divmod(number, _ABREAST)
        ax = sheet.axes(left + column * (side + gap), row * step + top, side, tall)
        _draw_panel(ax, data.x, names, panel, number, chosen)
        ax.set_ylim(*limits)
        if column:
            ax.tick_params(labelleft=False)
        else:
            ax.set_ylabel(data.y_label)
    sheet.text((left + width - right) / 2, rows * step + 0.06, data.x_label, ha="center", va="center")
    sheet.legend(entries, rows * step + 0.20, printed=printed, lines=not _named(data.x))
    return sheet.figure


def _named(x: Sequence[float | str]) -> bool:
    """Whether x has names, not numbers."""
    return any(isinstance(value, str) for value in x)


def _in_legend(look: Look, level: bool, named: bool) -> Look:
    """The look as drawn: a level has no markers, and where x has names, other series have no line."""
    if level:
        return replace(look, marker="")
    return replace(look, line="") if named else look


def y_limits(series: Sequence[CurveSeries]) -> tuple[float, float]:
    """Limits that hold every value and interval, with a twelfth of the span to spare on either side."""
    numbers = [v for s in series for v in (*s.values, *s.low, *s.high) if v is not None]
    if not numbers:
        return 0.0, 1.0
    low, high = min(numbers), max(numbers)
    spare = (high - low) / 12 or max(abs(high) / 20, 0.5)
    return low - spare, high + spare


def _draw_panel(
    ax: Axes, x: Sequence[float | str], names: Sequence[str], panel: CurvePanel, number: int, chosen: dict[str, Look]
) -> None:
    ax.set_title(panel.title, weight="bold", pad=5)
    ax.grid(axis="y")
    named = _named(x)
    places = _place(ax, x, names)
    for series in [s for s in panel.series if s.level]:
        _draw_level(ax, series, chosen[series.key], f"panel{number}/{series.key}")
    beside = [s for s in panel.series if not s.level]
    for k, series in enumerate(beside):
        shift = 0.18 * (k - (len(beside) - 1) / 2) if named else 0.0
        _draw_series(ax, series, places + shift, chosen[series.key], f"panel{number}/{series.key}", named)


def _place(ax: Axes, x: Sequence[float | str], names: Sequence[str]) -> np.ndarray:
    """Prepare the x axis; returns positions. Few numbers are all labelled, on a logarithmic scale where they would
    stand too close on a linear one; many have round ticks. Names stand side by side."""
    if _named(x):
        ax.set_xticks(range(len(x)), names, linespacing=1.05)
        ax.set_xlim(-0.5, len(x) - 0.5)
        return np.arange(len(x), dtype=float)
    places = np.array(x, dtype=float)
    span = float(np.ptp(places)) or 1.0
    if len(x) > _FEW:
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=bool(np.all(places == places.round()))))
        ax.set_xlim(places.min() - 0.04 * span, places.max() + 0.04 * span)
        return places
    gaps = np.diff(np.unique(places))
    if len(gaps) and gaps.min() < span / _CLOSE and places.min() > 0:
        ax.set_xscale("log")
        ax.xaxis.set_minor_locator(NullLocator())
        margin = (places.max() / places.min()) ** 0.06
        ax.set_xlim(places.min() / margin, places.max() * margin)
    else:
        ax.set_xlim(places.min() - 0.06 * span, places.max() + 0.06 * span)
    ax.set_xticks(places, names)
    return places


def _draw_level(ax: Axes, series: CurveSeries, look: Look, gid: str) -> None:
    """A line across the panel at the first value, in a band of its interval."""
    value, low, high = (numbers[0] if numbers else None for numbers in (series.values, series.low, series.high))
    if value is not None:
        ax.axhline(value, color=look.color, ls=look.line, lw=1.1, zorder=1.5, gid=gid)
    if low is not None and high is not None:
        ax.axhspan(low, high, color=look.color, alpha=0.10, lw=0, zorder=1, gid=f"{gid}/interval")


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
    every = max(len(x) // _FEW, 1)
    line = ax.plot(x, y, color=look.color, marker=look.marker, markevery=every, ls="" if named else look.line)[0]
    line.set_zorder(3)
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
