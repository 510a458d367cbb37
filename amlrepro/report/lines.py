"""The lines of a block: the paper's numbers, ours below them, the difference and its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from amlrepro.aml.presets import describe
from amlrepro.config import RunConfig
from amlrepro.metrics.compute import METRICS
from amlrepro.models.registry import get_spec
from amlrepro.report.errata import Footnotes, cell_marks
from amlrepro.report.headers import LineKind
from amlrepro.report.numbers import decimals, shown, signed
from amlrepro.suite.cells import CellResult
from amlrepro.suite.experiment import Block, RowSpec
from amlrepro.suite.plan import Cell, Plan
from amlrepro.suite.printed import PrintedColumn, PrintedRow, PrintedTable

DASH = "–"
RANKED_LINES = 3  # fewer lines are compared at a glance


@dataclass(frozen=True)
class Entry:
    """One place in a line. text: as shown, without marks; rank: 1 best, 2 second; marks: numbers of footnotes.

    short: a narrower text, where `text` is wide (intervals). delta: a difference in brackets beside the number. level:
    a symbol, how print lies to ours (`report.judged`).
    """

    text: str
    number: float | None = None
    rank: int | None = None
    marks: tuple[int, ...] = ()
    short: tuple[str, str] | None = None
    delta: str | None = None
    level: str = ""


@dataclass(frozen=True)
class Line:
    """One line of a table.

    cited: from another paper; printed: the paper's own number of a method; here: ours; difference: ours minus
    printed; interval: around ours; across: a column of the table that stands as a line. label: the method; detail:
    preset and seeds of `here` lines. llm: built on a large language model.
    """

    kind: LineKind
    row: str
    label: str
    entries: tuple[Entry, ...]
    detail: str = ""
    llm: bool = False


def block_lines(
    plan: Plan, block: Block, cells: Mapping[tuple[str, str], CellResult], footnotes: Footnotes
) -> tuple[Line, ...]:
    """All lines of a block, row by row in printed order."""
    table = block.table()
    lines: list[Line] = []
    for row in table.rows:
        if not table.own:
            lines.append(printed_line(table, row, footnotes))
        if row.key in block.rows:
            lines += _our_lines(plan, block, table, row, cells, footnotes)
    groups = {row.key: group for row in table.rows if (group := _group(block, row)) is not None}
    for kinds in (("cited", "printed"), ("here",)):
        lines = rank(lines, table.columns, groups, kinds)
    return tuple(lines)


def _group(block: Block, row: PrintedRow) -> str | None:
    """Rows that are compared with each other: same baseline, same perturbation. None for means and differences."""
    spec = block.rows.get(row.key)
    if row.derived or (spec is not None and spec.derive is not None):
        return None
    group = row.attrs.get("perturbation", row.attrs.get("group"))
    return str(group) if group else row.key.partition("__")[0] if "__" in row.key else ""


def printed_line(table: PrintedTable, row: PrintedRow, footnotes: Footnotes) -> Line:
    """A row as the paper prints it, with marks for what it contradicts."""
    entries = []
    for column in table.columns:
        number, delta = row.values[column.key], row.delta.get(column.key)
        marks = cell_marks(table, row.key, column.key, footnotes)
        beside = None if delta is None else signed(delta, delta.decimals)
        entries.append(Entry(DASH if number is None else number.text, number, marks=marks, delta=beside))
    kind: LineKind = "cited" if row.kind == "cited" else "printed"
    return Line(kind, row.key, row.label, tuple(entries), llm=bool(row.attrs.get("llm_based", False)))


def _our_lines(
    plan: Plan,
    block: Block,
    table: PrintedTable,
    row: PrintedRow,
    cells: Mapping[tuple[str, str], CellResult],
    footnotes: Footnotes,
) -> list[Line]:
    mine = [cells[row.key, column.key] for column in table.columns]
    places = [decimals(table, row.key, column.key) for column in table.columns]
    base = [cells.get((_base(table, row).key, column.key)) for column in table.columns]
    beside = [_delta(row, *each) for each in zip(mine, base, places, strict=True)]
    here = [_entry(c, n, d, footnotes) for c, n, d in zip(mine, places, beside, strict=True)]
    spec, config = block.rows[row.key], _config(plan, mine)
    label = _label(spec, row, table, config)
    lines = [Line("here", row.key, label, tuple(here), _detail(spec, config, mine))]
    if any(c.difference is not None for c in mine):
        differences = tuple(_difference(c, n) for c, n in zip(mine, places, strict=True))
        lines.append(Line("difference", row.key, "ours − printed", differences))
    if any(c.interval is not None for c in mine):
        lines.append(Line("interval", row.key, "95 % interval", tuple(_interval(c) for c in mine)))
    return lines


def _config(plan: Plan, cells: Sequence[CellResult]) -> RunConfig | None:
    """The configuration behind a row, of its first run; None where several methods or none are behind it. Cells that
    are calculated (an overhead) count only in rows that have no others."""
    every = {
        (c.experiment, c.block, c.row, c.column): c for c in plan.cells if c.experiment == cells[0].cell.experiment
    }
    own = [result.cell for result in cells if result.cell.requests]
    origins = own or [origin for result in cells for origin in _origins(result.cell, every)]
    run_ids = dict.fromkeys(request.run_id for cell in origins for request in cell.requests)
    configs = [plan.runs[run_id].config for run_id in run_ids]
    return configs[0] if len({(c.model.name, describe(c)) for c in configs}) == 1 else None


def _origins(cell: Cell, every: Mapping[tuple[str, str, str, str], Cell]) -> list[Cell]:
    """The cells that one is calculated from, down to those that are read from runs."""
    if cell.kind != "derived":
        return [cell]
    parts = [every[(cell.experiment, *part)] for part in cell.parts]
    return [origin for part in parts for origin in _origins(part, every)]


def _label(spec: RowSpec, row: PrintedRow, table: PrintedTable, config: RunConfig | None) -> str:
    """What our line is called: the method that is run, or the row's own name where no single one is."""
    if spec.label:
        return spec.label
    if table.own or (config is None and (row.derived or spec.derive is not None)):
        return row.label.rstrip("*")
    if config is not None:
        return get_spec(config.model.name).title + _STRATEGIES.get(config.strategy, "+AML")
    return get_spec(spec.model).title + _PRESETS.get(spec.preset, "+AML")


