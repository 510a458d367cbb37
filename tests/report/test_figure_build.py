"""From store and plan to figures: the cells' numbers, the probes' scores, and reasons where there is none."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from fake_store import fill, finish_run, make_plan, make_records, write_records
from figure_store import SENTENCES, SIDE, disk_maps, scores, write_alignment, write_probes
from PIL import Image

from amlrepro.config import parse_config
from amlrepro.data.synth import ensure_synth
from amlrepro.report.figures.build import ReportFigure, recipe, report_figures
from amlrepro.report.figures.data import (
    AnyFigure,
    CurvesData,
    GalleryData,
    HistogramData,
    MapsData,
    OverlayData,
    RadarData,
)
from amlrepro.report.figures.recipe import NotThereError, Origin
from amlrepro.suite.cells import block_cells
from amlrepro.suite.figures import GalleryFigure
from amlrepro.suite.plan import Plan, PlannedFigure
from amlrepro.suite.printed import load_printed
from amlrepro.suite.store import Store


def origin(store: Store, plan: Plan) -> Origin:
    (experiment,) = plan.experiments
    return Origin(store, plan, {b.id: block_cells(store, plan, experiment.id, b.id) for b in experiment.blocks})


def build(store: Store, plan: Plan) -> AnyFigure:
    return recipe(origin(store, plan), plan.figures[0]).make()


def draw_all(store: Store, plan: Plan, folder: Path) -> list[ReportFigure]:
    return report_figures(store, plan, plan.experiments[0].id, origin(store, plan).cells, folder)


def evaluated(tmp_path: Path, experiment: str, profile: str = "paper") -> tuple[Store, Plan]:
    """A store in which every evaluation of the experiment is there, AML's a little better."""
    plan, store = make_plan(profile, experiments=(experiment,)), Store(tmp_path, profile)
    for number, run in enumerate(plan.runs.values()):
        finish_run(store, run)
        for k, evaluation in enumerate(run.evals):
            quality = 0.6 + 0.03 * (run.config.strategy == "aml")
            write_records(store, run, evaluation, make_records(quality, 60, 20, seed=50 * number + k))
    return store, plan


def test_accuracy_radar(tmp_path: Path) -> None:
    """Figure 1(c): printed numbers of three methods, ours of the two that are run, on common axes."""
    plan, store = make_plan("paper", experiments=("figure1c",)), Store(tmp_path, "paper")
    fill(store, plan)
    data = build(store, plan)
    assert isinstance(data, RadarData)
    printed, ours = data.panels
    table = load_printed("table1_oiou")
    columns = [c.key for c in table.columns if not c.derived]
    assert [s.label for s in printed.series] == ["CARIS", "MagNet", "CARIS+AML"]
    for series in printed.series:
        assert series.values == tuple(float(table.row(series.key).values[c] or 0) for c in columns)
    cells = block_cells(store, plan, "figure1c", "oiou")
    assert [s.key for s in ours.series] == ["caris", "caris_aml"]
    for series in ours.series:
        assert series.values == tuple(cells[series.key, c].value for c in columns)
    assert printed.axes == ours.axes
    assert [a.label for a in ours.axes][:2] == ["RefCOCO\nval", "RefCOCO\ntestA"]
    assert data.watermark is None


def test_a_small_profile_has_its_own_axes_and_a_watermark(tmp_path: Path) -> None:
    plan, store = make_plan("demo", experiments=("figure1c",)), Store(tmp_path, "demo")
    fill(store, plan, shift=-0.4)
    data = build(store, plan)
    assert isinstance(data, RadarData)
    assert data.watermark is not None
    assert data.watermark.startswith("SYNTHETIC DATA: ")
    printed, ours = data.panels
    assert (printed.title, ours.title) == ("as printed", "profile demo")
    assert max(ours.axes[0].ticks) < min(printed.axes[0].ticks)


def test_robustness_radar(tmp_path: Path) -> None:
    """Figure 1(d): an axis a perturbation, from the rows `perturbation__method` of Table 15."""
    store, plan = evaluated(tmp_path, "figure1d")
    data = build(store, plan)
    assert isinstance(data, RadarData)
    assert [p.title.rpartition(": ")[2] for p in data.panels] == ["as printed", "reproduced"] * 2
    assert [a.label.replace("\n", " ") for a in data.panels[0].axes][3:5] == ["Contrast", "Occlusion box"]
    table = load_printed("table15")
    assert data.panels[2].series[1].values[4] == table.value("occlusion_box__caris_aml", "refcocog.val.miou")
    cells = block_cells(store, plan, "figure1d", "perturbed")
    assert data.panels[3].series[0].values[0] == cells["haze__caris", "refcocog.val.miou"].value


