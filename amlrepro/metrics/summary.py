"""An evaluation's metrics and per-image sums, cached beside its records so that a report never reads the records.

`<eval_id>.json` gets a `summary` (metrics with their intervals) and `<eval_id>.images.npz` the sums of each image. Both
name the records' digest and the version of every metric; what does not match is computed again from the records.

Beside all images there is the subset `unseen`: those that are not in the training split of what was evaluated, whose
ids the evaluation's JSON lists under `train_images`.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from amlrepro.errors import UserError
from amlrepro.files import atomic_path, canonical_hash, read_json, write_json
from amlrepro.metrics.bootstrap import DRAWS, LEVEL, ImageSums, Interval, image_sums, intervals
from amlrepro.metrics.compute import DEFAULT_METRICS, metric
from amlrepro.metrics.records import Records

Subset = Literal["all", "unseen"]
SIDES = ("numerator", "denominator")
RANDOM_SEED = 0
BOOTSTRAP = {"draws": DRAWS, "level": LEVEL, "seed": RANDOM_SEED, "version": 1}


@dataclass(frozen=True)
class MetricValue:
    """One metric of one evaluation: percent (None where undefined), interval over images, sizes behind it; reason: why
    there is no value, where that is not for want of samples in the split."""

    name: str
    value: float | None
    interval: Interval | None
    samples: int
    images: int
    reason: str | None = None


def records_path(meta: Path) -> Path:
    """The records that the evaluation file `<eval_id>.json` belongs to."""
    return meta.with_name(meta.name.removesuffix(".json") + ".parquet")


def sums_path(meta: Path) -> Path:
    """Where the per-image sums of an evaluation are cached."""
    return meta.with_name(meta.name.removesuffix(".json") + ".images.npz")


def write_summary(
    meta: Path, records: Records | None = None, names: Sequence[str] = DEFAULT_METRICS, digest: str | None = None
) -> dict[str, Any]:
    """Compute metrics, intervals and per-image sums, cache them, and return the summary.

    meta: the evaluation's JSON, which exists already; its other keys stay. records: read from beside it when None.
    names: metrics to cover besides those already there. digest: the records' digest, where the caller knows it.
    Raises `UserError` when a file is missing or cannot be written.
    """
    records = records if records is not None else Records.read(records_path(meta))
    digest = digest or records.digest()
    values = dict(read_json(meta))
    known = values.get("summary", {})
    covered = list(dict.fromkeys([*known.get("metrics", {}), *names])) if isinstance(known, dict) else list(names)
    covered = [metric(name).name for name in covered]
    sums = image_sums(records, covered)
    summary = {"records": digest, "bootstrap": BOOTSTRAP, **_entries(sums, covered)}
    excluded = values.get("train_images")
    if excluded:
        unseen = image_sums(records.without_images(excluded), covered)
        summary["unseen"] = {"excluded": _hash(excluded), **_entries(unseen, covered)}
    _write_sums(sums_path(meta), digest, sums)
    now = dict(read_json(meta))
    if now.get("records_sha256") == values.get("records_sha256"):  # else evaluated anew meanwhile: leave that alone
        write_json(meta, {**now, "summary": summary})
    return summary


def read_metrics(
    meta: Path, names: Sequence[str], subset: Subset = "all", values: Mapping[str, Any] | None = None
) -> dict[str, MetricValue]:
    """The named metrics, from the cache where it is valid, else from the records (and cached then, if possible).

    Where the subset is not known or empty, the values are None and say why. values: the content of `meta`, from who has
    read it already.
    """
    values = read_json(meta) if values is None else values
    reason = why_unknown(values, subset)
    if reason:
        return {name: MetricValue(name, None, None, 0, 0, reason) for name in names}
    part = _part(values, names, subset) or _measured(meta, values, names, subset)
    if subset == "unseen" and not part["samples"]:
        reason = "all its images are in the training split"
    out = {}
    for name in names:
        entry = part["metrics"][name]
        interval = None
        if entry["low"] is not None:
            interval = Interval(entry["low"], entry["high"], LEVEL, DRAWS)
        out[name] = MetricValue(name, entry["value"], interval, part["samples"], part["images"], reason)
    return out


def read_metric(meta: Path, name: str, subset: Subset = "all", values: Mapping[str, Any] | None = None) -> MetricValue:
    """One metric of the evaluation whose JSON is `meta`; see `read_metrics`."""
    return read_metrics(meta, [name], subset, values)[name]


def read_image_sums(meta: Path, names: Sequence[str], subset: Subset = "all") -> ImageSums:
    """The evaluation summed by image, from the cache where it is valid, else from the records.

    Raises `UserError` where the subset is not known.
    """
    values = read_json(meta)
    reason = why_unknown(values, subset)
    if reason:
        raise UserError(f"no subset {subset}: {reason}", where=meta)
    part = _part(values, names, subset)
    if part is not None:
        with contextlib.suppress(OSError, KeyError, ValueError), np.load(sums_path(meta), allow_pickle=False) as cached:
            if str(cached["records"]) == values["summary"]["records"]:
                images = cached["image_id"]
                kept = ~np.isin(images, _excluded(values, subset))
                terms = {n: (_column(cached, n, 0)[kept], _column(cached, n, 1)[kept]) for n in names}
                return ImageSums(images[kept], terms, part["samples"])
    records = Records.read(records_path(meta))
    with contextlib.suppress(UserError):  # a store that cannot be written is still readable
        write_summary(meta, records, names)
    return image_sums(records.without_images(_excluded(values, subset)), names)


def origin(evaluations: Sequence[Mapping[str, Any]], names: Sequence[str], subset: Subset = "all") -> list[Any] | None:
    """All that the named metrics of some evaluations and their intervals follow from, as a JSON value; None where that
    cannot be said. evaluations: the content of their JSON files."""
    digests = [values.get("records_sha256") for values in evaluations]
    if None in digests:
        return None
    excluded = [] if subset == "all" else [_hash(_excluded(values, subset)) for values in evaluations]
    return [digests, {name: metric(name).version for name in names}, subset, excluded, BOOTSTRAP]


def why_unknown(values: Mapping[str, Any], subset: Subset) -> str | None:
    """Why the subset of an evaluation (its JSON's content) is not known; None where it is."""
    if subset == "all" or values.get("train_images") is not None:
        return None
    return str(values.get("train_images_unknown") or "it was evaluated before training images were noted")


def _excluded(values: Mapping[str, Any], subset: Subset) -> list[int]:
    return [] if subset == "all" else values["train_images"]


def _hash(image_ids: Sequence[int]) -> str:
    return _hash_of(tuple(image_ids))


@lru_cache(maxsize=64)  # training images are those of a few data sets, and thousands of evaluations list them
def _hash_of(image_ids: tuple[int, ...]) -> str:
    return canonical_hash(list(image_ids), 16)


def _key(name: str, side: int) -> str:
    return f"{name}@{metric(name).version}.{SIDES[side]}"


def _column(cached: Mapping[str, npt.NDArray[np.float64]], name: str, side: int) -> npt.NDArray[np.float64]:
    return cached[_key(name, side)]


def _entry(name: str, value: float, interval: Interval | None) -> dict[str, Any]:
    return {
        "version": metric(name).version,
        "value": None if math.isnan(value) else value,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
    }


def _entries(sums: ImageSums, names: Sequence[str]) -> dict[str, Any]:
    """Sizes and metrics of one subset."""
    found = intervals(sums, names, random_seed=RANDOM_SEED)
    return {
        "samples": sums.samples,
        "images": len(sums.image_id),
        "metrics": {name: _entry(name, sums.value(name), found[name]) for name in names},
    }


def _part(values: Mapping[str, Any], names: Sequence[str], subset: Subset) -> dict[str, Any] | None:
    """The subset's entries of the cached summary, if it is of these records and holds current versions of `names`."""
    summary = values.get("summary")
    if not isinstance(summary, dict) or summary.get("bootstrap") != BOOTSTRAP:
        return None
    if "records_sha256" not in values or summary.get("records") != values["records_sha256"]:
        return None
    excluded = _excluded(values, subset)
    part = summary.get("unseen", {}) if excluded else summary
    if excluded and part.get("excluded") != _hash(excluded):
        return None
    entries = part.get("metrics", {})
    fresh = all(entries.get(name, {}).get("version") == metric(name).version for name in names)
    return part if fresh else None


def _measured(meta: Path, values: Mapping[str, Any], names: Sequence[str], subset: Subset) -> dict[str, Any]:
    """A subset's entries from the records, cached if possible."""
    records = Records.read(records_path(meta))
    excluded = _excluded(values, subset)
    try:
        summary = write_summary(meta, records, names)
    except UserError:  # a store that cannot be written is still readable
        return _entries(image_sums(records.without_images(excluded), names), names)
    part: dict[str, Any] = summary["unseen"] if excluded else summary
    return part


def _write_sums(path: Path, digest: str, sums: ImageSums) -> None:
    arrays: dict[str, Any] = {"records": digest, "samples": sums.samples, "image_id": sums.image_id}
    for name, terms in sums.terms.items():
        arrays |= {_key(name, side): term for side, term in enumerate(terms)}
    with atomic_path(path) as temporary, temporary.open("wb") as f:
        np.savez_compressed(f, **arrays)
