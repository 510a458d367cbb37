"""Two runs side by side: configuration, environment, curves, results, and how far they agree sample by sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from amlrepro.config import RunConfig, load_config
from amlrepro.metrics.bootstrap import Interval, difference_interval, image_sums
from amlrepro.metrics.compute import iou, metric
from amlrepro.metrics.records import Records
from amlrepro.metrics.summary import records_path
from amlrepro.suite.exported import usual_metrics
from amlrepro.suite.profile import load_profile
from amlrepro.suite.store import Store, read_eval_config
from amlrepro.suite.tensorboard import evaluation_title

ABSENT = "-"
PAIRED = ("oiou", "miou", "ciou", "giou")  # metrics whose difference gets an interval
NO_CURVE = ("kind", "step", "epoch", "samples", "by", "seconds", "images_per_s", "memory_mb")
ONCE = ("versions", "hardware", "git")  # of a session: groups that are compared entry by entry
LEFT_OUT = ("start", "end", "from_step", "to_step", "command", *ONCE)  # the command is the worker's


@dataclass(frozen=True)
class Side:
    """One of the two runs."""

    store: Store
    run_id: str
    config: RunConfig

    @property
    def watermark(self) -> str | None:
        """Why its results are no evidence about the paper."""
        spec = load_profile(self.store.profile)
        return spec.watermark if self.config.data.source == spec.source else spec.real_watermark


@dataclass(frozen=True)
class Pair:
    """One entry of both. matters: False for what is no part of a run's identity, or has no effect on either run."""

    key: str
    first: Any
    second: Any
    matters: bool = True

    @property
    def same(self) -> bool:
        return bool(self.first == self.second)


@dataclass(frozen=True)
class Curve:
    """A series of both by whole epochs trained; None where one has no value."""

    name: str
    epochs: tuple[int, ...]
    first: tuple[float | None, ...]
    second: tuple[float | None, ...]

    @property
    def same(self) -> bool:
        return self.first == self.second


@dataclass(frozen=True)
class Result:
    """A metric of an evaluation that both have, in percent. difference: second less first, in points; interval: of the
    difference, by bootstrap over images, the same images drawn for both."""

    evaluation: str
    metric: str
    first: float | None
    second: float | None
    difference: float | None
    interval: Interval | None = None

    @property
    def same(self) -> bool:
        return self.first == self.second


@dataclass(frozen=True)
class Agreement:
    """IoU sample by sample in an evaluation that both have. first_better, second_better: samples; hits: IoU of at least
    0.5 in both, the first alone, the second alone, neither."""

    evaluation: str
    samples: int
    first_better: int
    second_better: int
    hits: tuple[int, int, int, int]
    mean_distance: float


@dataclass(frozen=True)
class RunDiff:
    """Everything about two runs. remarks: what could not be compared."""

    first: str
    second: str
    config: tuple[Pair, ...]
    environment: tuple[Pair, ...]
    curves: tuple[Curve, ...]
    results: tuple[Result, ...]
    agreements: tuple[Agreement, ...]
    remarks: tuple[str, ...]
    watermark: str | None


def compare_runs(first: tuple[Store, str], second: tuple[Store, str]) -> RunDiff:
    """Compare two runs, of one store or two. Raises `UserError` for a configuration that does not load."""
    a, b = (Side(store, run_id, load_config(store.run(run_id).config)) for store, run_id in (first, second))
    results, agreements, remarks = _evaluations(a, b)
    return RunDiff(
        a.run_id,
        b.run_id,
        tuple(_config(a.config, b.config)),
        tuple(_pairs(_environment(a), _environment(b))),
        tuple(_curves(a, b)),
        tuple(results),
        tuple(agreements),
        tuple(remarks),
        a.watermark or b.watermark,
    )


