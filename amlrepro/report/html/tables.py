"""A table as the page shows it: one row a method, and in each cell the printed number, ours and their difference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from amlrepro.metrics.compute import METRICS
from amlrepro.report.html.anchors import anchor, cell_anchor, row_labels, run_anchor
from amlrepro.report.html.parts import Verdict, Verdicts
from amlrepro.report.numbers import decimals, shown, signed
from amlrepro.report.tabledata import BlockData, Column, Entry, Line, TableData
from amlrepro.suite.cells import CellResult


@dataclass(frozen=True)
class CellView:
    """One cell. place: its anchor; printed, here, difference, interval: entries, None where the row has no such line;
    run: anchor of the (first) run behind it; ours: stands where we have, or should have, a number."""

    place: str
    printed: Entry | None = None
    here: Entry | None = None
    difference: Entry | None = None
    interval: Entry | None = None
    run: str | None = None
    verdict: Verdict | None = None
    ours: bool = False
    kind: str = "printed"


@dataclass(frozen=True)
class RowView:
    """One method. kind: of its printed line, `here` without one; detail: how ours was made."""

    kind: str
    label: str
    llm: bool
    ours: str
    detail: str
    cells: tuple[CellView, ...]

    @property
    def tinted(self) -> bool:
        """Whether the row itself is one that is run or computed here."""
        return self.kind != "across" and any(cell.ours for cell in self.cells)


@dataclass(frozen=True)
class Header:
    """A header over one column, or a group over several."""

    text: str
    span: int = 1
    group: bool = False
    marks: tuple[int, ...] = ()
    detail: str = ""


@dataclass(frozen=True)
class BlockView:
    """One block. top: groups and ungrouped columns; below: columns under the groups, empty without groups;
    made: how the numbers were made, where that is said once for all; stub: above the names of the rows."""

    place: str
    title: str
    made: str
    top: tuple[Header, ...]
    below: tuple[Header, ...]
    rows: tuple[RowView, ...]
    stub: str

    @property
    def columns(self) -> int:
        return sum(header.span for header in self.top)


@dataclass
class Cards:
    """What is shown when a cell is pointed at, by the cell's anchor."""

    values: dict[str, dict[str, Any]] = field(default_factory=dict)


def block_view(table: TableData, block: BlockData, verdicts: Verdicts, cards: Cards) -> BlockView:
    """A block for the page; `cards` receives the details of its cells."""
    rows = []
    labels = row_labels(block)
    for key, lines in groupby(block.lines, key=lambda line: line.row):
        for part in _methods(list(lines)):
            rows.append(_row(table, block, key, part, verdicts))
    for result in block.cells.values():
        if result.run_ids:
            card = _card(table, block, result, labels)
            cards.values[cell_anchor(table, block, result)] = card
    common = _common(rows) if block.transpose else ""
    top, below, stub = (*_headers(block.columns), block.stub)
    if block.transpose:
        top, below, rows, stub = _across(block, rows, told=bool(common))
    return BlockView(anchor(table.id, block.id), block.title, common, top, below, tuple(rows), stub)


def _common(rows: list[RowView]) -> str:
    """How ours was made, where that is the same for all methods that are run; else nothing."""
    made = {made_by(row) for row in rows} - {""}
    return made.pop() if len(made) == 1 else ""


def made_by(row: RowView) -> str:
    """Method, preset and seeds of a row's numbers."""
    return ", ".join(part for part in (row.ours, row.detail) if part)


def _across(
    block: BlockData, rows: list[RowView], told: bool
) -> tuple[tuple[Header, ...], tuple[Header, ...], list[RowView], str]:
    """The same cells with the columns as rows and the methods as columns; the upper storey of the headers moves to the
    corner where all columns share it. told: how the numbers were made is said elsewhere."""
    headers = tuple(Header(row.label + "‡" * row.llm, detail="" if told else made_by(row)) for row in rows)
    groups = {column.group for column in block.columns}
    corner = groups.pop() if len(groups) == 1 else ""
    turned = [
        RowView("across", (column.name if corner else f"{column.group} {column.name}").strip(), False, "", "", cells)
        for column, cells in zip(block.columns, zip(*(row.cells for row in rows), strict=True), strict=True)
    ]
    if block.stub == "Method":
        return headers, (), turned, corner
    return (Header(block.stub, len(headers), group=True),), headers, turned, corner


