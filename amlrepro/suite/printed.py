"""The numbers that the paper prints (`experiments/paper/tables.yaml`), with the digits of print."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml

from amlrepro.errors import UserError, unknown_name
from amlrepro.suite.folder import experiments_folder

Better = Literal["higher", "lower", "none"]
ItemT = TypeVar("ItemT")
RowKind = Literal["cited", "reproduced", "ours"]


class PrintedNumber(float):
    """A number as printed: calculates as a float, and `text` keeps its digits (`66.10`, not `66.1`)."""

    text: str

    def __new__(cls, text: str) -> PrintedNumber:
        number = super().__new__(cls, text.replace("_", ""))
        number.text = text
        return number

    @property
    def decimals(self) -> int:
        """Digits behind the point."""
        return len(self.text.partition(".")[2])

    def __reduce__(self) -> tuple[type[PrintedNumber], tuple[str]]:
        return PrintedNumber, (self.text,)


@dataclass(frozen=True)
class PrintedColumn:
    """One column: what it measures, where, and which direction is better.

    derived: computed from other columns (the average). attrs: epoch, iterations, phase, metric_printed, split_printed.
    """

    key: str
    header: str
    metric: str
    dataset: str | None
    split: str | None
    unit: str
    better: Better
    derived: bool
    attrs: Mapping[str, Any]


@dataclass(frozen=True)
class PrintedRow:
    """One row; `values` has an entry for every column, None where a dash or nothing is printed."""

    key: str
    label: str
    kind: RowKind
    derived: bool
    attrs: Mapping[str, Any]
    values: Mapping[str, PrintedNumber | None]
    delta: Mapping[str, PrintedNumber]


@dataclass(frozen=True)
class Erratum:
    """A printed number or header that the paper itself contradicts; `see` names the audit entry.

    row: `*` for the header of a column, which concerns all rows. column: one, several joined by "and", or with `*` for
    all that begin alike.
    """

    row: str
    column: str
    field: str
    printed: Any
    recomputed: Any
    see: str

    def names(self, column: str) -> bool:
        """Whether this is about that column."""
        return any(fnmatchcase(column, pattern) for pattern in self.column.split(" and "))


@dataclass(frozen=True)
class PrintedTable:
    """One printed table (or the numbers quoted for a figure). own: rows and columns of ours, nothing is printed."""

    key: str
    title: str
    type: Literal["table", "quoted"]
    printed_in: str
    caption_facts: tuple[str, ...]
    metrics: tuple[str, ...]
    train_dataset: tuple[str, ...]
    columns: tuple[PrintedColumn, ...]
    rows: tuple[PrintedRow, ...]
    notes: tuple[str, ...]
    errata: tuple[Erratum, ...]
    own: bool = False

    def column(self, key: str) -> PrintedColumn:
        """The column of that key; raises `UserError` with the nearest key."""
        return _pick("column", key, {c.key: c for c in self.columns}, self.key)

    def row(self, key: str) -> PrintedRow:
        """The row of that key; raises `UserError` with the nearest key."""
        return _pick("row", key, {r.key: r for r in self.rows}, self.key)

    def value(self, row: str, column: str) -> PrintedNumber | None:
        """The printed number, None for a dash."""
        return self.row(row).values[self.column(column).key]

    def errata_of(self, row: str, column: str) -> tuple[Erratum, ...]:
        """Errata of one cell, those of its whole column included."""
        return tuple(e for e in self.errata if e.row in (row, "*") and e.names(column))


def load_printed(key: str) -> PrintedTable:
    """The printed table `key` (`table1_miou`, ...); raises `UserError` for an unknown key or a broken file."""
    return _pick("printed table", key, load_all_printed(), tables_path())


def load_all_printed() -> Mapping[str, PrintedTable]:
    """All printed tables by key, in the file's order (read once)."""
    return _read(tables_path())


def tables_path() -> Path:
    """Where the printed numbers lie."""
    return _tables_in(experiments_folder())


@cache
def _tables_in(folder: Path) -> Path:
    return folder / "paper" / "tables.yaml"


def load_exact_yaml(path: Path) -> Any:
    """Safe-load a YAML file whose numbers become `PrintedNumber`; raises `UserError` when it is missing or broken."""
    if not path.exists():
        raise UserError("the printed numbers are missing", where=path)
    try:
        return yaml.load(path.read_text("utf-8"), Loader=_ExactLoader)
    except yaml.YAMLError as error:
        raise UserError("not a YAML file", where=path, found=str(error).replace("\n", " ")) from error


@cache
def _read(path: Path) -> Mapping[str, PrintedTable]:
    return {key: _table(key, value, path) for key, value in load_exact_yaml(path).items()}


# Safe YAML that keeps the digits of numbers, on libyaml (twenty times faster) where that is there.
_ExactLoader: Any = type("_ExactLoader", (getattr(yaml, "CSafeLoader", yaml.SafeLoader),), {})


def _number(loader: Any, node: Any) -> PrintedNumber:
    return PrintedNumber(str(loader.construct_scalar(node)))


_ExactLoader.add_constructor("tag:yaml.org,2002:float", _number)
_ExactLoader.add_constructor("tag:yaml.org,2002:int", _number)


def _table(key: str, raw: Mapping[str, Any], path: Path) -> PrintedTable:
    try:
        columns = tuple(_column(name, raw["column_info"][name]) for name in raw["columns"])
        names = {c.key for c in columns}
        table = PrintedTable(
            key=key,
            title=raw["title"],
            type=raw["type"],
            printed_in=raw["printed_in"],
            caption_facts=tuple(raw["caption_facts"]),
            metrics=tuple(raw["metrics"]),
            train_dataset=tuple(raw["train_dataset"]),
            columns=columns,
            rows=tuple(_row(row) for row in raw["rows"]),
            notes=tuple(raw["notes"]),
            errata=tuple(Erratum(**entry) for entry in raw["errata"]),
        )
    except (KeyError, TypeError) as error:
        raise UserError("a printed table is incomplete", where=f"{path}: {key}", found=str(error)) from error
    for row in table.rows:
        if set(row.values) != names:
            raise UserError("a row needs one value per column", where=f"{path}: {key}: {row.key}")
    return table


def _column(key: str, raw: Mapping[str, Any]) -> PrintedColumn:
    known = ("header", "metric", "dataset", "split", "unit", "better", "derived")
    return PrintedColumn(
        key=key,
        header=raw["header"],
        metric=raw["metric"],
        dataset=raw["dataset"],
        split=raw["split"],
        unit=raw["unit"],
        better=raw["better"],
        derived=raw.get("derived", False),
        attrs={name: value for name, value in raw.items() if name not in known},
    )


def _row(raw: Mapping[str, Any]) -> PrintedRow:
    return PrintedRow(
        key=raw["key"],
        label=raw["label"],
        kind=raw["kind"],
        derived=raw["derived"],
        attrs=raw["attrs"],
        values=raw["values"],
        delta=raw["delta"],
    )


def _pick(kind: str, key: str, choices: Mapping[str, ItemT], where: object) -> ItemT:
    if key not in choices:
        raise unknown_name(kind, key, choices, where)
    return choices[key]
