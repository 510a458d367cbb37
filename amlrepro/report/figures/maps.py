"""Prediction maps Z+ and Z- of several methods on the same samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from amlrepro.report.figures import style
from amlrepro.report.figures.data import MapSample, MapsData
from amlrepro.report.figures.pictures import LINE, fitted, outline, quoted, show
from amlrepro.report.figures.sheet import Sheet

_GAP, _GROUP = 0.04, 0.10  # inches between pictures, and between Z+ and Z-
_SCALES, _ROW = 0.36, 0.12


@dataclass(frozen=True)
class Scale:
    """Limits of the colours of one kind of map; beyond them colours no longer change."""

    low: float
    high: float


def map_scales(samples: tuple[MapSample, ...]) -> tuple[Scale, Scale]:
    """Scales of Z+ and Z-: from the lowest to the highest value over all methods and samples of the figure."""
    kinds = ([m.positive for s in samples for m in s.maps], [m.negative for s in samples for m in s.maps])
    positive, negative = (Scale(min(float(z.min()) for z in k), max(float(z.max()) for z in k)) for k in kinds)
    return positive, negative


def draw_maps(data: MapsData) -> Figure:
    """A row a sample under its sentence: input, target, Z+ of each method, Z- of each method.

    All Z+ are on one scale and all Z- on another. The line in a map is the edge of the method's mask, Z+ > Z-.
    Ids: `sample<i>/{input,target}`, `sample<i>/<key>/{positive,negative}`.
    """
    methods = data.samples[0].maps
    count = 2 + 2 * len(methods)
    side = (style.PAGE - _GAP * (count - 4) - _GROUP * 3) / count
    side = min(side, 0.95)
    lefts = _lefts(side, len(methods))
    width = lefts[-1] + side
    sentences = [quoted(s.sentence, width) for s in data.samples]
    total = sum(LINE * len(lines) + side + _ROW for lines in sentences)
    names = ["input", "target", *[fitted(m.label, side) for m in methods] * 2]
    head = 0.19 + LINE * max(name.count("\n") + 1 for name in names)
    sheet = Sheet(width, head + total + _SCALES, data.watermark)
    _names(sheet, lefts, side, names, head)
    scales = map_scales(data.samples)
    shown: list[Axes] = []
    top = head
    for number, (sample, lines) in enumerate(zip(data.samples, sentences, strict=True)):
        sheet.text(0.02, top, "\n".join(lines), va="top", fontsize=style.SMALL, style="italic")
        top += LINE * len(lines) + 0.04
        shown = _sample(sheet, sample, number, lefts, top, side, scales)
        top += side + _ROW - 0.04
    _scales(sheet, shown, lefts, side, len(methods), top)
    return sheet.figure


def _lefts(side: float, methods: int) -> list[float]:
    """Left edges of the columns: input and target, then the two groups of maps."""
    out = [0.0, side + _GAP]
    for _ in range(2):
        start = out[-1] + side + _GROUP
        out += [start + k * (side + _GAP) for k in range(methods)]
    return out


def _names(sheet: Sheet, lefts: list[float], side: float, names: list[str], head: float) -> None:
    count = len(names) // 2 - 1
    for left, name in zip(lefts, names, strict=True):
        sheet.text(left + side / 2, head - 0.04, name, ha="center", va="bottom", fontsize=style.SMALL, linespacing=1.1)
    for start, name in ((2, "Z+"), (2 + count, "Z−")):
        centre = (lefts[start] + lefts[start + count - 1] + side) / 2
        sheet.text(centre, 0.08, name, ha="center", va="center", weight="bold")


def _sample(
    sheet: Sheet,
    sample: MapSample,
    number: int,
    lefts: list[float],
    top: float,
    side: float,
    scales: tuple[Scale, Scale],
) -> list[Axes]:
    """Draw one row; returns the last images of both kinds, for the colour bars."""
    places = [sheet.axes(left, top, side, side) for left in lefts]
    show(places[0], sample.image, f"sample{number}/input")
    if sample.target is None:
        places[1].text(0.5, 0.5, "not known", ha="center", va="center", fontsize=style.TINY, color=style.MUTED)
        places[1].axis("off")
    else:
        target = np.repeat(np.where(sample.target, 235, 25).astype(np.uint8)[..., None], 3, axis=2)
        show(places[1], target, f"sample{number}/target")
    count = len(sample.maps)
    for k, maps in enumerate(sample.maps):
        inside = maps.positive > maps.negative
        for place, kind, z, scale in (
            (places[2 + k], "positive", maps.positive, scales[0]),
            (places[2 + count + k], "negative", maps.negative, scales[1]),
        ):
            place.imshow(
                z, cmap=style.SEQUENTIAL, vmin=scale.low, vmax=scale.high, gid=f"sample{number}/{maps.key}/{kind}"
            )
            place.axis("off")
            outline(place, inside, 0.5)
    return [places[2], places[2 + count]]


def _scales(sheet: Sheet, shown: list[Axes], lefts: list[float], side: float, count: int, top: float) -> None:
    for ax, start in zip(shown, (2, 2 + count), strict=True):
        left, right = lefts[start], lefts[start + count - 1] + side
        wide = min(right - left - 0.2, 1.8)
        place = sheet.axes((left + right - wide) / 2, top + 0.02, wide, 0.07)
        bar = sheet.figure.colorbar(
            ax.images[0], cax=place, orientation="horizontal", ticks=MaxNLocator(max(int(wide / 0.36), 2))
        )
        bar.outline.set_visible(False)
    sheet.text(0.02, top + 0.05, "line: edge of the mask, Z+ > Z−", va="center", fontsize=style.TINY, color=style.MUTED)