def _methods(lines: list[Line]) -> list[list[Line]]:
    """Lines of one printed row; a second line of ours (another preset) begins a row of its own."""
    out: list[list[Line]] = []
    for line in lines:
        if not out or (line.kind == "here" and any(each.kind == "here" for each in out[-1])):
            out.append([])
        out[-1].append(line)
    return out


def _row(table: TableData, block: BlockData, key: str, lines: list[Line], verdicts: Verdicts) -> RowView:
    by_kind = {line.kind: line for line in lines}
    printed = by_kind.get("printed") or by_kind.get("cited")
    here = by_kind.get("here")
    first = printed or lines[0]
    cells = []
    for j, column in enumerate(block.columns):
        result = block.cells.get((key, column.key))
        cells.append(
            CellView(
                place=anchor("cell", table.id, block.id, key, column.key),
                printed=printed.entries[j] if printed else None,
                here=_ours(here, printed, j),
                difference=_shown(by_kind.get("difference"), j),
                interval=_shown(by_kind.get("interval"), j),
                run=run_anchor(result.run_ids[0]) if here and result and result.run_ids else None,
                verdict=verdicts.get((table.id, block.id, key, column.key)) if here else None,
                ours=here is not None,
                kind=first.kind,
            )
        )
    ours = here.label if here and printed else ""
    return RowView(first.kind, first.label, first.llm, ours, here.detail if here else "", tuple(cells))


def _ours(here: Line | None, printed: Line | None, column: int) -> Entry | None:
    """Our entry; none where print has a dash and nothing is run either."""
    if here is None:
        return None
    entry = here.entries[column]
    nothing = entry.number is None and not entry.marks
    return None if nothing and printed is not None and printed.entries[column].number is None else entry


def _shown(line: Line | None, column: int) -> Entry | None:
    return line.entries[column] if line is not None and line.entries[column].text else None


def _headers(columns: tuple[Column, ...]) -> tuple[tuple[Header, ...], tuple[Header, ...]]:
    if not any(column.group for column in columns):
        return tuple(Header(column.name, marks=column.marks) for column in columns), ()
    top: list[Header] = []
    below: list[Header] = []
    for group, members in groupby(columns, key=lambda column: column.group):
        names = [Header(column.name, marks=column.marks) for column in members]
        if group:
            top.append(Header(group, len(names), group=True))
            below += names
        else:
            top += names
    return tuple(top), tuple(below)


def _card(table: TableData, block: BlockData, result: CellResult, labels: Mapping[str, str]) -> dict[str, Any]:
    """Title, facts (name, value), runs (anchor, text) and notes of one cell, as plain text."""
    column = next(c for c in block.columns if c.key == result.cell.column)
    metric = METRICS[result.cell.metric].title if result.cell.metric in METRICS else block.metric
    title = f"{labels[result.cell.row]}, {f'{column.group} {column.name}'.strip()}, {metric}"
    values = dict(result.seeds) if len(result.seeds) == len(result.run_ids) > 1 else {}
    runs = [[run_anchor(run_id), _run_text(run_id, values)] for run_id in result.run_ids]
    notes = [f"{_text(e.field)} printed as {_text(e.printed)}, audit {e.see}" for e in result.errata]
    notes += [result.reason] if result.reason else []
    if result.imported is not None:
        notes.append(f"{shown(result.imported.value, 2)} {result.imported.says} ({', '.join(result.imported.places)})")
    places = decimals(block.printed, result.cell.row, result.cell.column)
    return {"title": title, "facts": _facts(result, places), "runs": runs, "notes": notes}


def _facts(result: CellResult, places: int) -> list[list[str]]:
    facts: list[tuple[str, str | None]] = [
        ("printed", result.printed.text if result.printed is not None else None),
        ("here", shown(result.value, places) if result.value is not None else None),
        ("difference", signed(result.difference, places) if result.difference is not None else None),
    ]
    if result.interval:
        facts.append(("95 % interval", f"{result.interval.low:.2f} to {result.interval.high:.2f}"))
    if result.samples:
        facts.append(("samples", f"{result.samples:,}"))
    if result.checkpoint:
        epochs = ", ".join(map(str, result.epochs))
        facts.append(("checkpoint", result.checkpoint + (f", epoch {epochs}" if epochs else "")))
    facts.append(("scored at", result.scored_at or None))
    return [[name, value] for name, value in facts if value]


def _run_text(run_id: str, values: Mapping[int, float]) -> str:
    seed = run_id.rpartition("-s")[2]
    value = values.get(int(seed)) if seed.isdigit() else None
    return run_id if value is None else f"{run_id}: {value:.2f}"


def _text(value: object) -> str:
    return str(getattr(value, "text", value))
