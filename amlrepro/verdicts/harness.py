"""Whether this harness scores official checkpoints as they were published: before it does, no verdict counts.

`amlris verify-harness` writes `harness.json` into the store; here it is judged anew each time it is read, so that what
has changed since (weights, published values, components, records) does not count any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

from amlrepro.config import VERSIONS
from amlrepro.data.specs import dataset_spec
from amlrepro.errors import UserError
from amlrepro.files import sha256_file
from amlrepro.metrics.compute import METRICS, metric
from amlrepro.models.registry import get_spec
from amlrepro.suite.printed import PrintedNumber
from amlrepro.suite.published import Published, load_published
from amlrepro.suite.store import Store

TOLERANCE = 0.05  # points between ours and the published value
FORMAT = 1
UNVERIFIED = "harness unverified"
SMALL = ("smoke", "demo")  # profiles of small models, of which no official checkpoint exists


@dataclass(frozen=True)
class HarnessRow:
    """One published value beside ours, in percent.

    checkpoint: id in `published.yaml`. value: ours, None where it was not evaluated. difference: ours less the
    published one. allowed: how far apart they may be. reason: why it does not count: not evaluated, too far off, or
    what has changed since. sha256, eval_id, data_digest, samples: of the evaluation behind it.
    """

    checkpoint: str
    model: str
    dataset: str
    split_by: str | None
    split: str
    metric: str
    published: PrintedNumber
    allowed: float
    required: bool
    value: float | None = None
    difference: float | None = None
    passed: bool = False
    reason: str | None = None
    sha256: str | None = None
    eval_id: str | None = None
    data_digest: str | None = None
    samples: int | None = None

    @property
    def title(self) -> str:
        """`CARIS on RefCOCO+ val, oIoU`."""
        model, data = get_spec(self.model).title, dataset_spec(self.dataset).title
        return f"{model} on {data} {self.split}, {metric(self.metric).title}"


@dataclass(frozen=True)
class Harness:
    """What is known of this harness.

    verified: every required row passed. says: that, or `harness unverified` and why. rows: one a published value.
    checked: when the last checkpoint was evaluated (ISO 8601), None where none was. path: the file it was read from.
    """

    verified: bool
    says: str
    rows: tuple[HarnessRow, ...]
    checked: str | None = None
    path: Path | None = None

    def verified_for(self, model: str, dataset: str | None = None) -> bool:
        """Whether all published values of a model (on one data set) came out; False where none is published."""
        rows = self.of(model, dataset)
        return bool(rows) and all(row.passed for row in rows)

    def unverified(self, models: Iterable[str]) -> list[str]:
        """Why verdicts on these models do not count yet; nothing where they do. Besides the required rows those of the
        models themselves must have passed; a model of which nothing is published has none."""
        if not self.verified:
            return [self.says]
        out = []
        for model in dict.fromkeys(models):
            rows = self.of(model)
            failed = [row for row in rows if not row.passed]
            if failed:
                told = f"{failed[0].title}: {failed[0].reason}, {len(rows) - len(failed)} of {len(rows)} values passed"
                out.append(f"{UNVERIFIED} for {get_spec(model).title}: {told}")
        return out

    def of(self, model: str, dataset: str | None = None) -> tuple[HarnessRow, ...]:
        """The rows of a model (on one data set)."""
        return tuple(row for row in self.rows if row.model == model and dataset in (None, row.dataset))


def harness_path(store: Store) -> Path:
    """Where the outcome lies."""
    return store.folder / "harness.json"


def read_harness(store: Store) -> Harness:
    """What the store says of the harness; unverified when no checkpoint was evaluated. The profile `pilot` has the
    models and data of `paper`, so what was found there counts too. Raises `UserError` for a file that is no outcome."""
    path = harness_path(store)
    if not path.exists() and store.profile == "pilot":
        path = harness_path(Store(store.root, "paper"))
    found = dict(store.read(path) or {})
    if found and found.get("format") != FORMAT:
        raise UserError("not an outcome of `amlris verify-harness`", where=path, found=f"format {found.get('format')}")
    entries = {entry["id"]: entry for entry in found.get("checkpoints", [])}
    subjects = Store(path.parent.parent, path.parent.name)
    rows = tuple(row for each in load_published() for row in _rows(each, entries.get(each.id), subjects))
    if not entries:
        small = "small models have no official checkpoint to compare with"
        nothing = "no official checkpoint was evaluated (amlris verify-harness)"
        return Harness(False, f"{UNVERIFIED}: {small if store.profile in SMALL else nothing}", rows)
    needed = [row for row in rows if row.required]
    verified = all(row.passed for row in needed)
    return Harness(verified, _says(needed), rows, _latest(entries.values()), path)


def allowed(published: PrintedNumber) -> float:
    """How far ours may be from a published value: the tolerance, and half a unit of its last digit where it was
    published with fewer than two decimals."""
    return TOLERANCE + (0.5 * 10.0**-published.decimals if published.decimals < 2 else 0.0)


def within(value: float, published: PrintedNumber) -> bool:
    """Whether ours, rounded to three decimals, is as near as is allowed (calculated in decimals: 75.18 is 0.05 from
    75.13)."""
    distance = abs(Decimal(f"{value:.3f}") - Decimal(published.text))
    return distance <= Decimal(f"{allowed(published):.6f}")


def component_versions(model: str, metrics: Iterable[str]) -> dict[str, int]:
    """Versions of what an evaluation's numbers depend on: the model, the reading of data, the metrics."""
    own = {name: VERSIONS[name] for name in (model, "data") if name in VERSIONS}
    return {**own, **{name: METRICS[name].version for name in metrics}}


