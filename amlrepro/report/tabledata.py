"""A table as data, before it becomes LaTeX, Markdown, CSV or a terminal: lines, marks and notes, all as plain text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from amlrepro.metrics.compute import METRICS
from amlrepro.report.checks import CheckResult, check_results
from amlrepro.report.errata import Footnotes
from amlrepro.report.headers import Column, LineKind, columns_of, stub_of
from amlrepro.report.judged import Judged, level_notes, with_levels
from amlrepro.report.lines import DASH, Entry, Line, block_lines
from amlrepro.report.masking import masking_notes
from amlrepro.report.notes import table_notes
from amlrepro.suite.cells import CellResult, block_cells
from amlrepro.suite.experiment import Block, Experiment
from amlrepro.suite.plan import Plan
from amlrepro.suite.printed import PrintedTable
from amlrepro.suite.store import Store
from amlrepro.verdicts.cells import CellVerdict
from amlrepro.verdicts.claims import CellRef
from amlrepro.verdicts.harness import Harness, read_harness
from amlrepro.verdicts.readings import preset_note, read_readings

__all__ = [
    "DASH",
    "BlockData",
    "Column",
    "Entry",
    "Line",
    "LineKind",
    "TableData",
    "build_table",
    "parts",
    "turned",
    "whose",
]


@dataclass(frozen=True)
class BlockData:
    """One block: a table of its own on narrow media.

    printed: rows, columns and the paper's numbers (none of them in a table of our own, `printed.own`). metric: titles
    of what is in it. transpose: reads better with its columns as lines (see `turned`). stub: the header above the names
    of the lines. verdicts: on cells, by row and column key.
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
    verdicts: Judged = field(default_factory=dict)


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


def build_table(
    store: Store,
    plan: Plan,
    experiment: Experiment,
    verdicts: Mapping[CellRef, CellVerdict] | None = None,
    harness: Harness | None = None,
) -> TableData:
    """Everything a table shows, read from the store; nothing is trained or evaluated. verdicts: on its cells. harness:
    as read before, where several tables share it."""
    footnotes = Footnotes()
    judged = {ref: verdict for ref, verdict in (verdicts or {}).items() if ref.experiment == experiment.id}
    blocks = tuple(_block(store, plan, experiment, block, footnotes, judged) for block in experiment.blocks)
    results = [result for block in blocks for result in block.cells.values()]
    printed = [block.printed for block in blocks if not block.printed.own]
    return TableData(
        id=experiment.id,
        title=experiment.title,
        printed_in=_place(experiment.id) or (printed[0].printed_in.partition(",")[0] if printed else ""),
        profile=plan.profile,
        preset=plan.preset,
        watermark=plan.watermark,
        stamp=None if not plan.watermark else ("SYNTHETIC DATA" if plan.source == "synth" else "SMALL MODELS"),
        blocks=blocks,
        checks=tuple(check_results(store, plan, experiment.id)),
        notes=(
            *table_notes(
                plan,
                [block.printed for block in blocks],
                results,
                experiment.notes,
                tested=preset_note(read_readings(store), plan.preset),
                marked=_marked(blocks),
                harness=(harness or read_harness(store)).says,
            ),
            *masking_notes(store, plan, results),
            *level_notes(list(judged.values())),
        ),
        footnotes=tuple(footnotes.texts),
    )


def _marked(blocks: Sequence[BlockData]) -> bool:
    return any(entry.rank for block in blocks for line in block.lines for entry in line.entries)


def _place(experiment: str) -> str:
    """Where the paper shows what a file of that name makes: `figure4a` is Figure 4(a); nothing for other names."""
    found = re.fullmatch(r"(table|figure)(\d+)([a-z]?)", experiment)
    return f"{found[1].title()} {found[2]}" + (f"({found[3]})" if found[3] else "") if found else ""


