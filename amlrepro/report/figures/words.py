"""Figures in words: captions, and texts for readers who cannot see them."""

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


def caption(data: AnyFigure) -> str:
    """What is said under the figure besides its title."""
    return " ".join(data.notes)


def alt_text(data: AnyFigure) -> str:
    """What the figure shows, with its numbers where it has some, after its watermark."""
    return f"{data.watermark}. {_content(data)}" if data.watermark else _content(data)


def _content(data: AnyFigure) -> str:
    match data:
        case RadarData():
            return _radar(data)
        case CurvesData():
            return _curves(data)
        case GridData():
            return _grid(data)
        case HistogramData():
            return _histogram(data)
        case MapsData():
            methods = ", ".join(m.label for m in data.samples[0].maps)
            return f"Maps Z+ and Z− of {methods} for {_sentences([s.sentence for s in data.samples])}"
        case OverlayData():
            methods = ", ".join(m.label for m in data.samples[0].masks)
            return f"Masks of {methods} for {_sentences([s.sentence for s in data.samples])}"
        case GalleryData():
            return f"One picture in {len(data.pictures)} versions: {', '.join(p.title for p in data.pictures)}."


def _radar(data: RadarData) -> str:
    parts = []
    for panel in data.panels:
        names = [axis.label.replace("\n", " ") for axis in panel.axes]
        lines = [f"{s.label}: {_pairs(names, s.values)}" for s in panel.series]
        parts.append(f"{panel.title}. {'; '.join(lines)}.")
    return "Radar. " + " ".join(parts)


def _curves(data: CurvesData) -> str:
    names = [x if isinstance(x, str) else f"{x:g}" for x in data.x]
    parts = []
    for panel in data.panels:
        lines = [f"{s.label}{' as printed' if s.printed else ''}: {_pairs(names, s.values)}" for s in panel.series]
        parts.append(f"{panel.title}. {'; '.join(lines)}.")
    return f"{data.y_label} over {data.x_label}. " + " ".join(parts)


def _grid(data: GridData) -> str:
    rows = [
        f"{data.y_label} {y}: {_pairs([f'{data.x_label} {x}' for x in data.x], row)}"
        for y, row in zip(data.y, data.values, strict=True)
    ]
    return f"{data.value_label}. " + "; ".join(rows) + "."


def _histogram(data: HistogramData) -> str:
    parts = []
    for s in data.series:
        strong = ", ".join(f"{share:.2f} % at least {limit:g}" for limit, share in s.strong)
        parts.append(f"{s.label}: {sum(s.counts)} scores, mean {s.mean:.3f}, deviation {s.std:.3f}, {strong}.")
    return f"Histograms of the {data.x_label}. " + " ".join(parts)


def _pairs(names: list[str], values: tuple[float | None, ...]) -> str:
    known = [f"{n} {v:.2f}" for n, v in zip(names, values, strict=True) if v is not None]
    return ", ".join(known) or "no number"


def _sentences(sentences: list[str]) -> str:
    return "; ".join(f"“{s}”" for s in sentences) + "."