def as_json(harness: Harness) -> dict[str, Any]:
    """The harness as a JSON value; published numbers as they were published."""
    rows = [{**asdict(row), "published": row.published.text} for row in harness.rows]
    return {
        "verified": harness.verified,
        "says": harness.says,
        "checked": harness.checked,
        "path": str(harness.path) if harness.path else None,
        "rows": rows,
    }


def _rows(published: Published, entry: Mapping[str, Any] | None, store: Store) -> Iterable[HarnessRow]:
    """All published values of a checkpoint, with ours where they are there."""
    weights = _changed_weights(entry) if entry else None
    for split, values in published.values.items():
        there = entry["splits"].get(split) if entry else None
        for name, number in values.items():
            blank = HarnessRow(
                checkpoint=published.id,
                model=published.model,
                dataset=published.data,
                split_by=published.split_by,
                split=split,
                metric=name,
                published=number,
                allowed=allowed(number),
                required=published.required,
                reason="not evaluated",
            )
            if entry is None or there is None:
                yield blank
            elif "reason" in there:
                yield replace(blank, reason=there["reason"])
            else:
                yield _judged(blank, entry, there, weights, store)


def _judged(
    blank: HarnessRow, entry: Mapping[str, Any], there: Mapping[str, Any], weights: str | None, store: Store
) -> HarnessRow:
    value = there["values"].get(blank.metric)
    row = replace(
        blank,
        value=value,
        difference=None if value is None else value - blank.published,
        sha256=entry["sha256"],
        eval_id=there["eval_id"],
        data_digest=there["data_digest"],
        samples=there["samples"],
    )
    stale = weights or _changed(blank, there, store.subject(entry["sha256"][:16]).eval_meta(there["eval_id"]), store)
    official = dataset_spec(blank.dataset).partition(blank.split_by).splits[blank.split].sentences
    if official is not None and there["samples"] != official:
        return replace(row, reason=f"{there['samples']:,} samples, the official split has {official:,}")
    if value is None:
        return replace(row, reason="undefined on these samples")
    if stale:
        return replace(row, reason=f"stale: {stale}")
    if not within(value, blank.published):
        return replace(row, reason=f"{value - blank.published:+.2f}, more than {blank.allowed:.2f}")
    return replace(row, passed=True, reason=None)


def _changed(row: HarnessRow, there: Mapping[str, Any], meta: Path, store: Store) -> str | None:
    """What has changed since a split was evaluated."""
    now = component_versions(row.model, [row.metric])
    changed = [name for name, version in now.items() if there["components"].get(name) != version]
    if changed:
        return f"{', '.join(changed)} changed since"
    if there["published"].get(row.metric) != row.published.text:
        return f"the published value was {there['published'].get(row.metric)} then"
    found = store.read(meta)
    if found is not None and found.get("records_sha256") != there["records_sha256"]:
        return "its records were replaced since"
    return None


def _changed_weights(entry: Mapping[str, Any]) -> str | None:
    """Whether the weights that were evaluated are others by now; a file that is gone has not changed."""
    path = Path(entry["file"])
    if not path.is_file():
        return None
    stat = path.stat()
    stamp = (stat.st_size, stat.st_mtime_ns)
    if [*stamp] == entry["stat"] or _digest(path, *stamp) == entry["sha256"]:
        return None
    return f"the weights in {path.name} changed since"


@lru_cache(maxsize=64)
def _digest(path: Path, size: int, stamp: int) -> str:
    """SHA-256 of a file of that size and time of change."""
    return sha256_file(path)


def _says(needed: list[HarnessRow]) -> str:
    """The outcome of the required rows in words."""
    failed = [row for row in needed if not row.passed]
    models = ", ".join(dict.fromkeys(get_spec(row.model).title for row in needed))
    data = ", ".join(dict.fromkeys(dataset_spec(row.dataset).title for row in needed))
    if not failed:
        return f"harness verified: {len(needed)} published values of {models} on {data} came out within {TOLERANCE:g}"
    first = next((row for row in failed if row.value is not None), failed[0])
    ours = "" if first.value is None else f" came to {first.value:.2f}, published {first.published.text}:"
    more = f", and {len(failed) - 1} more of {len(needed)} values" if len(failed) > 1 else ""
    return f"{UNVERIFIED}: {first.title}{ours or ':'} {first.reason}{more}"


def _latest(entries: Iterable[Mapping[str, Any]]) -> str:
    seconds = max(float(entry["checked"]) for entry in entries)
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")
