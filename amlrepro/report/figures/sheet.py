"""A sheet of paper measured in inches from its top left corner, with the watermark's band above what is drawn."""

from __future__ import annotations

import textwrap
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from amlrepro.report.figures import style
from amlrepro.report.figures.style import Look

_CHARACTER = 0.60 * style.SMALL / 72  # inches: an average bold one
_LINE = 1.35 * style.SMALL / 72


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

    def legend(self, entries: list[tuple[str, Look]], y: float, *, printed: bool = False, lines: bool = True) -> Any:
        """A legend on one line, centred at height y; `printed` adds what the paper's own numbers look like;
        without `lines` only markers are shown."""
        handles = [
            Line2D([], [], color=k.color, marker=k.marker, linestyle=k.line if lines else "", label=label)
            for label, k in entries
        ]
        if printed:
            hollow: dict[str, Any] = {
                "markerfacecolor": "white",
                "marker": "o",
                "linestyle": ":" if lines else "",
                "linewidth": 0.9,
            }
            handles.append(Line2D([], [], color=style.MUTED, label="as printed", **hollow))
        return self.figure.legend(
            handles=handles,
            loc="center",
            bbox_to_anchor=(0.5, 1 - (y + self.band) / self.height),
            ncols=len(handles),
            handlelength=2.6,
            columnspacing=1.6,
            borderaxespad=0,
        )

    def _draw_band(self, text: str) -> None:
        height = (self.band - 0.06) / self.height
        shape = Rectangle((0, 1 - height), 1, height, transform=self.figure.transFigure, facecolor=style.BAND_FILL)
        shape.set_gid("watermark-band")
        self.figure.add_artist(shape)
        label = self.figure.text(0.5, 1 - height / 2, text, fontsize=style.SMALL, weight="bold", color=style.BAND_INK)
        label.set(ha="center", va="center_baseline" if "\n" not in text else "center", linespacing=1.2)
        label.set_gid("watermark")
