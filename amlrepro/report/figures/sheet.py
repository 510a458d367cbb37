"""A sheet of paper measured in inches from its top left corner, with the watermark's band above what is drawn."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from amlrepro.report.figures import style
from amlrepro.report.figures.style import Look

_CHARACTER = 0.60 * style.SMALL / 72  # inches: an average bold one
_LINE = 1.35 * style.SMALL / 72


_PRINTED = "as printed"
Entries = Sequence[tuple[str, Look]]


def legend_height(entries: Entries, width: float, *, printed: bool = False) -> float:
    """Inches that a legend of these entries takes, in as many lines as it needs."""
    count = len(entries) + printed
    return -(-count // _abreast(entries, width, printed)) * 1.55 * style.BASE / 72 + 0.04


def _abreast(entries: Entries, width: float, printed: bool) -> int:
    """How many entries stand beside each other."""
    labels = [label for label, _ in entries] + [_PRINTED] * printed
    widest = max(map(len, labels), default=0) * 0.58 * style.BASE / 72 + 0.56
    if sum(len(label) * 0.58 * style.BASE / 72 + 0.56 for label in labels) <= width:
        return len(labels)
    return max(int(width / widest), 1)


class Sheet:
    """A figure of `width` x `height` inches; a watermark adds a band at its top, so it never covers data."""

    def __init__(self, width: float, height: float, watermark: str | None = None) -> None:
        lines = textwrap.wrap(watermark, max(int((width - 0.2) / _CHARACTER), 20)) if watermark else []
        self.band = len(lines) * _LINE + 0.10 + 0.06 if lines else 0.0
        self.width, self.height = width, height + self.band
        self.figure = Figure(figsize=(self.width, self.height))
        FigureCanvasAgg(self.figure)
        if lines:
            self._draw_band("\n".join(lines))

    def axes(self, left: float, top: float, width: float, height: float, **options: Any) -> Any:
        """Axes of that size whose top left corner is at (left, top), below the band."""
        bottom = self.height - self.band - top - height
        box = (left / self.width, bottom / self.height, width / self.width, height / self.height)
        return self.figure.add_axes(box, **options)

    def text(self, x: float, y: float, text: str, **options: Any) -> Any:
        """Text at (x, y), below the band."""
        return self.figure.text(x / self.width, 1 - (y + self.band) / self.height, text, **options)

    def legend(self, entries: Entries, y: float, *, printed: bool = False, lines: bool = True) -> Any:
        """A legend whose upper edge is at height y; `printed` adds what the paper's own numbers look like, without
        `lines` as a marker only."""
        handles = [
            Line2D([], [], color=look.color, marker=look.marker, linestyle=look.line, label=label)
            for label, look in entries
        ]
        if printed:
            hollow: dict[str, Any] = {"markerfacecolor": "white", "marker": "o", "linewidth": 0.9}
            line = ":" if lines else ""
            handles.append(Line2D([], [], color=style.MUTED, label=_PRINTED, linestyle=line, **hollow))
        return self.figure.legend(
            handles=handles,
            loc="upper center",
            bbox_to_anchor=(0.5, 1 - (y + self.band) / self.height),
            ncols=_abreast(entries, self.width, printed),
            handlelength=2.6,
            columnspacing=1.6,
            borderaxespad=0,
            borderpad=0,
        )

    def _draw_band(self, text: str) -> None:
        height = (self.band - 0.06) / self.height
        shape = Rectangle((0, 1 - height), 1, height, transform=self.figure.transFigure, facecolor=style.BAND_FILL)
        shape.set_gid("watermark-band")
        self.figure.add_artist(shape)
        label = self.figure.text(0.5, 1 - height / 2, text, fontsize=style.SMALL, weight="bold", color=style.BAND_INK)
        label.set(ha="center", va="center_baseline" if "\n" not in text else "center", linespacing=1.2)
        label.set_gid("watermark")