def test_occlusion_curves_have_the_cells_intervals(tmp_path: Path) -> None:
    store, plan = evaluated(tmp_path, "figure4b")
    data = build(store, plan)
    assert isinstance(data, CurvesData)
    assert data.x == (0, 30, 50)
    assert [p.title for p in data.panels] == ["val", "testA", "testB"]
    cell = block_cells(store, plan, "figure4b", "occluded")["caris_aml", "testA.30"]
    series = next(s for s in data.panels[1].series if s.key == "caris_aml")
    assert cell.interval is not None
    assert (series.values[1], series.low[1], series.high[1]) == (cell.value, cell.interval.low, cell.interval.high)


def test_histogram_counts_every_score_of_every_seed(tmp_path: Path) -> None:
    plan, store = make_plan("demo", (0, 1), experiments=("figure6",)), Store(tmp_path, "demo")
    made = {}
    for rank, (row, requests) in enumerate(plan.figures[0].requests.items()):
        for seed, request in enumerate(requests):
            finish_run(store, plan.runs[request.run_id])
            found = scores(0.4 + 0.1 * rank, seed=10 * rank + seed)
            made.setdefault(row, []).append(found.similarity.astype(np.float64))
            write_alignment(store, request, found, plan.runs[request.run_id].until)
    data = build(store, plan)
    assert isinstance(data, HistogramData)
    assert [s.label for s in data.series] == ["CARIS", "CARIS+AML"]
    for series in data.series:
        both = np.concatenate(made[series.key])
        counts = [int(np.sum((both >= k / 50) & (both < (k + 1) / 50))) for k in range(49)]
        assert list(series.counts[:49]) == counts
        assert sum(series.counts) == len(both)
        assert (series.mean, series.std) == pytest.approx((both.mean(), both.std()))
        strong = [100 * np.mean(np.concatenate(made[series.key]) >= np.float32(limit)) for limit in (0.5, 0.9)]
        assert [share for _, share in series.strong] == pytest.approx(strong, abs=0.11)


def test_maps_of_three_methods(tmp_path: Path) -> None:
    plan, store = make_plan("demo", experiments=("figure4a",)), Store(tmp_path, "demo")
    for run in plan.runs.values():
        finish_run(store, run)
    write_probes(store, plan)
    data = build(store, plan)
    assert isinstance(data, MapsData)
    assert [s.sentence for s in data.samples] == list(SENTENCES)
    assert [m.label for m in data.samples[0].maps] == ["CARIS", "CARIS + random mask", "CARIS+AML"]
    expected = disk_maps(0.6 + 0.3 * 2, 1)
    np.testing.assert_array_equal(data.samples[1].maps[2].positive, expected["zplus_1"])
    np.testing.assert_array_equal(data.samples[1].maps[2].negative, expected["zminus_1"])
    np.testing.assert_array_equal(data.samples[1].target, expected["target_1"])


