"""An evaluation's metrics and per-image sums, cached beside its records so that a report never reads the records.

`<eval_id>.json` gets a `summary` (metrics with their intervals) and `<eval_id>.images.npz` the sums of each image. Both
name the records' digest and the version of every metric; what does not match is computed again from the records.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from amlrepro.errors import UserError
from amlrepro.files import atomic_path, read_json, write_json
from amlrepro.metrics.bootstrap import DRAWS, LEVEL, ImageSums, Interval, image_sums, intervals
from amlrepro.metrics.compute import DEFAULT_METRICS, metric
from amlrepro.metrics.records import Records

RANDOM_SEED = 0
BOOTSTRAP = {"draws": DRAWS, "level": LEVEL, "seed": RANDOM_SEED, "version": 1}


@dataclass(frozen=True)
class MetricValue:
    """One metric of one evaluation: percent (None where undefined), interval over images, sizes behind it."""

    name: str
    value: float | None
    interval: Interval | None
    samples: int
    images: int


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
    found = intervals(sums, covered, random_seed=RANDOM_SEED)
    summary = {
        "records": digest,
        "samples": len(records),
        "images": len(sums.image_id),
        "bootstrap": BOOTSTRAP,
        "metrics": {name: _entry(name, sums.value(name), found[name]) for name in covered},
    }
    _write_sums(sums_path(meta), digest, sums)
    now = dict(read_json(meta))
    if now.get("records_sha256") == values.get("records_sha256"):  # else evaluated anew meanwhile: leave that alone
        write_json(meta, {**now, "summary": summary})
    return summary


def read_metrics(meta: Path, names: Sequence[str]) -> dict[str, MetricValue]:
    """The named metrics, from the cache where it is valid, else from the records (and cached then, if possible)."""
    summary = _valid_summary(meta, names)
    if summary is None:
        summary = _summary_without_cache(meta, names)
    out = {}
    for name in names:
        entry = summary["metrics"][name]
        interval = None
        if entry["low"] is not None:
            interval = Interval(
                entry["low"], entry["high"], summary["bootstrap"]["level"], summary["bootstrap"]["draws"]
            )
        out[name] = MetricValue(name, entry["value"], interval, summary["samples"], summary["images"])
    return out


def read_metric(meta: Path, name: str) -> MetricValue:
    """One metric of the evaluation whose JSON is `meta`; see `read_metrics`."""
    return read_metrics(meta, [name])[name]


def read_image_sums(meta: Path, names: Sequence[str]) -> ImageSums:
    """The evaluation summed by image, from the cache where it is valid, else from the records."""
    summary = _valid_summary(meta, names)
    if summary is not None:
        with contextlib.suppress(OSError, KeyError, ValueError), np.load(sums_path(meta), allow_pickle=False) as cached:
            if str(cached["records"]) == summary["records"]:
                terms = {n: (cached[f"{_tag(n)}.numerator"], cached[f"{_tag(n)}.denominator"]) for n in names}
                return ImageSums(cached["image_id"], terms, int(cached["samples"]))
    records = Records.read(records_path(meta))
    with contextlib.suppress(UserError):  # a store that cannot be written is still readable
        write_summary(meta, records, names)
    return image_sums(records, names)


def _tag(name: str) -> str:
    return f"{name}@{metric(name).version}"


def _entry(name: str, value: float, interval: Interval | None) -> dict[str, Any]:
    return {
        "version": metric(name).version,
        "value": None if math.isnan(value) else value,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
    }


def _valid_summary(meta: Path, names: Sequence[str]) -> dict[str, Any] | None:
    """The cached summary if it is of these records and holds current versions of all `names`."""
    values = read_json(meta)
    summary = values.get("summary")
    if not isinstance(summary, dict) or summary.get("bootstrap") != BOOTSTRAP:
        return None
    if summary.get("records") != (values.get("records_sha256") or Records.read(records_path(meta)).digest()):
        return None
    entries = summary.get("metrics", {})
    fresh = all(entries.get(name, {}).get("version") == metric(name).version for name in names)
    return summary if fresh else None


def _summary_without_cache(meta: Path, names: Sequence[str]) -> dict[str, Any]:
    records = Records.read(records_path(meta))
    try:
        return write_summary(meta, records, names)
    except UserError:  # a store that cannot be written is still readable
        sums = image_sums(records, names)
        found = intervals(sums, names, random_seed=RANDOM_SEED)
        return {
            "samples": len(records),
            "images": len(sums.image_id),
            "bootstrap": BOOTSTRAP,
            "metrics": {name: _entry(name, sums.value(name), found[name]) for name in names},
        }


def _write_sums(path: Path, digest: str, sums: ImageSums) -> None:
    arrays: dict[str, Any] = {"records": digest, "samples": sums.samples, "image_id": sums.image_id}
    for name, (numerator, denominator) in sums.terms.items():
        arrays[f"{_tag(name)}.numerator"] = numerator
        arrays[f"{_tag(name)}.denominator"] = denominator
    with atomic_path(path) as temporary, temporary.open("wb") as f:
        np.savez_compressed(f, **arrays)
