"""Histograms, maps and overlays: from what probes left in the runs' folders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from amlrepro.metrics.alignment import PatchScores, histogram, value
from amlrepro.models.registry import get_spec
from amlrepro.report.figures.data import (
    AnyFigure,
    HistogramData,
    HistogramSeries,
    MapSample,
    MapsData,
    MethodMaps,
    MethodMask,
    OverlayData,
    OverlaySample,
)
from amlrepro.report.figures.from_cells import method_label
from amlrepro.report.figures.recipe import NotThereError, Origin, Recipe
from amlrepro.suite.experiment import Block
from amlrepro.suite.figures import HistogramFigure, MapsFigure
from amlrepro.suite.plan import PlannedFigure
from amlrepro.suite.reasons import why_absent

STRONG = (0.5, 0.9)  # Q37
Arrays = Mapping[str, Any]


@dataclass(frozen=True)
class _Found:
    """Probes of one method. records: what their JSON files say; bulk: their data, one file a seed. stretched: whether
    its model sees pictures stretched to a square."""

    key: str
    label: str
    stretched: bool
    records: tuple[dict[str, Any], ...]
    bulk: tuple[Path, ...]

    def inputs(self) -> Any:
        """What the figure depends on: which probe of which weights, and its file."""
        marks = []
        for record, path in zip(self.records, self.bulk, strict=True):
            status = path.stat()
            marks.append([record["probe_id"], record["run_id"], record.get("weights_sha256"), status.st_size])
            marks[-1].append(status.st_mtime_ns)
        return [self.key, self.label, marks]


def histogram_recipe(origin: Origin, block: Block, spec: HistogramFigure, planned: PlannedFigure) -> Recipe:
    """Scores of all seeds together, a panel a method."""
    found, notes = _find(origin, block, planned, ".parquet")
    make = partial(_histogram, spec, found, notes, origin.watermark)
    return Recipe([spec.model_dump(), origin.watermark, notes, [f.inputs() for f in found]], make, _runs(found))


def maps_recipe(origin: Origin, block: Block, spec: MapsFigure, planned: PlannedFigure) -> Recipe:
    """Maps, or masks over pictures, of the samples that all methods' probes have."""
    found, notes = _find(origin, block, planned, ".npz")
    listed = spec.probe.pictures
    if listed and not any(r.probe.pictures for requests in planned.requests.values() for r in requests):
        notes = (f"Stand-ins from {spec.probe.dataset} {spec.probe.split}: no {listed} under the data root.", *notes)
    make: Callable[[], AnyFigure] = partial(
        _maps if spec.kind == "maps" else _overlay, spec, found, notes, origin.watermark
    )
    return Recipe([spec.model_dump(), origin.watermark, notes, [f.inputs() for f in found]], make, _runs(found))


def _find(origin: Origin, block: Block, planned: PlannedFigure, suffix: str) -> tuple[list[_Found], tuple[str, ...]]:
    """The probes that are there, and a note on each method that has none. Raises `NotThereError` without any."""
    found, absent = [], {}
    for row, requests in planned.requests.items():
        label = method_label(block, row)
        records, bulk = [], []
        for request in requests:
            record = origin.store.probe_values(request.run_id, request.probe)
            path = origin.store.run(request.run_id).probes / f"{request.probe_id}{suffix}"
            if record is None or not path.exists():
                absent[label] = why_absent(origin.store.status(request.run_id))
            else:
                records.append(record)
                bulk.append(path)
        if records:
            protocol = get_spec(origin.plan.runs[requests[0].run_id].config.model.name).protocol
            found.append(_Found(row, label, protocol.resize == "stretch", tuple(records), tuple(bulk)))
    if not found:
        raise NotThereError("; ".join(dict.fromkeys(absent.values())) or "no probe is planned")
    return found, tuple(f"Not there: {label} ({reason})." for label, reason in absent.items())


def _histogram(
    spec: HistogramFigure, found: list[_Found], notes: tuple[str, ...], watermark: str | None
) -> HistogramData:
    series = tuple(_distribution(f, spec.bins) for f in found)
    return HistogramData(
        id=spec.id, title=spec.title, watermark=watermark, notes=notes, x_label="similarity S", series=series
    )


