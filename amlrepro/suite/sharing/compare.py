"""Two versions of one run side by side: which files differ, and what they say."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from amlrepro.data.specs import is_multi_target
from amlrepro.errors import UserError
from amlrepro.files import read_json
from amlrepro.metrics.bootstrap import image_sums
from amlrepro.metrics.compute import metric
from amlrepro.metrics.records import Records
from amlrepro.rundir import RunDir
from amlrepro.suite.sharing.scrub import shared_files

_ABSENT = "not there"


@dataclass(frozen=True)
class Difference:
    """One thing that two versions of a file say differently. what: a metric, or a field's dotted name."""

    file: str
    what: str
    ours: str
    theirs: str


def same_records(ours: RunDir, theirs: RunDir) -> bool:
    """Whether two runs share an evaluation, and its records are equal wherever both have it."""
    shared = [path for path in theirs.evals.glob("*.json") if ours.eval_meta(path.stem).exists()]
    digests = [(_digest(path), _digest(ours.eval_meta(path.stem))) for path in shared]
    return bool(digests) and all(first == second is not None for first, second in digests)


def differences(ours: RunDir, theirs: RunDir, names: Sequence[str], most: int = 3) -> tuple[Difference, ...]:
    """What differs in the named files of a run, up to `most` fields of each; metrics of records. ours: the run in the
    store; theirs: the one that came, as it left its laboratory."""
    leaving = {file.name: b"".join(file.blocks()) for file in shared_files(ours) if file.name in names}
    found: list[Difference] = []
    for name in names:
        if name.endswith(".parquet"):
            found += _metrics(ours, theirs, name) if name.startswith("evals/") else [_bytes(name, ours, theirs)]
            continue
        mine = _fields(name, leaving[name]) if name in leaving else {}
        its = _fields(name, (theirs.path / name).read_bytes())
        odd = [key for key in {**mine, **its} if mine.get(key, _ABSENT) != its.get(key, _ABSENT)]
        told = odd[:most]
        found += [Difference(name, key, mine.get(key, _ABSENT), its.get(key, _ABSENT)) for key in told]
        if len(odd) > most:
            found.append(Difference(name, f"and {len(odd) - most} more fields", "", ""))
    return tuple(found)


def _metrics(ours: RunDir, theirs: RunDir, name: str) -> list[Difference]:
    """The two chief metrics of an evaluation, computed from both tables of records."""
    stem = Path(name).stem
    multi = is_multi_target(str(read_json(theirs.eval_meta(stem))["eval"]["dataset"]))
    names = ("ciou", "giou") if multi else ("oiou", "miou")
    values = []
    for run in (ours, theirs):
        try:
            sums = image_sums(Records.read(run.eval_records(stem)), names)
            values.append([f"{sums.value(each):.4f}" for each in names])
        except UserError as error:
            values.append([error.what] * len(names))
    return [Difference(name, metric(n).title, a, b) for n, a, b in zip(names, *values, strict=True)]


def _bytes(name: str, ours: RunDir, theirs: RunDir) -> Difference:
    sizes = [f"{(run.path / name).stat().st_size:,} bytes" for run in (ours, theirs)]
    return Difference(name, "its content", *sizes)


def _fields(name: str, data: bytes) -> dict[str, str]:
    """Every leaf of a file by its dotted name; of a history each row by its number."""
    if name.endswith(".yaml"):
        return dict(_leaves(yaml.safe_load(data.decode())))
    lines = data.decode().splitlines()
    if name.endswith(".jsonl"):
        return {f"row {number}": line for number, line in enumerate(lines, 1)}
    return dict(_leaves(json.loads(data)))


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from _leaves(item, f"{name}.{key}" if name else str(key))
    else:
        yield name, str(value)


def _digest(meta: Path) -> str | None:
    values = read_json(meta)
    return values.get("records_sha256") if isinstance(values, dict) else None
