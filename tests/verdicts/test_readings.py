"""Readings ranked from a store with made-up measurements: what is found, what is not claimed, and where it is kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from injected_store import inject, place

from amlrepro.errors import UserError
from amlrepro.metrics.alignment import PatchScores
from amlrepro.metrics.probes import bulk_path
from amlrepro.suite.inputs import Inputs
from amlrepro.suite.plan import Plan, ProbeRequest
from amlrepro.suite.planner import build_plan
from amlrepro.suite.printed import load_printed
from amlrepro.suite.profile import load_profile
from amlrepro.suite.readings import TARGET, Catalogue, Reading, catalogue, readings_experiment
from amlrepro.suite.rows import Choices
from amlrepro.suite.store import Store
from amlrepro.verdicts.readings import evaluate_readings, load_distances, preset_note, read_readings, write_readings
from amlrepro.verdicts.readings.gather import Numbers, Resampler, measure, sum_patches
from amlrepro.verdicts.readings.result import ReadingsReport

Value = Callable[[str, str, str, int], float]  # row, block, column, seed


def printed(block: str, column: str) -> float:
    """What the paper prints for a column of the experiment, by its own tables."""
    epoch = "ep0" if block == "epoch0" else "ep1"
    if block == "baseline":
        key = ("table14", "caris", "ep1") if column == "loss" else ("table7", "caris_ep1", column)
    elif column == "loss":
        key = ("table14", "caris_aml", "ep1")
    elif column.startswith(("coverage", "blanked")):
        key = ("table13", column.partition("_")[2], epoch)
    elif column.startswith("pr") or column == "oiou":
        key = ("table7", "caris_aml_ep1", column)
    else:
        key = ("table12", f"sim_{column}", "ep1")  # before training nothing is printed of S: anything will do
    number = load_printed(key[0]).value(key[1], key[2])
    assert number is not None
    return float(number)


def spread(value: float, seed: int, strength: float = 0.01) -> float:
    """A value that depends on the seed: seed 0 above, seed 1 below, others in between."""
    return value * (1 + strength * {0: 1, 1: -1}.get(seed, 0.3))


# Before training the step makes no difference: these are one measurement.
SAME_AT_FIRST = {
    "inferred:step=joint": "inferred",
    "literal:step=joint": "literal",
    "released:step=forward_only": "released",
}


@cache
def planned(profile: str, names: tuple[str, ...], target: str | None, initial_only: bool) -> tuple[Catalogue, Plan]:
    spec = load_profile(profile)
    everything = catalogue(spec)
    experiment = readings_experiment(everything, everything.pick(names), initial_only=initial_only)
    plan = build_plan([experiment], spec, Inputs(spec.source), Choices(seeds=(0, 1)))
    if target is not None:
        known = readings_experiment(everything, everything.pick([target]), initial_only=initial_only, id_=TARGET)
        more = build_plan([known], spec, Inputs(spec.source), Choices(seeds=(7,)))
        plan.experiments += more.experiments
        plan.runs.update(more.runs)
        plan.cells += more.cells
    return everything, plan


def make(
    tmp_path: Path,
    value: Value,
    *,
    profile: str = "paper",
    names: Sequence[str] = (),
    target: str | None = None,
    initial_only: bool = False,
) -> tuple[Store, Plan, Catalogue, tuple[Reading, ...]]:
    """A store in which every measurement of the plan says `value`."""
    everything, plan = planned(profile, tuple(names), target, initial_only)
    numbers = {}
    for cell in plan.cells:
        row = SAME_AT_FIRST.get(cell.row, cell.row) if cell.block == "epoch0" else cell.row
        for request in cell.requests:
            seed = plan.runs[request.run_id].config.seed
            numbers[place(cell, request)] = value(row, cell.block, cell.column, seed)
    store = Store(tmp_path, profile)
    inject(store, plan, numbers)
    return store, plan, everything, everything.pick(names)


def as_printed(row: str, block: str, column: str, seed: int) -> float:
    """`released` measures what is printed but for its seeds; every other reading 30 % less, `inferred` 1 % less."""
    factor = {"released": 1.0, "baseline": 1.0, "inferred": 0.99}.get(row, 0.7)
    return spread(factor * printed(block, column), seed)


def ranked(made: tuple[Store, Plan, Catalogue, tuple[Reading, ...]], **options: object) -> ReadingsReport:
    return evaluate_readings(*made, **{"target": None, "initial_only": False, **options})  # type: ignore[arg-type]


def test_the_reading_that_measures_what_is_printed_is_nearest(tmp_path: Path) -> None:
    report = ranked(make(tmp_path, as_printed))
    assert [reading.name for reading in report.readings[:2]] == ["released", "inferred"]
    first = report.readings[0]
    assert first.distance == pytest.approx(0, abs=0.02)
    assert report.fit == "fits"
    assert report.reference == pytest.approx(0, abs=0.02)
    assert {statistic.group for statistic in first.statistics} == {*report.groups}
    assert len(first.statistics) == 5 + 4 + 4 + 5 + 2
    mean = next(s for s in first.statistics if s.name == "table12/mean")
    assert (mean.ours, mean.target) == (pytest.approx(0.7542), pytest.approx(0.7542))
    gain = next(s for s in first.statistics if s.name == "table7/oiou_gain")
    assert (gain.ours, gain.target) == (pytest.approx(4.61), pytest.approx(4.61))
    assert report.complete
    assert report.degrees == 6, "released and the five with its normalisation and projection, two seeds each"
    assert all(reading.label == "farther" for reading in report.readings[2:])


def test_what_noise_hides_is_said(tmp_path: Path) -> None:
    """With seeds that differ by 60 %, one percent between released and inferred is nothing."""

    def value(row: str, block: str, column: str, seed: int) -> float:
        return spread(as_printed(row, block, column, 5), seed, 0.2)

    report = ranked(make(tmp_path, value))
    assert {"released", "inferred"} <= {reading.name for reading in report.candidates}
    assert any("cannot be told apart" in sentence for sentence in report.text)
    assert sum(reading.nearest or 0 for reading in report.readings) == pytest.approx(1)


def test_nearest_is_not_right(tmp_path: Path) -> None:
    """When every reading is far off, the best of them explains nothing."""
    report = ranked(make(tmp_path, lambda row, block, column, seed: 0.3 * as_printed(row, block, column, seed)))
    assert report.fit == "does not fit"
    assert any("No reading explains" in sentence for sentence in report.text)
    assert any("say little about readings" in sentence for sentence in report.text)


@pytest.mark.parametrize("target", ["released", "inferred:tokens=real", "literal"])
def test_a_known_answer_is_found(tmp_path: Path, target: str) -> None:
    """Each reading at its own place, numbered; the target's own run, with another seed, is nearest to that reading."""
    order = [reading.name for reading in catalogue(load_profile("demo")).readings]

    def value(row: str, block: str, column: str, seed: int) -> float:
        place = order.index(row) if row in order else 0
        return spread((0.4 + 0.03 * place) * printed(block, column), seed, 0.002)

    made = make(tmp_path, value, profile="demo", target=target)
    report = ranked(made, target=target)
    assert report.readings[0].name == target
    assert "The known answer is found." in report.text[0]
    assert report.target_seed == 7
    assert not report.complete
    assert report.fit is not None
    assert any("Synthetic data" in sentence for sentence in report.text)
    assert report.reference is None


