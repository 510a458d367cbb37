"""What figures of pictures share: a picture without axes, the edge of a mask, a sentence in lines."""

from __future__ import annotations

import textwrap

from matplotlib.axes import Axes

from amlrepro.report.figures import style
from amlrepro.report.figures.data import Mask, Picture

LINE = 1.25 * style.SMALL / 72  # inches: from line to line of a sentence
_LETTER = 0.54 * style.SMALL / 72


def show(ax: Axes, picture: Picture, gid: str) -> None:
    """A picture without axes, its own shape kept."""
    ax.imshow(picture, gid=gid)
    ax.axis("off")


def outline(ax: Axes, mask: Mask, width: float) -> None:
    """The edge of a mask, if it has one: white over a wider dark line, so that it shows on any ground."""
    if mask.any() and not mask.all():
        edge = mask.astype(float)
        ax.contour(edge, levels=[0.5], colors="black", linewidths=width + 0.6, alpha=0.6)
        ax.contour(edge, levels=[0.5], colors="white", linewidths=width)


def quoted(sentence: str, width: float) -> list[str]:
    """A sentence in quotation marks, in lines of `width` inches."""
    return textwrap.wrap(f"“{sentence}”", max(int(width / _LETTER), 20))


def fitted(name: str, width: float) -> str:
    """A name in as many lines as it needs at `width` inches; words are not broken."""
    return "\n".join(textwrap.wrap(name, max(int(width / _LETTER), 1), break_long_words=False))
