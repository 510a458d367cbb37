"""Radars: each axis has its own origin and all the same span, so a point is as long on every axis."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from amlrepro.report.figures import style
from amlrepro.report.figures.data import RadarData, RadarPanel, RadarSeries
from amlrepro.report.figures.sheet import Sheet, legend_height
from amlrepro.report.figures.style import Look, looks

_PANEL = style.PAGE / 2
_RADIUS, _TITLE, _NAMES = 0.80, 0.24, 0.30  # inches: outer ring; room for the title; for axis names above and below


def draw_radar(data: RadarData) -> Figure:
    """Two panels abreast. A vertex lies at `RadarAxis.radius` of its value; axes start at the top and go clockwise.

    Where a value is missing the outline is open. Line ids: `panel<number>/<key>`.
    """
    keys = {s.key: s.label for panel in data.panels for s in panel.series}
    chosen = looks(list(keys))
    rows = math.ceil(len(data.panels) / 2)
    columns = min(len(data.panels), 2)
    width = max(columns * _PANEL, 3.35)
    above = _NAMES if any("\n" in panel.axes[0].label for panel in data.panels) else _NAMES - 0.12
    tall = _TITLE + above + 2 * _RADIUS + _NAMES
    entries = [(label, chosen[key]) for key, label in keys.items()]
    sheet = Sheet(width, rows * tall + legend_height(entries, width), data.watermark)
    for number, panel in enumerate(data.panels):
        row, column = divmod(number, 2)
        left, top = (width - columns * _PANEL) / 2 + column * _PANEL, row * tall
        sheet.text(left + _PANEL / 2, top + 0.10, panel.title, ha="center", va="center", weight="bold")
        ax = sheet.axes(left, top + _TITLE, _PANEL, tall - _TITLE)
        side = _PANEL / 2 / _RADIUS
        ax.set(xlim=(-side, side), ylim=(-1 - _NAMES / _RADIUS, 1 + above / _RADIUS))
        _draw_panel(ax, panel, number, chosen)
    sheet.legend(entries, rows * tall + 0.02)
    return sheet.figure


def spoke(number: int, count: int) -> tuple[float, float]:
    """Unit vector of an axis: the first points up, the others follow clockwise."""
    angle = 2 * math.pi * number / count
    return math.sin(angle), math.cos(angle)


def _draw_panel(ax: Axes, panel: RadarPanel, number: int, chosen: dict[str, Look]) -> None:
    ax.axis("off")
    count = len(panel.axes)
    directions = [spoke(k, count) for k in range(count)]
    rings = max(len(axis.ticks) for axis in panel.axes) - 1
    for ring in range(1, rings + 1):
        corners = [(x * ring / rings, y * ring / rings) for x, y in [*directions, directions[0]]]
        outer = ring == rings
        ax.plot(
            *zip(*corners, strict=True), color=style.RULE if outer else "#dedede", lw=0.7 if outer else 0.5, zorder=1
        )
    for axis, (x, y) in zip(panel.axes, directions, strict=True):
        ax.plot([0, x], [0, y], color=style.RULE, lw=0.5, zorder=1)
        side = "center" if abs(x) < 0.1 else "left" if x > 0 else "right"
        level = "bottom" if y > 0.9 else "top" if y < -0.9 else "center"
        ax.text(1.08 * x, 1.06 * y, axis.label, ha=side, va=level, fontsize=style.SMALL, linespacing=1.1)
        _draw_ticks(ax, axis.ticks, x, y)
    for series in panel.series:
        _draw_series(ax, panel, series, directions, number, chosen[series.key])


def _draw_ticks(ax: Axes, ticks: tuple[float, ...], x: float, y: float) -> None:
    """Values at every other ring, the outermost included, beside the axis and within the ring."""
    rings = len(ticks) - 1
    for ring in range(rings, 1, -2):
        at = ring / rings - (0.07 if ring == rings else 0)
        label = ax.text(at * x + 0.09 * y, at * y - 0.09 * x, f"{ticks[ring]:g}", fontsize=style.TINY, zorder=4)
        label.set(
            ha="center", va="center", color=style.MUTED, path_effects=[withStroke(linewidth=1.2, foreground="white")]
        )


def _draw_series(
    ax: Axes, panel: RadarPanel, series: RadarSeries, directions: list[tuple[float, float]], number: int, look: Look
) -> None:
    points = []
    for axis, value, (x, y) in zip(panel.axes, series.values, directions, strict=True):
        radius = math.nan if value is None else axis.radius(value)
        points.append((radius * x, radius * y))
    across, up = zip(*points, points[0], strict=True)
    options = {"color": look.color, "marker": look.marker, "ls": look.line, "lw": 1.2, "ms": 3.2, "zorder": 3}
    line = ax.plot(across, up, **options)[0]
    line.set_gid(f"panel{number}/{series.key}")
