"""Masks over pictures, with the sentence they answer."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from amlrepro.report.figures import style
from amlrepro.report.figures.blend import blend
from amlrepro.report.figures.data import OverlayData, OverlaySample
from amlrepro.report.figures.pictures import LINE, outline, quoted, show
from amlrepro.report.figures.sheet import Sheet

_GAP, _NAMES = 0.06, 0.20
_PAGE = 8.4  # inches: about the height of a page
_TALLEST = 1.15  # of a column's width; higher pictures are shown smaller


def draw_overlay(data: OverlayData) -> Figure:
    """A row a sample: the picture, its target if known, and each method's mask over it.

    Ids: `sample<i>/picture`, `sample<i>/target`, `sample<i>/<key>`.
    """
    first = data.samples[0]
    targets = any(s.target is not None for s in data.samples)
    names = ["picture", *(["target"] if targets else []), *(m.label for m in first.masks)]
    side = min((style.PAGE - _GAP * (len(names) - 1)) / len(names), 1.75)
    shapes = [min(s.image.shape[0] / s.image.shape[1], _TALLEST) for s in data.samples]
    side = min(side, (_PAGE - 0.35 * len(shapes)) / sum(shapes))
    width = len(names) * side + (len(names) - 1) * _GAP
    heights = [shape * side for shape in shapes]
    sentences = [quoted(s.sentence, width) for s in data.samples]
    total = sum(h + LINE * len(t) + 0.14 for h, t in zip(heights, sentences, strict=True))
    sheet = Sheet(width, _NAMES + total, data.watermark)
    for column, name in enumerate(names):
        sheet.text(column * (side + _GAP) + side / 2, 0.10, name, ha="center", va="center", weight="bold")
    top = _NAMES
    for number, (sample, lines, height) in enumerate(zip(data.samples, sentences, heights, strict=True)):
        sheet.text(0.02, top + 0.02, "\n".join(lines), va="top", style="italic", fontsize=style.SMALL)
        top += LINE * len(lines) + 0.06
        places = [sheet.axes(k * (side + _GAP), top, side, height) for k in range(len(names))]
        _sample(places, sample, number, targets)
        top += height + 0.08
    return sheet.figure


def _sample(places: list[Axes], sample: OverlaySample, number: int, targets: bool) -> None:
    show(places[0], sample.image, f"sample{number}/picture")
    rest = places[1:]
    if targets:
        mask = sample.target if sample.target is not None else np.zeros(sample.image.shape[:2], dtype=bool)
        show(rest[0], blend(sample.image, mask, style.TRUTH), f"sample{number}/target")
        outline(rest[0], mask, 0.7)
        rest = rest[1:]
    for place, method in zip(rest, sample.masks, strict=True):
        show(place, blend(sample.image, method.mask, style.PREDICTED), f"sample{number}/{method.key}")
        outline(place, method.mask, 0.7)
