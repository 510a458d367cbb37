"""Distributions side by side, with mean, deviation and the share of high scores written beside them."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from amlrepro.report.figures import style
from amlrepro.report.figures.data import HistogramData, HistogramSeries
from amlrepro.report.figures.sheet import Sheet
from amlrepro.report.figures.style import Look, looks


def draw_histogram(data: HistogramData) -> Figure:
    """A panel a method, two abreast, all on the same scales; bars are percent of the method's scores.

    Ids: `<key>/bar<number>`, `<key>/mean`, `<key>/numbers`.
    """
    chosen = looks([s.key for s in data.series])
    columns = min(len(data.series), 2)
    rows = -(-len(data.series) // 2)
    left, right, gap, top, tall, below = 0.52, 0.14, 0.30, 0.48, 1.62, 0.22
    width = style.PAGE if columns > 1 else 3.6
    side = (width - left - right - gap * (columns - 1)) / columns
    step = top + tall + below
    sheet = Sheet(width, rows * step + 0.22, data.watermark)
    highest = max((share for s in data.series for share in s.shares), default=1.0)
    for number, series in enumerate(data.series):
        row, column = divmod(number, 2)
        ax = sheet.axes(left + column * (side + gap), row * step + top, side, tall)
        _draw_panel(ax, series, chosen[series.key])
        ax.set(xlim=(series.edges[0], series.edges[-1]), ylim=(0, 1.08 * highest))
        if column:
            ax.tick_params(labelleft=False)
        else:
            ax.set_ylabel("share of scores, %")
    sheet.text((left + width - right) / 2, rows * step + 0.08, data.x_label, ha="center", va="center")
    return sheet.figure


def _draw_panel(ax: Axes, series: HistogramSeries, look: Look) -> None:
    ax.set_title(series.label, weight="bold", pad=21)
    ax.grid(axis="y")
    widths = [b - a for a, b in zip(series.edges, series.edges[1:], strict=False)]
    bars = ax.bar(
        series.edges[:-1], series.shares, widths, align="edge", color=look.color, edgecolor="white", linewidth=0.3
    )
    for number, bar in enumerate(bars):
        bar.set_gid(f"{series.key}/bar{number}")
    ax.axvline(series.mean, color=style.INK, lw=0.9, ls=(0, (4, 2)), gid=f"{series.key}/mean")
    gid = f"{series.key}/numbers"
    ax.text(0.5, 1.02, numbers(series), transform=ax.transAxes, ha="center", fontsize=style.SMALL, gid=gid)


def numbers(series: HistogramSeries) -> str:
    """What is written above the bars."""
    first = f"{sum(series.counts):,} scores, mean {series.mean:.3f}, std {series.std:.3f}"
    return first + "\n" + ",  ".join(f"S ≥ {limit:g}: {share:.2f} %" for limit, share in series.strong)