def test_a_known_target_does_not_tell_how_it_reads_table_13(tmp_path: Path) -> None:
    """The target prints `blanked`; a reading whose coverage is that very number fits as well as the target's own."""

    def value(row: str, block: str, column: str, seed: int) -> float:
        factor = 0.25 if column.startswith("blanked") and row != "inferred" else 1.0
        swapped = 0.25 if column.startswith("coverage") and row == "inferred" else factor
        return spread(swapped * printed(block, column), seed)

    report = ranked(make(tmp_path, value, profile="demo", target="released", names=["released", "inferred"]),
                    target="released")  # fmt: skip
    by_name = {reading.name: reading for reading in report.readings}
    assert (by_name["released"].variant, by_name["inferred"].variant) == ("blanked", "coverage")
    assert by_name["released"].distance == pytest.approx(by_name["inferred"].distance)


def test_before_training_readings_that_differ_in_the_step_are_one(tmp_path: Path) -> None:
    made = make(tmp_path, as_printed, initial_only=True)
    report = ranked(made, initial_only=True)
    by_name = {reading.name: reading for reading in report.readings}
    assert "inferred:step=joint" in by_name["inferred"].same_as
    assert not report.complete
    assert set(report.groups) == {"table13_ep0"}
    assert any("no verification yet" in sentence for sentence in report.text)


def test_what_is_not_there_comes_last_with_its_reason(tmp_path: Path) -> None:
    store, plan, everything, chosen = make(tmp_path, as_printed, names=["inferred", "released"])
    gone = next(run for run in plan.runs.values() if run.preset == "released" and run.config.seed == 1)
    store.run(gone.run_id).history.unlink()
    report = ranked((store, plan, everything, chosen))
    assert {reading.name: reading.seeds for reading in report.readings} == {"released": (0,), "inferred": (0, 1)}
    other = next(run for run in plan.runs.values() if run.preset == "released" and run.config.seed == 0)
    for path in store.run(other.run_id).probes.iterdir():
        path.unlink()
    report = ranked((store, plan, everything, chosen))
    last = report.readings[-1]
    assert (last.name, last.label, last.distance) == ("released", "not measured", None)
    assert last.reason
    assert not report.complete


def test_an_empty_store_says_so(tmp_path: Path) -> None:
    _, plan, everything, chosen = make(tmp_path / "other", as_printed)
    report = ranked((Store(tmp_path, "paper"), plan, everything, chosen))
    assert report.ranked == ()
    assert report.text == ("No reading is measured: not run yet.",)


