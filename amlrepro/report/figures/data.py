"""What each kind of figure shows, as plain numbers, labels and arrays: no store, no plan, no matplotlib."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]  # [H, W, 3], RGB
Mask = NDArray[np.bool_]  # [H, W]
Map = NDArray[np.float32]  # [h, w]


@dataclass(frozen=True, kw_only=True)
class FigureData:
    """What all figures have. title, notes: for the caption; they are not drawn. watermark: drawn above everything."""

    id: str
    title: str
    watermark: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class RadarAxis:
    """One spoke. ticks: values at the centre and at each ring, evenly spaced, as many on every axis of a panel; none on
    an axis for which no series has a value."""

    label: str
    ticks: tuple[float, ...]

    def radius(self, value: float) -> float:
        """Where a value lies between the centre (0) and the outer ring (1)."""
        return (value - self.ticks[0]) / (self.ticks[-1] - self.ticks[0])


@dataclass(frozen=True)
class RadarSeries:
    """One method. key: by which it keeps its colour in all figures; values: one an axis, None where there is none."""

    key: str
    label: str
    values: tuple[float | None, ...]


@dataclass(frozen=True)
class RadarPanel:
    """One radar."""

    title: str
    axes: tuple[RadarAxis, ...]
    series: tuple[RadarSeries, ...]


@dataclass(frozen=True, kw_only=True)
class RadarData(FigureData):
    """Radars, two abreast."""

    panels: tuple[RadarPanel, ...]


@dataclass(frozen=True)
class CurveSeries:
    """One method over x. low, high: the interval around each value. printed: the paper's own numbers. level: one value
    for all x, drawn across the panel."""

    key: str
    label: str
    values: tuple[float | None, ...]
    low: tuple[float | None, ...] = ()
    high: tuple[float | None, ...] = ()
    printed: bool = False
    level: bool = False


@dataclass(frozen=True)
class CurvePanel:
    """The curves of one split."""

    title: str
    series: tuple[CurveSeries, ...]


@dataclass(frozen=True, kw_only=True)
class CurvesData(FigureData):
    """Curves over a common x, a panel each, up to three abreast. x: numbers, or names where the axis has no order."""

    x: tuple[float | str, ...]
    x_label: str
    y_label: str
    panels: tuple[CurvePanel, ...]


@dataclass(frozen=True, kw_only=True)
class GridData(FigureData):
    """A value for each pair of two settings. values: [y][x], None where there is none."""

    x: tuple[float | str, ...]
    y: tuple[float | str, ...]
    x_label: str
    y_label: str
    value_label: str
    values: tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True)
class HistogramSeries:
    """A distribution.

    edges: bins + 1; counts: scores in each bin. mean, std: of the scores themselves, not of the bins.
    strong: (limit, percent of scores of at least that).
    """

    key: str
    label: str
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    mean: float
    std: float
    strong: tuple[tuple[float, float], ...] = ()

    @property
    def shares(self) -> tuple[float, ...]:
        """Percent of all scores in each bin."""
        total = sum(self.counts)
        return tuple(100.0 * count / total if total else 0.0 for count in self.counts)


@dataclass(frozen=True, kw_only=True)
class HistogramData(FigureData):
    """Distributions side by side on common axes."""

    x_label: str
    series: tuple[HistogramSeries, ...]


@dataclass(frozen=True)
class MethodMaps:
    """Z+ and Z- of one method on one sample."""

    key: str
    label: str
    positive: Map
    negative: Map


@dataclass(frozen=True)
class MapSample:
    """One sample and its maps, of the same methods in the same order for all samples of a figure. target: the true mask
    where there is one."""

    image: Picture
    target: Mask | None
    sentence: str
    maps: tuple[MethodMaps, ...]


@dataclass(frozen=True, kw_only=True)
class MapsData(FigureData):
    """Prediction maps: a row a sample; each kind of map on one scale over all methods and samples."""

    samples: tuple[MapSample, ...]


@dataclass(frozen=True)
class MethodMask:
    """The mask one method predicts."""

    key: str
    label: str
    mask: Mask


@dataclass(frozen=True)
class OverlaySample:
    """One picture and sentence. target: the true mask where there is one."""

    image: Picture
    sentence: str
    masks: tuple[MethodMask, ...]
    target: Mask | None = None


@dataclass(frozen=True, kw_only=True)
class OverlayData(FigureData):
    """Masks over pictures: a row a sample, a column a method."""

    samples: tuple[OverlaySample, ...]


@dataclass(frozen=True)
class GalleryPicture:
    """One version of the picture."""

    title: str
    image: Picture


@dataclass(frozen=True, kw_only=True)
class GalleryData(FigureData):
    """A picture, whole and perturbed, four abreast."""

    pictures: tuple[GalleryPicture, ...]


AnyFigure = RadarData | CurvesData | GridData | HistogramData | MapsData | OverlayData | GalleryData


def plain(value: Any) -> Any:
    """A figure's data as JSON values; an array becomes its shape, type and content's SHA-256."""
    import dataclasses
    import hashlib

    if isinstance(value, np.ndarray):
        content = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return {"shape": list(value.shape), "dtype": value.dtype.str, "sha256": content}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"kind": type(value).__name__, **fields}
    if isinstance(value, tuple | list):
        return [plain(v) for v in value]
    return value.item() if isinstance(value, np.generic) else value