def _block(
    store: Store,
    plan: Plan,
    experiment: Experiment,
    block: Block,
    footnotes: Footnotes,
    judged: Mapping[CellRef, CellVerdict],
) -> BlockData:
    table = block.table()
    columns = columns_of(table, footnotes)
    cells = block_cells(store, plan, experiment.id, block.id)
    mine = {(ref.row, ref.column): verdict for ref, verdict in judged.items() if ref.block == block.id}
    lines = with_levels(block_lines(plan, block, cells, footnotes), [c.key for c in columns], mine)
    names = dict.fromkeys(METRICS[c.metric].title if c.metric in METRICS else c.metric for c in table.columns)
    return BlockData(
        block.id, block.title, ", ".join(names), table, columns, lines, cells, block.transpose, stub_of(table), mine
    )


def whose(block: BlockData) -> str:
    """What our lines of a block are: methods with preset and seeds, each once; for media that have no room beside
    them, and for turned blocks. Nothing where nothing is ours."""
    said = dict.fromkeys(f"{line.label} ({line.detail})" for line in block.lines if line.detail)
    return "ours: " + "; ".join(said) if said else ""


def turned(block: BlockData) -> BlockData:
    """The block with its columns as lines and its lines as columns, where it asks for that; else as it is.

    A column that was a line keeps that line's kind; its group is the method, its name says whose number it is, and
    `diff.` ours less the printed one.
    """
    if not block.transpose:
        return block
    names = {"cited": "cited", "printed": "printed", "here": "ours", "difference": "diff.", "interval": "95 %"}
    labels = {line.row: line.label for line in reversed(block.lines)}
    prefix = {"Threshold tau": "tau ", "D_a": "D_a "}.get(block.stub, "")
    columns = [
        Column(f"{line.row}.{line.kind}", prefix + labels[line.row], names[line.kind], False, kind=line.kind)
        for line in block.lines
    ]
    groups = {column.group for column in block.columns}
    stub = groups.pop() if len(groups) == 1 else ""
    lines = [
        Line(
            "across",
            column.key,
            column.name if stub else f"{column.group} {column.name}".strip(),
            tuple(line.entries[j] for line in block.lines),
        )
        for j, column in enumerate(block.columns)
    ]
    return replace(block, columns=tuple(columns), lines=tuple(lines), transpose=False, stub=stub)


def parts(block: BlockData, widths: Callable[[BlockData], list[float]], room: float) -> Iterator[BlockData]:
    """The block as one or several, each with those columns that fit beside each other, in order.

    widths: of each column; room: what they may take together. Columns are parted where print parts them, else evenly
    and between groups, and a line that has nothing to say in a part (no difference, no interval) is left out there.
    """
    wide = dict(zip((c.key for c in block.columns), widths(block), strict=True))
    for _, members in groupby(block.columns, key=lambda c: c.part):
        units = list(_units(list(members), wide, room))
        count = 1
        while any(sum(wide[c.key] for c in some) > room for some in _even(units, count)) and count < len(units):
            count += 1
        for some in _even(units, count):
            yield _with_columns(block, some)


def _units(columns: list[Column], wide: Mapping[str, float], room: float) -> Iterator[list[Column]]:
    """Columns that stay together: those of a group, if they fit."""
    for group, members in groupby(columns, key=lambda c: c.group):
        own = list(members)
        if group and sum(wide[c.key] for c in own) <= room:
            yield own
        else:
            yield from ([column] for column in own)


def _even(units: list[list[Column]], count: int) -> list[list[Column]]:
    """The units in `count` shares of about as many columns."""
    total, taken = sum(map(len, units)), 0
    out: list[list[Column]] = [[] for _ in range(count)]
    for unit in units:
        out[min(int((taken + len(unit) / 2) * count / total), count - 1)].extend(unit)
        taken += len(unit)
    return [some for some in out if some]


def _with_columns(block: BlockData, columns: list[Column]) -> BlockData:
    if len(columns) == len(block.columns):
        return block
    places = [block.columns.index(column) for column in columns]
    lines = [replace(line, entries=tuple(line.entries[j] for j in places)) for line in block.lines]
    kept = [line for line in lines if line.kind not in ("difference", "interval") or any(e.text for e in line.entries)]
    return replace(block, columns=tuple(columns), lines=tuple(kept))
