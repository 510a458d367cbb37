"""A table as data, before it becomes LaTeX, Markdown, CSV or a terminal: lines, marks and notes, all as plain text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from amlrepro.aml.presets import describe
from amlrepro.config import RunConfig
from amlrepro.metrics.compute import METRICS
from amlrepro.models.registry import get_spec
from amlrepro.report.cells import CellResult, block_cells, row_config
from amlrepro.report.checks import CheckResult, check_results
from amlrepro.report.masking import masking_notes
from amlrepro.report.notes import table_notes
from amlrepro.suite.experiment import Block, Experiment
from amlrepro.suite.plan import Plan
from amlrepro.suite.printed import PrintedColumn, PrintedRow, PrintedTable
from amlrepro.suite.store import Store

LineKind = Literal["cited", "printed", "here", "difference", "interval"]
DASH = "–"


@dataclass(frozen=True)
class Entry:
    """One place in a line. text: as shown, without marks; rank: 1 best, 2 second; marks: numbers of footnotes.

    short: a narrower text, where `text` is wide (intervals).
    """

    text: str
    number: float | None = None
    rank: int | None = None
    marks: tuple[int, ...] = ()
    short: tuple[str, str] | None = None


@dataclass(frozen=True)
class Line:
    """One line of a table.

    cited: from another paper; printed: the paper's own number of a method; here: ours; difference: ours minus
    printed; interval: around ours. label: the method; detail: preset and seeds of `here` lines. llm: built on a large
    language model.
    """

    kind: LineKind
    row: str
    label: str
    entries: tuple[Entry, ...]
    detail: str = ""
    llm: bool = False


@dataclass(frozen=True)
class Column:
    """A column: `group` (data set) above `name` (split)."""

    key: str
    group: str
    name: str
    derived: bool


@dataclass(frozen=True)
class BlockData:
    """One block: a table of its own on narrow media."""

    id: str
    title: str
    metric: str
    printed: PrintedTable
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    cells: dict[tuple[str, str], CellResult]


@dataclass(frozen=True)
class TableData:
    """A whole table. notes: sentences under it; footnotes: text of mark 1, 2, ... in order."""

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


@dataclass
class Footnotes:
    """Footnotes of a table, each text once, numbered in order of appearance."""

    texts: list[str] = field(default_factory=list)

    def mark(self, text: str) -> int:
        """The number of a footnote with this text."""
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text) + 1


def build_table(store: Store, plan: Plan, experiment: Experiment) -> TableData:
    """Everything a table shows, read from the store; nothing is trained or evaluated."""
    footnotes = Footnotes()
    blocks = tuple(_block(store, plan, experiment, block, footnotes) for block in experiment.blocks)
    results = [result for block in blocks for result in block.cells.values()]
    return TableData(
        id=experiment.id,
        title=experiment.title,
        printed_in=experiment.blocks[0].table().printed_in.partition(",")[0],
        profile=plan.profile,
        preset=plan.preset,
        watermark=plan.watermark,
        stamp=None if not plan.watermark else ("SYNTHETIC DATA" if plan.source == "synth" else "SMALL MODELS"),
        blocks=blocks,
        checks=tuple(check_results(store, plan, experiment.id)),
        notes=(
            *table_notes(plan, _averaged(blocks), results, experiment.notes),
            *masking_notes(store, plan, results),
        ),
        footnotes=tuple(footnotes.texts),
    )


def _averaged(blocks: tuple[BlockData, ...]) -> bool:
    return any(column.derived for block in blocks for column in block.columns)


def _block(store: Store, plan: Plan, experiment: Experiment, block: Block, footnotes: Footnotes) -> BlockData:
    table = block.table()
    cells = block_cells(store, plan, experiment.id, block.id)
    lines: list[Line] = []
    for row in table.rows:
        lines.append(_printed_line(table, row, footnotes))
        if row.key in block.rows:
            mine = [cells[row.key, c.key] for c in table.columns]
            lines += _our_lines(plan, block, row, mine, footnotes)
    ranked = _rank(_rank(lines, table, ("cited", "printed")), table, ("here",))
    columns = tuple(_column(c) for c in table.columns)
    return BlockData(block.id, block.title, METRICS[block.metric].title, table, columns, tuple(ranked), cells)


def _column(column: PrintedColumn) -> Column:
    """`RefCOCO+ testA` is split `testA` of group `RefCOCO+`."""
    group, _, name = column.header.rpartition(" ") if column.split else ("", "", column.header)
    return Column(column.key, group, name, column.derived)


def _printed_line(table: PrintedTable, row: PrintedRow, footnotes: Footnotes) -> Line:
    entries = []
    for column in table.columns:
        number = row.values[column.key]
        errata = [e for e in table.errata_of(row.key, column.key) if e.field == "values"]
        marks = tuple(footnotes.mark(erratum_note(e.printed, e.recomputed, e.see, column)) for e in errata)
        entries.append(Entry(DASH if number is None else number.text, number, marks=marks))
    kind: LineKind = "cited" if row.kind == "cited" else "printed"
    return Line(kind, row.key, row.label, tuple(entries), llm=bool(row.attrs.get("llm_based", False)))


def erratum_note(printed: object, recomputed: object, see: str, column: PrintedColumn) -> str:
    """What a footnote says of a printed number that the paper itself contradicts."""
    shown = [value.text if hasattr(value, "text") else str(value) for value in (printed, recomputed)]
    what = "the mean of the row's printed cells is" if column.derived else "the paper's own numbers give"
    return f"printed as {shown[0]}; {what} {shown[1]} (audit {see})"


def _our_lines(plan: Plan, block: Block, row: PrintedRow, cells: list[CellResult], footnotes: Footnotes) -> list[Line]:
    config = row_config(plan, cells)
    spec = block.rows[row.key]
    label = spec.label or get_spec(spec.model).title + ("" if spec.preset == "baseline" else "+AML")
    preset = _named(config) if config else (cells[0].cell.preset or spec.preset)
    detail = f"{preset}, {_seeds_text(cells)}"
    here = tuple(_entry(c, footnotes) for c in cells)
    lines = [Line("here", row.key, label, here, detail)]
    if any(c.difference is not None for c in cells):
        lines.append(Line("difference", row.key, "ours − printed", tuple(_difference(c) for c in cells)))
    if any(c.interval is not None for c in cells):
        lines.append(Line("interval", row.key, "95 % interval", tuple(_interval(c) for c in cells)))
    return lines


def _named(config: RunConfig) -> str:
    """The preset, and where a model offers several readings of its early features, which one was taken."""
    text = describe(config)
    several = len(get_spec(config.model.name).pmme_features) > 1
    named = config.strategy != "aml" or "features" in text
    return text if named or not several else f"{text}, features {config.pmme.features}"


def _seeds_text(cells: list[CellResult]) -> str:
    counts = sorted({len(c.seeds) for c in cells if not c.cell.parts and c.cell.kind == "measured"})
    if not counts or counts == [0]:
        return "no seed yet"
    span = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"{span} seed" + ("" if counts[-1] == 1 else "s")


def _entry(cell: CellResult, footnotes: Footnotes) -> Entry:
    marks = (footnotes.mark(cell.reason),) if cell.reason else ()
    if cell.value is None:
        return Entry(DASH, marks=marks)
    return Entry(f"{cell.value:.2f}", cell.value, marks=marks)


def _difference(cell: CellResult) -> Entry:
    if cell.difference is None:
        return Entry("")
    return Entry(f"{cell.difference:+.2f}".replace("-", "−"), cell.difference)


def _interval(cell: CellResult) -> Entry:
    if cell.interval is None:
        return Entry("")
    low, high = cell.interval.low, cell.interval.high
    return Entry(f"{low:.2f}–{high:.2f}", short=(f"{low:.1f}", f"{high:.1f}"))


def _rank(lines: list[Line], table: PrintedTable, kinds: tuple[LineKind, ...]) -> list[Line]:
    """Mark best and second best per column among lines of these kinds, by the digits shown; ties share a rank.

    Nothing is marked in a column with fewer than two numbers.
    """
    out = list(lines)
    pool = [k for k, line in enumerate(lines) if line.kind in kinds]
    for j, column in enumerate(table.columns):
        sign = {"higher": -1.0, "lower": 1.0, "none": 0.0}[column.better]
        shown = {k: float(lines[k].entries[j].text) for k in pool if lines[k].entries[j].number is not None}
        order = sorted({sign * value for value in shown.values()})
        if not sign or len(shown) < 2:
            continue
        for k, value in shown.items():
            rank = order.index(sign * value) + 1
            if rank <= 2:
                out[k] = _with_rank(out[k], j, rank)
    return out


def _with_rank(line: Line, column: int, rank: int) -> Line:
    old = line.entries[column]
    new = Entry(old.text, old.number, rank, old.marks, old.short)
    return Line(
        line.kind,
        line.row,
        line.label,
        (*line.entries[:column], new, *line.entries[column + 1 :]),
        line.detail,
        line.llm,
    )