_STRATEGIES = {"plain": "", "random": " + random mask", "maskris": " + MaskRIS"}
_PRESETS = {"baseline": "", "random": " + random mask", "maskris": " + MaskRIS"}


def _detail(spec: RowSpec, config: RunConfig | None, cells: Sequence[CellResult]) -> str:
    """Preset and seeds; nothing for a row that several methods are behind."""
    if config is None:
        reasons = [c for c in cells if c.cell.kind == "unavailable"]
        return (reasons[0].cell.preset or spec.preset) if reasons else ""
    return f"{_named(config)}, {_seeds_text(cells)}"


def _named(config: RunConfig) -> str:
    """The preset, and where a model offers several readings of its early features, which one was taken."""
    text = describe(config)
    several = len(get_spec(config.model.name).pmme_features) > 1
    named = config.strategy != "aml" or "features" in text
    return text if named or not several else f"{text}, features {config.pmme.features}"


def _seeds_text(cells: Sequence[CellResult]) -> str:
    counts = sorted({len(c.seeds) for c in cells if c.cell.requests or c.cell.parts})
    if not counts or counts == [0]:
        return "no seed yet"
    span = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"{span} seed" + ("" if counts[-1] == 1 else "s")


def _base(table: PrintedTable, row: PrintedRow) -> PrintedRow:
    """The row that differences in brackets are taken from: the first of the row's group."""
    return next(other for other in table.rows if other.attrs.get("group") == row.attrs.get("group"))


def _delta(row: PrintedRow, cell: CellResult, base: CellResult | None, places: int) -> str | None:
    """Our difference in brackets where print has one."""
    if cell.cell.column not in row.delta or cell.value is None or base is None or base.value is None:
        return None
    return signed(cell.value - base.value, places)


def _entry(cell: CellResult, places: int, delta: str | None, footnotes: Footnotes) -> Entry:
    if cell.imported is not None:  # not ranked, and set beside no other number
        return Entry(shown(cell.imported.value, places), marks=(footnotes.mark(cell.imported.says),))
    marks = (footnotes.mark(cell.reason),) if cell.reason else ()
    if cell.value is None:
        return Entry(DASH, marks=marks)
    return Entry(shown(cell.value, places), cell.value, marks=marks, delta=delta)


def _difference(cell: CellResult, places: int) -> Entry:
    if cell.difference is None:
        return Entry("")
    return Entry(signed(cell.difference, places), cell.difference)


def _interval(cell: CellResult) -> Entry:
    if cell.interval is None:
        return Entry("")
    low, high = cell.interval.low, cell.interval.high
    return Entry(f"{low:.2f}–{high:.2f}", short=(f"{low:.1f}", f"{high:.1f}"))


def rank(
    lines: Sequence[Line],
    columns: Sequence[PrintedColumn],
    groups: Mapping[str, str],
    kinds: Sequence[str],
) -> list[Line]:
    """Mark best and second best per column among lines of these kinds, by the digits shown; ties share a rank.

    Only scores are ranked, not costs or statistics, and only within a group of rows (`groups`, by row key; rows that
    are in none are means or differences). A column of fewer than three numbers says who is best without a mark.
    """
    out = list(lines)
    pools: dict[str, list[int]] = {}
    for k, line in enumerate(lines):
        if line.kind in kinds and line.row in groups:
            pools.setdefault(groups[line.row], []).append(k)
    for j, column in enumerate(columns):
        sign = {"higher": -1.0, "lower": 1.0}.get(column.better)
        if sign is None or column.metric not in (*METRICS, "mean_of_five"):
            continue
        for pool in pools.values():
            digits = {k: float(lines[k].entries[j].text) for k in pool if lines[k].entries[j].number is not None}
            order = sorted({sign * value for value in digits.values()})
            for k, value in digits.items() if len(digits) >= RANKED_LINES else ():
                place = order.index(sign * value) + 1
                if place <= 2:
                    out[k] = _ranked(out[k], j, place)
    return out


def _ranked(line: Line, column: int, place: int) -> Line:
    entry = replace(line.entries[column], rank=place)
    return replace(line, entries=(*line.entries[:column], entry, *line.entries[column + 1 :]))
