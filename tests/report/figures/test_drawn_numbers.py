"""What is drawn is what the data say: positions, heights, pixels and scales, worked out here again."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import ImageColor

from amlrepro.report.figures.data import (
    CurvePanel,
    CurvesData,
    CurveSeries,
    GalleryData,
    GalleryPicture,
    GridData,
    HistogramData,
    HistogramSeries,
    MapSample,
    MapsData,
    MethodMaps,
    MethodMask,
    OverlayData,
    OverlaySample,
    RadarAxis,
    RadarData,
    RadarPanel,
    RadarSeries,
)
from amlrepro.report.figures.save import draw
from amlrepro.report.figures.style import PREDICTED, looks


def by_id(figure: Figure, name: str) -> Any:
    """The one drawn thing with that id."""
    found = [artist for artist in everything(figure) if artist.get_gid() == name]
    assert len(found) == 1, f"{name}: {len(found)}"
    return found[0]


def everything(artist: Artist) -> Iterator[Artist]:
    yield artist
    for child in artist.get_children():
        yield from everything(child)


def texts(figure: Figure) -> list[str]:
    return [a.get_text() for a in everything(figure) if isinstance(a, Text) and a.get_text()]


def radar(values: tuple[float | None, ...]) -> RadarData:
    axes = tuple(RadarAxis(name, (60.0, 62.0, 64.0, 66.0, 68.0)) for name in "abcd")
    panel = RadarPanel("as printed", axes, (RadarSeries("caris", "CARIS", values),))
    return RadarData(id="r", title="Radar", panels=(panel,))


def test_radar_vertices_lie_at_the_values() -> None:
    """Four axes: up, right, down, left. 64 of 60 to 68 is half way out; 68 is on the outer ring."""
    line = by_id(draw(radar((64.0, 68.0, 62.0, 66.0))), "panel0/caris")
    expected = [(0, 0.5), (1, 0), (0, -0.25), (-0.75, 0), (0, 0.5)]
    np.testing.assert_allclose(line.get_xydata(), expected, atol=1e-12)


def test_radar_axes_have_their_own_origin() -> None:
    axes = (RadarAxis("a", (10.0, 20.0)), RadarAxis("b", (50.0, 60.0)), RadarAxis("c", (0.0, 10.0)))
    panel = RadarPanel("p", axes, (RadarSeries("x", "X", (15.0, 57.5, 1.0)),))
    line = by_id(draw(RadarData(id="r", title="r", panels=(panel,))), "panel0/x")
    np.testing.assert_allclose(np.hypot(*line.get_xydata().T), [0.5, 0.75, 0.1, 0.5])
    third = math.radians(240)
    np.testing.assert_allclose(line.get_xydata()[2], [0.1 * math.sin(third), 0.1 * math.cos(third)])


def test_radar_with_a_missing_value_is_open_there() -> None:
    line = by_id(draw(radar((64.0, None, 62.0, 66.0))), "panel0/caris")
    assert np.isnan(line.get_xydata()[1]).all()
    assert np.isfinite(line.get_xydata()[[0, 2, 3]]).all()


def test_radar_names_and_outer_ticks_are_written() -> None:
    written = texts(draw(radar((64.0, 68.0, 62.0, 66.0))))
    assert {"a", "b", "c", "d", "as printed", "CARIS", "68", "64"} <= set(written)


def curves(x: tuple[float | str, ...]) -> CurvesData:
    ours = CurveSeries("caris_aml", "CARIS+AML", (66.0, 67.0, None), (65.0, 66.5, None), (67.0, 67.25, None))
    printed = CurveSeries("caris_aml", "CARIS+AML", (66.2, 66.9, 67.4), printed=True)
    panels = (CurvePanel("val", (ours, printed)), CurvePanel("testA", (ours,)))
    return CurvesData(id="c", title="c", x=x, x_label="tau", y_label="oIoU (%)", panels=panels)


def test_curves_and_their_intervals() -> None:
    figure = draw(curves((0.2, 0.3, 0.4)))
    np.testing.assert_allclose(by_id(figure, "panel0/caris_aml").get_xydata(), [(0.2, 66), (0.3, 67), (0.4, math.nan)])
    np.testing.assert_allclose(by_id(figure, "panel0/caris_aml/printed").get_ydata(), [66.2, 66.9, 67.4])
    corners = by_id(figure, "panel1/caris_aml/interval").get_paths()[0].vertices
    assert {(0.2, 65.0), (0.2, 67.0), (0.3, 66.5), (0.3, 67.25)} <= {tuple(c) for c in corners.round(9)}


def test_panels_of_curves_share_limits_that_hold_everything() -> None:
    """Numbers span 65 to 67.4; a twelfth of that is spared on either side."""
    limits = [ax.get_ylim() for ax in draw(curves((0.2, 0.3, 0.4))).axes]
    assert limits[0] == limits[1] == pytest.approx((65 - 0.2, 67.4 + 0.2))


def test_names_on_x_are_not_joined_by_lines() -> None:
    figure = draw(curves(("early", "late", "pred")))
    line = by_id(figure, "panel0/caris_aml")
    assert line.get_linestyle() == "None"
    assert np.abs(line.get_xdata() - [0, 1, 2]).max() < 0.5
    assert {"early", "late", "pred"} <= set(texts(figure))


def test_a_level_goes_across_the_panel() -> None:
    level = CurveSeries("caris", "CARIS", (65.5, 65.5), (65.0, 65.0), (66.0, 66.0), level=True)
    curve = CurveSeries("aml", "AML", (66.0, 68.0))
    panels = (CurvePanel("val", (curve, level)),)
    data = CurvesData(id="c", title="c", x=("early", "late"), x_label="stage", y_label="oIoU", panels=panels)
    figure = draw(data)
    line = by_id(figure, "panel0/caris")
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([0, 1], [65.5, 65.5])
    across = line.get_window_extent(figure.canvas.get_renderer())
    frame = figure.axes[0].get_window_extent()
    assert (across.x0, across.x1) == pytest.approx((frame.x0, frame.x1))
    box = by_id(figure, "panel0/caris/interval").get_bbox()
    assert (box.y0, box.y1) == (65.0, 66.0)


@pytest.mark.parametrize(
    ("x", "scale"), [((0.2, 0.3, 0.4), "linear"), ((8.0, 16.0, 32.0, 64.0), "log"), ((0.0, 1.0, 50.0), "linear")]
)
def test_crowded_numbers_stand_on_a_logarithmic_scale(x: tuple[float, ...], scale: str) -> None:
    series = CurveSeries("aml", "AML", tuple(60 + v for v in range(len(x))))
    data = CurvesData(id="c", title="c", x=x, x_label="x", y_label="y", panels=(CurvePanel("val", (series,)),))
    ax = draw(data).axes[0]
    assert ax.get_xscale() == scale
    assert [t.get_text() for t in ax.get_xticklabels()] == [f"{v:g}" for v in x]


def test_grid_writes_every_value() -> None:
    data = GridData(
        id="g",
        title="g",
        x=(0.2, 0.4),
        y=(2, 4),
        x_label="tau",
        y_label="rho",
        value_label="oIoU",
        values=((66.125, None), (67.0, 65.5)),
    )
    figure = draw(data)
    assert {"66.12", "–", "67.00", "65.50"} <= set(texts(figure))
    (image,) = figure.axes[0].images
    assert (image.norm.vmin, image.norm.vmax) == (65.5, 67.0)
    assert image.get_array().mask.tolist() == [[False, True], [False, False]]


def test_histogram_bars_are_percent_of_all_scores() -> None:
    series = HistogramSeries("caris", "CARIS", (0.0, 0.5, 1.0), (30, 10), 0.4, 0.2, ((0.5, 25.0), (0.9, 5.0)))
    figure = draw(HistogramData(id="h", title="h", x_label="S", series=(series,)))
    assert [by_id(figure, f"caris/bar{k}").get_height() for k in (0, 1)] == [75.0, 25.0]
    assert by_id(figure, "caris/bar1").get_x() == 0.5
    assert list(by_id(figure, "caris/mean").get_xdata()) == [0.4, 0.4]
    written = by_id(figure, "caris/numbers").get_text()
    assert all(part in written for part in ("40 scores", "mean 0.400", "std 0.200", "0.5: 25.00 %", "0.9: 5.00 %"))


def picture(seed: int, side: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def some_maps() -> MapsData:
    samples = []
    for i in range(2):
        random = np.random.default_rng(i)
        made = [MethodMaps(k, k, *random.normal(i, 1, (2, 8, 8)).astype(np.float32)) for k in ("caris", "caris_aml")]
        samples.append(MapSample(picture(i), random.random((8, 8)) > 0.5, "costs $5 and $6_x", tuple(made)))
    return MapsData(id="m", title="m", samples=tuple(samples))


def test_maps_share_one_scale_a_kind() -> None:
    data = some_maps()
    figure = draw(data)
    for kind in ("positive", "negative"):
        every = np.stack([getattr(m, kind) for s in data.samples for m in s.maps])
        for i, sample in enumerate(data.samples):
            for maps in sample.maps:
                image = by_id(figure, f"sample{i}/{maps.key}/{kind}")
                np.testing.assert_array_equal(image.get_array(), getattr(maps, kind))
                assert (image.norm.vmin, image.norm.vmax) == (every.min(), every.max())


def test_maps_show_input_and_target() -> None:
    data = some_maps()
    figure = draw(data)
    np.testing.assert_array_equal(by_id(figure, "sample1/input").get_array(), data.samples[1].image)
    shown = by_id(figure, "sample1/target").get_array()
    np.testing.assert_array_equal(shown[..., 0] > 128, data.samples[1].target)


def test_a_dollar_sign_is_no_formula() -> None:
    assert "“costs $5 and $6_x”" in texts(draw(some_maps()))


def test_overlay_tints_the_mask_and_nothing_else() -> None:
    image, mask = picture(3), np.zeros((8, 8), dtype=bool)
    mask[2:5, 3:6] = True
    sample = OverlaySample(image, "the cat", (MethodMask("caris", "CARIS", mask),))
    figure = draw(OverlayData(id="o", title="o", samples=(sample,)))
    np.testing.assert_array_equal(by_id(figure, "sample0/picture").get_array(), image)
    shown = by_id(figure, "sample0/caris").get_array()
    np.testing.assert_array_equal(shown[~mask], image[~mask])
    expected = 0.45 * image[mask] + 0.55 * np.array(ImageColor.getrgb(PREDICTED))
    np.testing.assert_allclose(shown[mask], expected, atol=0.51)
    assert "“the cat”" in texts(figure)


def test_gallery_keeps_pictures_and_order() -> None:
    pictures = tuple(GalleryPicture(f"version {k}", picture(k)) for k in range(5))
    figure = draw(GalleryData(id="g", title="g", pictures=pictures))
    for k, each in enumerate(pictures):
        np.testing.assert_array_equal(by_id(figure, f"picture{k}").get_array(), each.image)
    assert [t for t in texts(figure) if t.startswith("version")] == [p.title for p in pictures]
    boxes = [by_id(figure, f"picture{k}").axes.get_position() for k in range(5)]
    assert boxes[0].x0 < boxes[1].x0 < boxes[2].x0 < boxes[3].x0
    assert boxes[4].y1 < boxes[0].y0
    assert boxes[4].x0 == pytest.approx(boxes[0].x0)


def test_methods_are_told_apart_without_colour() -> None:
    chosen = looks(["caris", "caris_aml", "caris_random_mask", "magnet", "other", "another"])
    assert len({look.marker for look in chosen.values()}) == 6
    assert len({look.color for look in chosen.values()}) == 6
    assert looks(["something", "caris"])["caris"] == chosen["caris"]