def test_overlays_have_the_pictures_own_shape(tmp_path: Path) -> None:
    """The network sees squares; a picture of 30 x 60 is shown twice as wide as high. Stand-ins are named as such."""
    plan, store = make_plan("demo", experiments=("figure8",)), Store(tmp_path, "demo")
    for run in plan.runs.values():
        finish_run(store, run)
    write_probes(store, plan, shape=(30, 60))
    data = build(store, plan)
    assert isinstance(data, OverlayData)
    sample = data.samples[0]
    assert sample.image.shape == (SIDE // 2, SIDE, 3)
    assert {m.mask.shape for m in sample.masks} == {(SIDE // 2, SIDE)}
    whole = disk_maps(0.6, 0)["mask_0"].mean()
    assert sample.masks[0].mask.mean() == pytest.approx(whole, abs=0.02)
    assert data.notes[0].startswith("Stand-ins from refcoco val")


def test_probes_of_different_samples_are_not_set_side_by_side(tmp_path: Path) -> None:
    plan, store = make_plan("demo", experiments=("figure4a",)), Store(tmp_path, "demo")
    for run in plan.runs.values():
        finish_run(store, run)
    write_probes(store, plan)
    request = plan.figures[0].requests["caris"][0]
    path = store.run(request.run_id).probe(request.probe_id)
    path.write_text(path.read_text().replace(SENTENCES[0], "another sentence"))
    with pytest.raises(NotThereError, match="different samples"):
        build(store, plan)


def test_a_method_without_a_probe_is_named(tmp_path: Path) -> None:
    plan, store = make_plan("demo", experiments=("figure4a",)), Store(tmp_path, "demo")
    for run in plan.runs.values():
        finish_run(store, run)
    write_probes(store, plan)
    request = plan.figures[0].requests["caris_random_mask"][0]
    store.run(request.run_id).probe(request.probe_id).unlink()
    data = build(store, plan)
    assert isinstance(data, MapsData)
    assert [m.label for m in data.samples[0].maps] == ["CARIS", "CARIS+AML"]
    assert any("CARIS + random mask" in note for note in data.notes)


@pytest.mark.parametrize(
    "experiment", ["figure1c", "figure1d", "figure4a", "figure4b", "figure5", "figure6", "figure8"]
)
def test_an_empty_store_draws_nothing_and_says_why(tmp_path: Path, experiment: str) -> None:
    plan = make_plan("paper", experiments=(experiment,))
    (figure,) = draw_all(Store(tmp_path, "paper"), plan, tmp_path / "out")
    assert figure.reason == "not run yet"
    assert figure.files == ()
    assert not (tmp_path / "out").exists()


def gallery(root: Path, dataset: str, split: str, picture: int, source: str) -> tuple[Plan, PlannedFigure]:
    plan = make_plan("paper", experiments=("figure7",))
    spec = plan.figures[0].spec
    assert isinstance(spec, GalleryFigure)
    data = {"train": dataset, "source": source}
    config = parse_config({"model": {"name": "caris"}, "data": data, "exec": {"data_root": str(root)}})
    chosen = spec.model_copy(update={"dataset": dataset, "split": split, "picture": picture})
    planned = PlannedFigure("figure7", chosen, config=config)
    return dataclasses.replace(plan, figures=[planned]), planned


def test_gallery_shows_a_picture_and_what_is_done_to_it(tmp_path: Path) -> None:
    """Haze is half white, lowlight 0.45 of each value, both checked here pixel by pixel."""
    synth = parse_config({"data": {"synth": {"image_size": 64, "train_images": 4, "eval_images": 3}}}).data.synth
    root = ensure_synth(synth, tmp_path / "data", workers=1)
    plan, planned = gallery(root, "refcoco", "val", 1, "synth")
    data = recipe(Origin(Store(tmp_path, "paper"), plan, {}), planned).make()
    assert isinstance(data, GalleryData)
    assert [p.title for p in data.pictures][:4] == ["Original", "Haze", "Highlight", "Lowlight"]
    assert len(data.pictures) == 8
    original, haze, lowlight = (data.pictures[k].image.astype(float) for k in (0, 1, 3))
    np.testing.assert_allclose(haze, 0.5 * original + 127.5, atol=1)
    np.testing.assert_allclose(lowlight, 0.45 * original, atol=1)
    name = data.notes[0].split(" of ")[0]
    with Image.open(next(root.rglob(name))) as picture:
        np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), data.pictures[0].image)


def test_gallery_of_real_pictures(shared: Path, tmp_path: Path) -> None:
    root = shared / "data" / "refcoco_mini"
    plan, planned = gallery(root, "refcoco", "testB", 0, "refer")
    data = recipe(Origin(Store(tmp_path, "paper"), plan, {}), planned).make()
    assert isinstance(data, GalleryData)
    assert len({p.image.shape for p in data.pictures}) == 1
    assert all((p.image != data.pictures[0].image).any() for p in data.pictures[1:])


@pytest.mark.parametrize(
    ("picture", "root", "reason"), [(10**6, "refcoco_mini", "pictures"), (0, "nowhere", "does not exist")]
)
def test_a_gallery_without_its_picture_says_so(
    shared: Path, tmp_path: Path, picture: int, root: str, reason: str
) -> None:
    plan, _ = gallery(shared / "data" / root, "refcoco", "testB", picture, "refer")
    (figure,) = report_figures(Store(tmp_path, "paper"), plan, "figure7", {}, tmp_path / "out")
    assert figure.reason is not None
    assert reason in figure.reason
    assert not figure.files


def test_figures_are_files_with_words(tmp_path: Path) -> None:
    plan, store = make_plan("demo", experiments=("figure1c",)), Store(tmp_path, "demo")
    fill(store, plan)
    (figure,) = draw_all(store, plan, tmp_path / "out")
    assert [p.suffix for p in figure.files] == [".pdf", ".png", ".svg"]
    assert all(p.exists() for p in figure.files)
    assert figure.alt.startswith("SYNTHETIC DATA")
    assert "MagNet: RefCOCO val 75.24" in figure.alt
    assert set(figure.run_ids) == set(plan.runs)
    assert draw_all(store, plan, tmp_path / "out") == [figure]


def test_a_gallery_known_already_reads_no_pictures(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = shared / "data" / "refcoco_mini"
    plan, _ = gallery(root, "refcoco", "testB", 0, "refer")
    first = report_figures(Store(tmp_path, "paper"), plan, "figure7", {}, tmp_path / "out")
    monkeypatch.setattr("amlrepro.report.figures.from_pictures.load_refer", None)
    assert report_figures(Store(tmp_path, "paper"), plan, "figure7", {}, tmp_path / "out") == first