def test_the_result_is_kept_and_read(tmp_path: Path) -> None:
    made = make(tmp_path, as_printed)
    store, report = made[0], ranked(made)
    assert read_readings(store) is None
    path = write_readings(store, report)
    assert path == tmp_path / "paper" / "readings.json"
    assert read_readings(store) == report
    assert not report.stale
    early = ranked(make(tmp_path / "early", as_printed, initial_only=True), initial_only=True)
    assert write_readings(store, early).name == "readings_epoch0.json"
    assert read_readings(store) == report

    assert "rank 2 of 23" in preset_note(report, "inferred")
    assert "was tested" in preset_note(report, "released")
    assert "not been tested" in preset_note(None, "inferred")
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, "distances_sha256": "0"}))
    stale = read_readings(store)
    assert stale is not None
    assert stale.stale
    assert "changed since" in preset_note(stale, "inferred")
    path.write_text(json.dumps({**values, "complete": False}))
    assert "not complete" in preset_note(read_readings(store), "inferred")
    path.write_text('{"version": 1}')
    assert read_readings(store) is None, "of another version"
    path.write_text('{"version": 2}')
    with pytest.raises(UserError, match="not a result of amlris readings"):
        read_readings(store)


def test_known_answers_never_stand_in_the_place_of_a_result(tmp_path: Path) -> None:
    report = ranked(make(tmp_path, as_printed, target="inferred", names=["inferred"]), target="inferred")
    assert write_readings(Store(tmp_path, "paper"), report).name == "readings_known.json"


def patches(seed: int, images: int = 12, pairs: int = 40, side: int = 5) -> PatchScores:
    """Made-up scores of some pairs."""
    random = np.random.default_rng(seed)
    total = pairs * side * side
    image = np.repeat(np.sort(np.r_[np.arange(images), random.integers(0, images, pairs - images)]), side * side)
    pair = np.repeat(np.arange(pairs), side * side)
    ids = {"pair": pair, "patch": np.tile(np.arange(side * side), pairs), "ref_id": pair, "sent_id": pair}
    similarity = random.random(total).astype(np.float32)
    target = np.where(random.random(total) < 0.3, random.random(total), 0).astype(np.float32)
    blanked = {tau: (random.random(total) < 0.2).astype(np.float32) for tau in (20, 30, 40, 60)}
    return PatchScores({**ids, "image_id": image + 100}, similarity, target, blanked)


def test_sums_by_image_give_the_statistics_of_any_choice_of_images() -> None:
    """With every image once: the fields themselves. With one image twice and one left out: those of the patches so
    taken, counted one by one."""
    from amlrepro.metrics.alignment import value

    scores = patches(0)
    fields = ("lt_020", "ge_090", "std", "mean", "coverage_tau040", "blanked_tau040")
    found = sum_patches(scores, fields)
    once = dict(zip(found.fields, found.values(np.ones((1, 12)))[0], strict=True))
    for field in fields:
        assert once[field] == pytest.approx(value(scores, field), rel=1e-6)
    counts = np.ones((1, 12))
    counts[0, 3], counts[0, 8] = 2, 0
    again = dict(zip(found.fields, found.values(counts)[0], strict=True))
    rows = np.concatenate(
        [np.flatnonzero(scores.ids["image_id"] != 108), np.flatnonzero(scores.ids["image_id"] == 103)]
    )
    taken = scores.similarity[rows].astype(np.float64)
    assert again["std"] == pytest.approx(taken.std(), rel=1e-6)
    inside = scores.target[rows] > 0.5
    assert again["coverage_tau040"] == pytest.approx((taken[inside] < np.float32(0.4)).mean(), rel=1e-6)


def test_other_pairs_move_readings_together(tmp_path: Path) -> None:
    """Two readings whose patches are the same move by the same; the spread is the standard error of a mean over images
    (delta method, on the logit scale)."""
    store, plan, _, chosen = make(tmp_path, as_printed, names=["inferred", "released"])
    for cell in plan.cells:
        for request in cell.requests:
            if isinstance(request, ProbeRequest):
                path = store.run(request.run_id).probe(request.probe_id)
                patches(1).write(bulk_path(path))
    rules = load_distances()
    terms = rules.terms(("epoch0", "epoch1"))
    numbers = Numbers(store)
    resampler = Resampler(numbers, plan, 2000, 0)
    shifts = [
        resampler.shifts("readings", measured, terms, rules.floor)
        for measured in measure(numbers, plan, "readings", [r.name for r in chosen], terms, rules.floor)
    ]
    assert shifts[0] is not None
    assert np.array_equal(shifts[0], shifts[1])
    names = [term.name for term in terms]
    assert not shifts[0][:, names.index("table7/oiou")].any()
    mean = shifts[0][:, names.index("table12/mean")]
    scores = patches(1)
    by_image = [scores.similarity[scores.ids["image_id"] == image].mean() for image in range(100, 112)]
    size = np.bincount(scores.ids["image_id"] - 100) / len(scores)
    center = float(scores.similarity.mean())
    error = np.sqrt((size**2 * (np.asarray(by_image) - center) ** 2).sum()) / (center * (1 - center))
    assert mean.std() == pytest.approx(error, rel=0.15)
    assert abs(mean.mean()) < 0.1 * error
    report = ranked((store, plan, catalogue(load_profile("paper")), chosen))
    assert report.sampled
