"""What a figure shows, in words: the text that stands for the picture where it cannot be seen."""

from __future__ import annotations

from amlrepro.report.figures.data import (
    AnyFigure,
    CurvesData,
    GalleryData,
    GridData,
    HistogramData,
    MapsData,
    OverlayData,
    RadarData,
)


def alternative(data: AnyFigure) -> str:
    """Kind and content of a figure, with its numbers where it has a readable number of them."""
    match data:
        case RadarData():
            body = _radar(data)
        case CurvesData():
            body = _curves(data)
        case GridData():
            body = _grid(data)
        case HistogramData():
            body = _histogram(data)
        case MapsData():
            methods = [maps.label for maps in data.samples[0].maps] if data.samples else []
            kinds = "foreground and background maps of"
            body = f"Prediction maps: for {_samples(data.samples)}, {kinds} {_list(methods)}"
        case OverlayData():
            methods = [mask.label for mask in data.samples[0].masks] if data.samples else []
            body = f"Masks over pictures: for {_samples(data.samples)}, the masks of {_list(methods)}"
        case GalleryData():
            body = f"One picture in several versions: {_list([picture.title for picture in data.pictures])}"
    return f"{data.watermark}. {body}." if data.watermark else f"{body}."


def _radar(data: RadarData) -> str:
    parts = []
    for panel in data.panels:
        rows = []
        for series in panel.series:
            values = zip(panel.axes, series.values, strict=True)
            shown = [f"{axis.label} {value:.1f}" for axis, value in values if value is not None]
            rows.append(f"{series.label}: {', '.join(shown) or 'no values'}")
        parts.append(f"{panel.title}: {'; '.join(rows)}")
    return f"Radar chart. {'. '.join(parts)}".replace("\n", " ")


def _curves(data: CurvesData) -> str:
    parts = []
    for panel in data.panels:
        rows = []
        for series in panel.series:
            values = zip(data.x, series.values, strict=True)
            shown = [f"{_number(value)} at {_number(x)}" for x, value in values if value is not None]
            rows.append(f"{series.label}{' (printed)' * series.printed}: {', '.join(shown) or 'no values'}")
        parts.append(f"{panel.title}: {'; '.join(rows)}" if panel.title else "; ".join(rows))
    return f"Curves of {data.y_label} over {data.x_label}. {'. '.join(parts)}".replace("\n", " ")


def _grid(data: GridData) -> str:
    cells = [
        f"{_number(value)} at {_number(x)}, {_number(y)}"
        for y, row in zip(data.y, data.values, strict=True)
        for x, value in zip(data.x, row, strict=True)
        if value is not None
    ]
    return f"Grid of {data.value_label} over {data.x_label} and {data.y_label}: {'; '.join(cells) or 'no values'}"


def _histogram(data: HistogramData) -> str:
    rows = []
    for series in data.series:
        strong = "".join(f", {percent:.1f} % at least {limit:g}" for limit, percent in series.strong)
        rows.append(f"{series.label}: mean {series.mean:.3f}, standard deviation {series.std:.3f}{strong}")
    return f"Histograms of {data.x_label}. {'; '.join(rows)}"


def _number(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"


def _samples(samples: tuple[object, ...]) -> str:
    sentences = [f"“{getattr(sample, 'sentence', '')}”" for sample in samples]
    return _list(sentences) or "no sample"


def _list(names: list[str]) -> str:
    return ", ".join(names)
