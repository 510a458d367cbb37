"""What is published of the official checkpoints (`experiments/paper/published.yaml`), with the digits of print."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from amlrepro.data.specs import check_split, dataset_spec
from amlrepro.errors import UserError, unknown_name
from amlrepro.metrics.compute import metric
from amlrepro.models.registry import get_spec
from amlrepro.suite.folder import experiments_folder
from amlrepro.suite.printed import PrintedNumber, load_exact_yaml

FIELDS = {"id", "model", "data", "size", "source", "values"}
OPTIONAL = {"required", "remark"}


@dataclass(frozen=True)
class Published:
    """One official checkpoint.

    data: data set it was trained on and is scored on; split_by: owner of the splits, None for the data set's own.
    size: in the authors' words. required: verdicts wait for it. values: split -> metric -> percent.
    """

    id: str
    model: str
    data: str
    split_by: str | None
    size: str
    required: bool
    source: str
    remark: str | None
    values: Mapping[str, Mapping[str, PrintedNumber]]

    @property
    def data_title(self) -> str:
        """`RefCOCO+ (unc)`."""
        spec = dataset_spec(self.data)
        return f"{spec.title} ({spec.partition(self.split_by).split_by})"


def published_path() -> Path:
    """Where the published numbers lie."""
    return experiments_folder() / "paper" / "published.yaml"


def load_published() -> tuple[Published, ...]:
    """All official checkpoints with published numbers, in the file's order (read once). Raises `UserError` for a broken
    file: unknown keys, models, data sets, splits and metrics. None in a folder of experiments of one's own."""
    return _read(published_path()) if published_path().exists() else ()


def pick_published(name: str) -> Published:
    """The checkpoint of that id; a data set alone means CARIS's. Raises `UserError` with the nearest."""
    known = {entry.id: entry for entry in load_published()}
    found = known.get(name) or known.get(f"caris-{name}")
    if found is None:
        raise unknown_name("official checkpoint", name, known, published_path())
    return found


def published_value(
    model: str, dataset: str, split: str, metric: str, split_by: str | None = None
) -> PrintedNumber | None:
    """What the official checkpoint of `model` for that data set is published to reach; None where nothing is."""
    owner = dataset_spec(dataset).partition(split_by).split_by
    for entry in load_published():
        mine = dataset_spec(entry.data).partition(entry.split_by).split_by
        if (entry.model, entry.data, mine) == (model, dataset, owner):
            return entry.values.get(split, {}).get(metric)
    return None


@cache
def _read(path: Path) -> tuple[Published, ...]:
    raw = load_exact_yaml(path)
    if not isinstance(raw, list):
        raise UserError("the published numbers are a list", where=path, found=type(raw).__name__)
    entries = tuple(_entry(each, f"{path}: entry {k + 1}") for k, each in enumerate(raw))
    if len({entry.id for entry in entries}) < len(entries):
        raise UserError("two published checkpoints have one id", where=path)
    return entries


def _entry(raw: Any, where: str) -> Published:
    keys = set(raw) if isinstance(raw, dict) else set()
    if FIELDS - keys or keys - FIELDS - OPTIONAL:
        raise UserError(
            "a published checkpoint has other keys",
            where=where,
            found=", ".join(sorted(keys)) or type(raw).__name__,
            expected=f"{', '.join(sorted(FIELDS))}, and perhaps {', '.join(sorted(OPTIONAL))}",
        )
    data, _, owner = raw["data"].partition("(")
    split_by = owner.rstrip(")") or None
    get_spec(raw["model"])
    for split, values in raw["values"].items():
        check_split(data, split, split_by)
        for name, number in values.items():
            metric(name)
            if not isinstance(number, PrintedNumber):
                raise UserError("a published value is a number", where=f"{where}: {split}: {name}", found=number)
    return Published(
        id=raw["id"],
        model=raw["model"],
        data=data,
        split_by=split_by,
        size=raw["size"],
        required=bool(raw.get("required", False)),
        source=raw["source"],
        remark=raw.get("remark"),
        values=raw["values"],
    )
