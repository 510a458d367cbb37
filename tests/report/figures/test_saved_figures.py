"""Files of figures: valid, the same for the same data, watermarked, and drawn only when something changed."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from amlrepro.errors import UserError
from amlrepro.report.figures import style
from amlrepro.report.figures.data import (
    CurvePanel,
    CurvesData,
    CurveSeries,
    GalleryData,
    GalleryPicture,
    HistogramData,
    HistogramSeries,
    MapSample,
    MapsData,
    MethodMaps,
    RadarAxis,
    RadarData,
    RadarPanel,
    RadarSeries,
)
from amlrepro.report.figures.save import draw, draw_cached, save

WATERMARK = "SYNTHETIC DATA: this shows the machinery"
_RAMP = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
_MAP = np.linspace(-3, 3, 64, dtype=np.float32).reshape(8, 8)
CURVES = CurvesData(
    id="curves",
    title="Curves",
    x=(0.0, 30.0, 50.0),
    x_label="x",
    y_label="y",
    panels=(CurvePanel("val", (CurveSeries("caris", "CARIS", (3.0, 2.0, 1.0), (2.0, 1.0, 0.0), (4.0, 3.0, 2.0)),)),),
)
FIGURES = [
    CURVES,
    RadarData(
        id="radar",
        title="Radar",
        panels=(
            RadarPanel(
                "p",
                tuple(RadarAxis(n, (0.0, 1.0, 2.0)) for n in "abc"),
                (RadarSeries("caris", "CARIS", (0.5, 1.5, 1.0)),),
            ),
        ),
    ),
    HistogramData(
        id="histogram", title="h", x_label="S", series=(HistogramSeries("a", "A", (0.0, 0.5, 1.0), (1, 3), 0.6, 0.1),)
    ),
    MapsData(
        id="maps",
        title="m",
        samples=(MapSample(_RAMP, _MAP > 0, "sentence", (MethodMaps("caris", "CARIS", _MAP, -_MAP),)),),
    ),
    GalleryData(id="gallery", title="g", pictures=(GalleryPicture("Original", _RAMP), GalleryPicture("Haze", _RAMP))),
]


def content(paths: list[Path]) -> list[bytes]:
    return [path.read_bytes() for path in paths]


@pytest.mark.parametrize("data", FIGURES, ids=lambda d: d.id)
def test_files_are_what_they_say(data: CurvesData, tmp_path: Path) -> None:
    figure = draw(data)
    pdf, png, svg = save(figure, tmp_path / "folder" / "name.with.dots")
    assert [p.name for p in (pdf, png, svg)] == [f"name.with.dots.{kind}" for kind in ("pdf", "png", "svg")]
    assert pdf.read_bytes().startswith(b"%PDF")
    assert b"/Type3" not in pdf.read_bytes()
    with Image.open(png) as image:
        image.load()
        assert image.size == tuple(int(inches * style.DPI) for inches in figure.get_size_inches())
    assert ElementTree.parse(svg).getroot().tag.endswith("svg")
    assert sorted(p.name for p in (tmp_path / "folder").iterdir()) == sorted(p.name for p in (pdf, png, svg))


@pytest.mark.parametrize("data", FIGURES, ids=lambda d: d.id)
def test_same_data_same_bytes(data: CurvesData, tmp_path: Path) -> None:
    first = content(save(draw(data), tmp_path / "a"))
    assert content(save(draw(data), tmp_path / "b")) == first
    assert not any(re.search(rb"20\d\d-\d\d-\d\dT|CreationDate|matplotlib v", each) for each in first)


def test_bytes_do_not_depend_on_process_time_or_settings(tmp_path: Path) -> None:
    """Another process, a second later, with a matplotlibrc of its own and another time zone."""
    here = content(save(draw(CURVES), tmp_path / "here"))
    (tmp_path / "matplotlibrc").write_text("font.size: 20\naxes.facecolor: red\nsavefig.dpi: 30\n")
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "from test_saved_figures import CURVES; from amlrepro.report.figures.save import draw, save\n"
        "save(draw(CURVES), Path('there'))"
    )
    time.sleep(1.1)
    environment = {**os.environ, "TZ": "Asia/Tokyo", "MATPLOTLIBRC": str(tmp_path)}
    command = [sys.executable, "-c", code, str(Path(__file__).parent)]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    assert content([tmp_path / f"there.{kind}" for kind in ("pdf", "png", "svg")]) == here


@pytest.mark.parametrize("data", FIGURES, ids=lambda d: d.id)
def test_watermark_stands_above_what_is_drawn(data: CurvesData) -> None:
    figure = draw(dataclasses.replace(data, watermark=WATERMARK))
    (text,) = [t for t in figure.texts if t.get_gid() == "watermark"]
    assert text.get_text().replace("\n", " ") == WATERMARK
    (band,) = [a for a in figure.artists if a.get_gid() == "watermark-band"]
    assert all(ax.get_position().y1 <= band.get_y() for ax in figure.axes)
    others = [t for t in figure.texts if t is not text]
    renderer = figure.canvas.get_renderer()
    lower = band.get_window_extent(renderer).y0
    assert all(t.get_window_extent(renderer).y1 <= lower for t in others)
    assert figure.get_size_inches()[1] > draw(data).get_size_inches()[1]


@pytest.mark.parametrize("data", FIGURES, ids=lambda d: d.id)
def test_nothing_is_cut_off_and_type_is_legible(data: CurvesData) -> None:
    figure = draw(data)
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    width, height = figure.canvas.get_width_height()
    written = [t for ax in figure.axes for t in [*ax.texts, ax.title, ax.xaxis.label, ax.yaxis.label]] + figure.texts
    for text in [t for t in written if t.get_text()]:
        box = text.get_window_extent(renderer)
        assert box.x0 >= -0.5, text.get_text()
        assert box.x1 <= width + 0.5, text.get_text()
        assert box.y0 >= -0.5, text.get_text()
        assert box.y1 <= height + 0.5, text.get_text()
        assert text.get_fontsize() >= 6


def test_unchanged_figures_are_left_alone(tmp_path: Path) -> None:
    paths = draw_cached(CURVES, tmp_path / "f")
    stamps = [p.stat().st_mtime_ns for p in paths]
    assert draw_cached(CURVES, tmp_path / "f") == paths
    assert [p.stat().st_mtime_ns for p in paths] == stamps


@pytest.mark.parametrize("change", ["data", "style", "missing", "record"])
def test_figures_are_drawn_anew_when_something_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    paths = draw_cached(CURVES, tmp_path / "f")
    before = content(paths)
    changed = CURVES
    if change == "data":
        changed = dataclasses.replace(CURVES, x=(0.0, 30.0, 60.0))
    elif change == "style":
        monkeypatch.setattr(style, "VERSION", style.VERSION + 1)
        paths[1].write_bytes(b"old")
    elif change == "missing":
        paths[1].unlink()
    else:
        (tmp_path / "f.figure.json").unlink()
        paths[1].write_bytes(b"old")
    after = content(draw_cached(changed, tmp_path / "f"))
    assert (after == before) == (change != "data")


def test_arrays_count_as_data(tmp_path: Path) -> None:
    first = FIGURES[-1]
    assert isinstance(first, GalleryData)
    draw_cached(first, tmp_path / "g")
    other = _RAMP.copy()
    other[0, 0, 0] += 1
    stamp = (tmp_path / "g.png").stat().st_mtime_ns
    draw_cached(dataclasses.replace(first, pictures=(GalleryPicture("Original", other),)), tmp_path / "g")
    assert (tmp_path / "g.png").stat().st_mtime_ns != stamp


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="cannot write here"):
        draw_cached(CURVES, tmp_path / "f")


def test_figures_need_no_torch_and_known_ones_no_matplotlib(tmp_path: Path) -> None:
    """Drawing imports no torch; a figure that is there already is not even drawn."""
    draw_cached(CURVES, tmp_path / "f")
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "import amlrepro.report.figures.build\n"
        "from test_saved_figures import CURVES; from amlrepro.report.figures.save import draw_cached\n"
        "draw_cached(CURVES, Path(sys.argv[2]))\n"
        "print([m for m in ('torch', 'pandas', 'matplotlib', 'pyarrow') if m in sys.modules])\n"
        "draw_cached(CURVES, Path(sys.argv[2] + '2'))\n"
        "print([m for m in ('torch', 'pandas') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parent), str(tmp_path / "f")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "[]"]
