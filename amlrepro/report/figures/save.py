"""Figures to files: PDF, PNG and SVG, equal bytes for equal data; drawn only when the data or the style changed."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amlrepro.files import atomic_path, canonical_hash, read_json, write_json
from amlrepro.report.figures import style
from amlrepro.report.figures.data import (
    AnyFigure,
    CurvesData,
    GalleryData,
    GridData,
    HistogramData,
    MapsData,
    OverlayData,
    RadarData,
    plain,
)
from amlrepro.report.figures.recipe import Recipe
from amlrepro.report.figures.words import alt_text, caption

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("pdf", "png", "svg")
_METADATA: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None, "ModDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None, "Format": None, "Type": None},
}


def draw(data: AnyFigure) -> Figure:
    """The figure of any kind of data, in the style of `style.RC`."""
    from matplotlib import rc_context, rcdefaults, rcParams

    from amlrepro.report.figures import curves, gallery, histogram, maps, overlay, radar

    with rc_context():
        rcdefaults()  # whatever a matplotlibrc says
        rcParams.update(style.RC)
        match data:
            case RadarData():
                return radar.draw_radar(data)
            case CurvesData():
                return curves.draw_curves(data)
            case GridData():
                return curves.draw_grid(data)
            case HistogramData():
                return histogram.draw_histogram(data)
            case MapsData():
                return maps.draw_maps(data)
            case OverlayData():
                return overlay.draw_overlay(data)
            case GalleryData():
                return gallery.draw_gallery(data)


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write `<stem>.pdf`, `.png` and `.svg`; nothing in them tells the time or the machine. Returns them in this order.

    Raises `UserError` when the folder cannot be written.
    """
    from matplotlib import rc_context, rcdefaults, rcParams

    out = []
    with rc_context():
        rcdefaults()
        rcParams.update(style.RC)
        for kind in FORMATS:
            path = named(stem, kind)
            with atomic_path(path) as temporary:
                figure.savefig(temporary, format=kind, dpi=style.DPI, metadata=_METADATA[kind])
            out.append(path)
    return out


@dataclass(frozen=True)
class Drawn:
    """A figure's files (PDF, PNG, SVG), its caption without title, and the figure in words."""

    files: tuple[Path, ...]
    caption: str
    alt: str


def draw_cached(data: AnyFigure, stem: Path) -> list[Path]:
    """The figure's files, drawn unless they are there already and are of these data and this style.

    `<stem>.figure.json` says what they were drawn from; it is written last.
    """
    return list(draw_recipe(Recipe(plain(data), lambda: data), stem).files)


def draw_recipe(recipe: Recipe, stem: Path) -> Drawn:
    """The same for data that are not made unless they are needed. Raises what `recipe.make` raises."""
    paths = tuple(named(stem, kind) for kind in FORMATS)
    record = named(stem, "figure.json")
    today = digest(recipe.inputs)
    if record.exists() and all(path.exists() for path in paths):
        known = read_json(record)
        if known.get("digest") == today:
            return Drawn(paths, known["caption"], known["alt"])
    data = recipe.make()
    record.unlink(missing_ok=True)
    save(draw(data), stem)
    out = Drawn(paths, caption(data), alt_text(data))
    write_json(record, {"digest": today, "id": data.id, "caption": out.caption, "alt": out.alt})
    return out


def digest(inputs: Any) -> str:
    """Hash of everything the files depend on: what the data come from, the style and the drawing library."""
    return canonical_hash([inputs, style.VERSION, version("matplotlib")], 16)


def named(stem: Path, kind: str) -> Path:
    """`<stem>.<kind>`; a dot in the stem's name stays."""
    return stem.with_name(f"{stem.name}.{kind}")