def as_json(diff: RunDiff, everything: bool = False) -> dict[str, Any]:
    """The comparison as a JSON value; without `everything` only what differs."""
    values = asdict(diff)
    for name in ("config", "environment", "curves", "results"):
        parts = getattr(diff, name)
        values[name] = [{**asdict(each), "same": each.same} for each in parts if everything or not each.same]
    return values


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"a": {"b": 1}}` as `{"a.b": 1}`."""
    out: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            out |= flatten(value, f"{prefix}{key}.")
        else:
            out[f"{prefix}{key}"] = value
    return out


def _config(first: RunConfig, second: RunConfig) -> Iterator[Pair]:
    """All settings; those under `exec` and those that are inactive in both cannot make the results differ."""
    idle = set(first.inactive) & set(second.inactive)
    for pair in _pairs(flatten(first.model_dump(mode="json")), flatten(second.model_dump(mode="json"))):
        parents = {pair.key.rsplit(".", k)[0] for k in range(pair.key.count(".") + 1)}
        yield Pair(pair.key, pair.first, pair.second, not (pair.key.startswith("exec.") or parents & idle))


def _pairs(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[Pair]:
    for key in dict.fromkeys([*first, *second]):
        yield Pair(key, first.get(key, ABSENT), second.get(key, ABSENT))


def _environment(side: Side) -> dict[str, Any]:
    """Code, versions and machine of the last session, and how long all sessions took."""
    path = side.store.run(side.run_id).provenance
    sessions = list((side.store.read(path) or {}).get("sessions", []))
    if not sessions:
        return {}
    last = sessions[-1]
    groups = flatten({name: last.get(name) or {} for name in ONCE})
    rest = {key: value for key, value in last.items() if key not in LEFT_OUT}
    ended = [s["end"] - s["start"] for s in sessions if s.get("end") is not None]
    return {**groups, **rest, "sessions": len(sessions), "hours": round(sum(ended) / 3600, 3)}


def _curves(a: Side, b: Side) -> Iterator[Curve]:
    """What the history has by epoch; of the learning rate the last of an epoch."""
    series = [_series(side) for side in (a, b)]
    for name in dict.fromkeys([*series[0], *series[1]]):
        mine, other = (each.get(name, {}) for each in series)
        epochs = tuple(sorted({*mine, *other}))
        yield Curve(name, epochs, tuple(mine.get(e) for e in epochs), tuple(other.get(e) for e in epochs))


def _series(side: Side) -> dict[str, dict[int, float]]:
    out: dict[str, dict[int, float]] = {}
    for row in side.store.run(side.run_id).history_rows():
        kind = row.get("kind")
        values = {"lr": row.get("lr")} if kind == "step" else {k: v for k, v in row.items() if k not in NO_CURVE}
        for name, value in values.items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                label = f"val {metric(name).title}" if kind == "validation" else name
                out.setdefault(label, {})[int(row["epoch"])] = float(value)
    return out


def _evaluations(a: Side, b: Side) -> tuple[list[Result], list[Agreement], list[str]]:
    found = [_there(side) for side in (a, b)]
    both = [eval_id for eval_id in found[0] if eval_id in found[1]]
    results: list[Result] = []
    agreements: list[Agreement] = []
    remarks = []
    for eval_id in both:
        paths = found[0][eval_id], found[1][eval_id]
        metas = [dict(side.store.read(path)) for side, path in zip((a, b), paths, strict=True)]
        title = evaluation_title(read_eval_config(metas[0], paths[0]), a.config.model.name)
        records = [Records.read(records_path(path)) for path in paths]
        paired = same_samples(*records)
        if not paired:
            remarks.append(f"{title}: not the same samples, so nothing is compared sample by sample")
        results += _results(title, paths, metas, records if paired else None)
        if paired:
            agreements.append(agreement(title, *records))
    for number, (mine, other) in enumerate((found, found[::-1])):
        only = [name for name in mine if name not in other]
        if only:
            remarks.append(
                f"{len(only)} evaluations of {'AB'[number]} alone: {', '.join(only[:3])}{', ...' * (len(only) > 3)}"
            )
    return results, agreements, remarks


def _there(side: Side) -> dict[str, Path]:
    """The evaluations of a run's present weights, by id."""
    run = side.store.run(side.run_id)
    out = {}
    for path in sorted(run.evals.glob("*.json")):
        if side.store.eval_present(side.run_id, read_eval_config(side.store.read(path), path)):
            out[path.stem] = path
    return out


def _results(
    title: str, paths: tuple[Path, Path], metas: list[dict[str, Any]], records: list[Records] | None
) -> Iterator[Result]:
    first, second = (usual_metrics(path, meta) for path, meta in zip(paths, metas, strict=True))
    paired = [name for name in first if name in PAIRED]
    sums = [image_sums(each, paired) for each in records] if records else []
    for name in first:
        values = first[name].value, second[name].value
        known = None not in values
        interval = difference_interval(sums[1], sums[0], name) if sums and name in PAIRED and known else None
        difference = values[1] - values[0] if values[0] is not None and values[1] is not None else None
        yield Result(title, metric(name).title, *values, difference, interval)


def same_samples(first: Records, second: Records) -> bool:
    """Whether two evaluations have the same samples in the same order."""
    names = ("ref_id", "sent_id", "image_id", "target_area")
    return len(first) == len(second) and all(np.array_equal(getattr(first, n), getattr(second, n)) for n in names)


def agreement(title: str, first: Records, second: Records) -> Agreement:
    """Sample by sample; IoU of an empty union is 0. IoU is compared, and 0.5 decided, in whole numbers."""
    one, two = iou(first), iou(second)
    left, right = first.intersection * second.union, second.intersection * first.union
    hit, other = (2 * each.intersection >= np.maximum(each.union, 1) for each in (first, second))
    hits = tuple(int(part.sum()) for part in (hit & other, hit & ~other, ~hit & other, ~hit & ~other))
    return Agreement(
        title,
        len(first),
        int((left > right).sum()),
        int((right > left).sum()),
        (hits[0], hits[1], hits[2], hits[3]),
        float(np.abs(one - two).mean()) if len(first) else 0.0,
    )