def _distribution(found: _Found, bins: int) -> HistogramSeries:
    parts = [PatchScores.read(path) for path in found.bulk]
    scores = parts[0] if len(parts) == 1 else _joined(parts)
    counts, edges = histogram(scores, bins)
    shares = tuple((limit, 100 * value(scores, f"ge_{round(100 * limit):03d}")) for limit in STRONG)
    numbers = tuple(counts.tolist()), value(scores, "mean"), value(scores, "std")
    return HistogramSeries(found.key, found.label, tuple(edges.tolist()), *numbers, shares)


def _joined(parts: list[PatchScores]) -> PatchScores:
    """Scores of several seeds, one after the other; pairs of different seeds stay different."""
    ids = {name: np.concatenate([p.ids[name] for p in parts]) for name in parts[0].ids}
    firsts = np.cumsum([0, *(p.pairs for p in parts[:-1])])
    ids["pair"] = np.concatenate([p.ids["pair"] + first for p, first in zip(parts, firsts, strict=True)])
    similarity, target = (np.concatenate([getattr(p, name) for p in parts]) for name in ("similarity", "target"))
    return PatchScores(ids, similarity, target, {})


def _maps(spec: MapsFigure, found: list[_Found], notes: tuple[str, ...], watermark: str | None) -> MapsData:
    opened, described = _samples(found)
    samples = []
    for sample in described:
        i = sample["index"]
        maps = tuple(MethodMaps(f.key, f.label, a[f"zplus_{i}"], a[f"zminus_{i}"]) for f, a in opened)
        samples.append(MapSample(opened[0][1][f"image_{i}"], _target(opened[0][1], i), sample["sentence"], maps))
    note = "One scale for all Z+, another for all Z−; the line is the edge of the mask, Z+ > Z−."
    return MapsData(id=spec.id, title=spec.title, watermark=watermark, notes=(note, *notes), samples=tuple(samples))


def _overlay(spec: MapsFigure, found: list[_Found], notes: tuple[str, ...], watermark: str | None) -> OverlayData:
    opened, described = _samples(found)
    samples = []
    for sample in described:
        i = sample["index"]
        arrays = opened[0][1]
        shape = _shape(sample, arrays[f"image_{i}"].shape[0]) if found[0].stretched else None
        masks = tuple(MethodMask(f.key, f.label, _reshaped(a[f"mask_{i}"], shape)) for f, a in opened)
        target = _target(arrays, i)
        samples.append(
            OverlaySample(
                _reshaped(arrays[f"image_{i}"], shape),
                sample["sentence"],
                masks,
                None if target is None else _reshaped(target, shape),
            )
        )
    return OverlayData(id=spec.id, title=spec.title, watermark=watermark, notes=notes, samples=tuple(samples))


def _shape(sample: Mapping[str, Any], side: int) -> tuple[int, int] | None:
    """Height and width of the picture's own proportions, `side` long; None where these are not known."""
    if "height" not in sample:
        return None
    longest = max(sample["height"], sample["width"])
    return round(side * sample["height"] / longest), round(side * sample["width"] / longest)


def _reshaped(values: Any, shape: tuple[int, int] | None) -> Any:
    """A picture, smoothly, or a mask, by its nearest pixels, at another height and width."""
    if shape is None:
        return values
    smooth = values.dtype != np.bool_
    how = Image.Resampling.LANCZOS if smooth else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(values).resize((shape[1], shape[0]), how))


def _samples(found: list[_Found]) -> tuple[list[tuple[_Found, Arrays]], list[dict[str, Any]]]:
    """Each method's arrays, and the samples; these must be the same for all."""
    named = [[_identity(s) for s in f.records[0]["samples"]] for f in found]
    if any(names != named[0] for names in named):
        raise NotThereError("the methods' maps are of different samples")
    opened: list[tuple[_Found, Arrays]] = []
    for f in found:
        with np.load(f.bulk[0], allow_pickle=False) as arrays:
            opened.append((f, {name: arrays[name] for name in arrays.files}))
    return opened, list(found[0].records[0]["samples"])


def _identity(sample: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(sample.get(name) for name in ("index", "sentence", "ref_id", "sent_id", "picture"))


def _target(arrays: Arrays, index: int) -> Any:
    return arrays.get(f"target_{index}")


def _runs(found: list[_Found]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(record["run_id"] for f in found for record in f.records))
