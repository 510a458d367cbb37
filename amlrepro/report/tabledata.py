"""A table as data, before it becomes LaTeX, Markdown, CSV or a terminal: lines, marks and notes, all as plain text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby

from amlrepro.metrics.compute import METRICS
from amlrepro.report.cells import CellResult, block_cells
from amlrepro.report.checks import CheckResult, check_results
from amlrepro.report.errata import Footnotes
from amlrepro.report.headers import Column, LineKind, columns_of, stub_of
from amlrepro.report.lines import DASH, Entry, Line, block_lines
from amlrepro.report.masking import masking_notes
from amlrepro.report.notes import table_notes
from amlrepro.suite.experiment import Block, Experiment
from amlrepro.suite.plan import Plan
from amlrepro.suite.printed import PrintedTable
from amlrepro.suite.store import Store

__all__ = ["DASH", "BlockData", "Column", "Entry", "Line", "LineKind", "TableData", "build_table", "parts", "turned"]


@dataclass(frozen=True)
class BlockData:
    """One block: a table of its own on narrow media.

    printed: rows, columns and the paper's numbers (none of them in a table of our own, `printed.own`). metric: titles
    of what is in it. transpose: reads better with its columns as lines (see `turned`). stub: the header above the names
    of the lines.
    """

    id: str
    title: str
    metric: str
    printed: PrintedTable
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    cells: dict[tuple[str, str], CellResult]
    transpose: bool = False
    stub: str = "Method"


@dataclass(frozen=True)
class TableData:
    """A whole table. printed_in: "Table 12", "Figure 4(b)", nothing where the paper has no such table. notes: sentences
    under it; footnotes: text of mark 1, 2, ... in order."""

    id: str
    title: str
    printed_in: str
    profile: str
    preset: str
    watermark: str | None
    stamp: str | None
    blocks: tuple[BlockData, ...]
    checks: tuple[CheckResult, ...]
    notes: tuple[str, ...]
    footnotes: tuple[str, ...]

    @property
    def heading(self) -> str:
        """Where the paper prints it, and what it shows."""
        return f"{self.printed_in}: {self.title}" if self.printed_in else self.title


def build_table(store: Store, plan: Plan, experiment: Experiment) -> TableData:
    """Everything a table shows, read from the store; nothing is trained or evaluated."""
    footnotes = Footnotes()
    blocks = tuple(_block(store, plan, experiment, block, footnotes) for block in experiment.blocks)
    results = [result for block in blocks for result in block.cells.values()]
    printed = [block.printed for block in blocks if not block.printed.own]
    return TableData(
        id=experiment.id,
        title=experiment.title,
        printed_in=printed[0].printed_in.partition(",")[0] if printed else _place(experiment.id),
        profile=plan.profile,
        preset=plan.preset,
        watermark=plan.watermark,
        stamp=None if not plan.watermark else ("SYNTHETIC DATA" if plan.source == "synth" else "SMALL MODELS"),
        blocks=blocks,
        checks=tuple(check_results(store, plan, experiment.id)),
        notes=(
            *table_notes(plan, [block.printed for block in blocks], results, experiment.notes),
            *masking_notes(store, plan, results),
        ),
        footnotes=tuple(footnotes.texts),
    )


def _place(experiment: str) -> str:
    """Where the paper shows what a file of that name makes: `figure4a` is Figure 4(a); nothing for other names."""
    found = re.fullmatch(r"(table|figure)(\d+)([a-z]?)", experiment)
    return f"{found[1].title()} {found[2]}" + (f"({found[3]})" if found[3] else "") if found else ""


def _block(store: Store, plan: Plan, experiment: Experiment, block: Block, footnotes: Footnotes) -> BlockData:
    table = block.table()
    columns = columns_of(table, footnotes)
    cells = block_cells(store, plan, experiment.id, block.id)
    lines = block_lines(plan, block, cells, footnotes)
    names = dict.fromkeys(METRICS[c.metric].title if c.metric in METRICS else c.metric for c in table.columns)
    return BlockData(
        block.id, block.title, ", ".join(names), table, columns, lines, cells, block.transpose, stub_of(table)
    )


def turned(block: BlockData) -> BlockData:
    """The block with its columns as lines and its lines as columns, where it asks for that; else as it is.

    A column that was a line keeps that line's kind; its group is the method, its name says whose number it is.
    """
    if not block.transpose:
        return block
    names = {"cited": "cited", "printed": "printed", "here": "ours", "difference": "ours − pr.", "interval": "95 %"}
    labels = {line.row: line.label for line in reversed(block.lines)}
    columns = [
        Column(f"{line.row}.{line.kind}", labels[line.row], names[line.kind], False, kind=line.kind)
        for line in block.lines
    ]
    lines = [
        Line("across", column.key, f"{column.group} {column.name}".strip(), tuple(li.entries[j] for li in block.lines))
        for j, column in enumerate(block.columns)
    ]
    return replace(block, columns=tuple(columns), lines=tuple(lines), transpose=False, stub="")


def parts(block: BlockData, widths: Callable[[BlockData], list[float]], room: float) -> Iterator[BlockData]:
    """The block as one or several, each with those columns that fit beside each other, in order.

    widths: of each column; room: what they may take together. Columns are parted where print parts them, else evenly,
    and a line that has nothing to say in a part (no difference, no interval) is left out there.
    """
    wide = dict(zip((c.key for c in block.columns), widths(block), strict=True))
    for _, members in groupby(block.columns, key=lambda c: c.part):
        own = list(members)
        count = 1
        while any(sum(wide[c.key] for c in some) > room for some in _even(own, count)) and count < len(own):
            count += 1
        for some in _even(own, count):
            yield _with_columns(block, some)


def _even(columns: list[Column], count: int) -> list[list[Column]]:
    sizes = [len(columns) // count + (k < len(columns) % count) for k in range(count)]
    return [columns[sum(sizes[:k]) : sum(sizes[: k + 1])] for k in range(count)]


def _with_columns(block: BlockData, columns: list[Column]) -> BlockData:
    if len(columns) == len(block.columns):
        return block
    places = [block.columns.index(column) for column in columns]
    lines = [replace(line, entries=tuple(line.entries[j] for j in places)) for line in block.lines]
    kept = [line for line in lines if line.kind not in ("difference", "interval") or any(e.text for e in line.entries)]
    return replace(block, columns=tuple(columns), lines=tuple(kept))
