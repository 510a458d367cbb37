"""Headers of columns: as printed, in two storeys where several columns share the upper one."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from typing import Literal

from amlrepro.data.specs import DATASETS
from amlrepro.metrics.compute import METRICS
from amlrepro.report.errata import Footnotes, column_marks
from amlrepro.suite.printed import PrintedColumn, PrintedTable

LineKind = Literal["cited", "printed", "here", "difference", "interval", "across"]
_BRACKETS = "in brackets after "
_SHORT_UNITS = {"MB": "MB", "minutes per epoch": "min"}
_DATASETS = "|".join(re.escape(spec.title) for spec in DATASETS.values())
_METRICS = "|".join(re.escape(metric.title) for metric in METRICS.values())
_PATTERNS = (
    re.compile(rf"(.+) \(({_METRICS})\)"),  # GRES (cIoU)
    re.compile(rf"((?:{_DATASETS})(?: average)?),? (.+)"),  # RefCOCO testA; RefCOCO, mIoU; RefCOCO average mIoU
    re.compile(r"([^,]+), (.+)"),
)


@dataclass(frozen=True)
class Column:
    """A column: `group` (data set) above `name` (split).

    marks: footnotes of the header. part: columns of different parts stand below each other where print does so. kind:
    in a transposed block, that of the line which this column was.
    """

    key: str
    group: str
    name: str
    derived: bool
    marks: tuple[int, ...] = ()
    part: str = ""
    kind: LineKind | None = None


def columns_of(table: PrintedTable, footnotes: Footnotes) -> tuple[Column, ...]:
    """The columns of a table, in printed order."""
    bracketed = {c.header.removeprefix(_BRACKETS) for c in table.columns if c.header.startswith(_BRACKETS)}
    out = []
    for column in table.columns:
        group, name = _storeys(column, bracketed)
        marks = column_marks(table, column.key, footnotes)
        out.append(Column(column.key, group, name, column.derived, marks, str(column.attrs.get("phase", ""))))
    return tuple(out)


def wrapped(name: str, width: int) -> list[str]:
    """A header in lines of about that many characters, broken between words."""
    return textwrap.wrap(name, width, break_long_words=False, break_on_hyphens=False) or [""]


def _storeys(column: PrintedColumn, bracketed: set[str]) -> tuple[str, str]:
    """`RefCOCO+ testA` is `testA` below `RefCOCO+`; `1` of an epoch's column is `1` below `Epoch`."""
    header = column.header
    if header.startswith(_BRACKETS):
        return header.removeprefix(_BRACKETS), "+%"
    if header in bracketed:
        return header, _SHORT_UNITS.get(column.unit, column.unit)
    if "metric_printed" in column.attrs:  # "10 epochs, first number": what print calls it; a footnote says the rest
        return header.partition(",")[0], METRICS[column.attrs["metric_printed"]].title
    if "epoch" in column.attrs and header.isdigit():
        return "Epoch", header
    for pattern in _PATTERNS:
        if found := pattern.fullmatch(header):
            return found[1], found[2]
    return "", header


# What tells the rows of a table apart, where they are no methods: an attribute that all of them have.
_STUBS = {"tau": "Threshold tau", "d_a": "D_a", "statistic": "Statistic"}


def stub_of(table: PrintedTable) -> str:
    """The header above the rows' names."""
    for attribute, title in _STUBS.items():
        if all(attribute in row.attrs for row in table.rows):
            return title
    return "Method"
