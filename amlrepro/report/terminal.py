"""Tables for the terminal, as rich renderables; printing them is the command line's business."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from amlrepro.report.figures.build import ReportFigure
from amlrepro.report.headers import Column, LineKind, wrapped
from amlrepro.report.lines import Entry, Line
from amlrepro.report.tabledata import BlockData, TableData, parts, turned, whose

WIDE = 118
LABEL = 16
HEADER = 12
_SUPERSCRIPTS = str.maketrans("0123456789,", "⁰¹²³⁴⁵⁶⁷⁸⁹ ")
_STYLES: dict[LineKind, str] = {
    "cited": "dim",
    "printed": "",
    "here": "cyan",
    "difference": "",
    "interval": "dim",
    "across": "",
}


def terminal(table: TableData, width: int) -> list[RenderableType]:
    """The table for a terminal of that many columns: one rich table a block, or several where it is too wide; below
    118 columns with short headers."""
    wide = width >= WIDE
    out: list[RenderableType] = []
    if table.watermark:
        out.append(Text(f"{table.stamp}: {table.watermark}", style="bold yellow"))
    out.append(Text(table.heading, style="bold"))
    out.append(Text(f"profile {table.profile}, masking preset {table.preset}", style="dim"))
    for block in table.blocks:
        if block.lines and block.columns:
            out += _pieces(turned(block), whose(block) or None, width, wide)
    out.append(Text(""))
    out += [Text(f"{_superscript((n,))} {text}") for n, text in enumerate(table.footnotes, 1)]
    shortened = not wide and any("RefCOCO" in c.group for block in table.blocks for c in block.columns)
    short = ["RC, RC+, RCg: RefCOCO, RefCOCO+, RefCOCOg."] if shortened else []
    out += [Text(note, style="dim") for note in (*short, *table.notes)]
    for check in table.checks:
        style = {"pass": "bold green", "fail": "bold red"}.get(check.verdict, "bold yellow")
        out.append(Text.assemble(("check ", "bold"), (check.verdict, style), f": {check.title}. {check.text}"))
    return out


def overview(tables: Sequence[TableData], figures: Sequence[ReportFigure]) -> RenderableType:
    """One line an experiment: cells that have our number, of those that should; figures drawn; checks."""
    out = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in ("", "", "cells", "figures", "checks", "missing because"):
        out.add_column(name, overflow="fold")
    for table in tables:
        ours = [c for block in table.blocks for c in block.cells.values() if c.cell.kind != "printed"]
        filled = sum(c.value is not None for c in ours)
        drawn = [figure for figure in figures if figure.experiment == table.id]
        reasons = dict.fromkeys(c.reason for c in ours if c.value is None and c.reason)
        out.add_row(
            table.id,
            table.title,
            f"{filled} of {len(ours)}" if ours else "",
            f"{sum(bool(f.files) for f in drawn)} of {len(drawn)}" if drawn else "",
            ", ".join(check.verdict for check in table.checks),
            "; ".join(reasons),
            style="" if filled == len(ours) and all(f.files for f in drawn) else "yellow",
        )
    return out


def _pieces(block: BlockData, details: str | None, width: int, wide: bool) -> list[RenderableType]:
    pieces = list(parts(block, lambda each: _widths(each, wide), width - LABEL))
    out: list[RenderableType] = []
    for number, piece in enumerate(pieces):
        caption = details if number == len(pieces) - 1 else None
        out += [Text(""), _block(piece, block.title if number == 0 else None, caption, wide)]
    return out


def _block(block: BlockData, title: str | None, caption: str | None, wide: bool) -> Table:
    out = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        caption=caption,
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
        collapse_padding=True,
        pad_edge=False,
    )
    out.add_column(f"\n{block.stub.lower()}", overflow="fold", min_width=LABEL)
    for column in block.columns:
        out.add_column(_header(column, wide), justify="right", no_wrap=True)
    for line in block.lines:
        cells = [_entry(e, c.kind or line.kind, wide) for e, c in zip(line.entries, block.columns, strict=True)]
        out.add_row(_label(line), *cells, style=_STYLES[line.kind])
    return out


def _widths(block: BlockData, wide: bool) -> list[float]:
    """Characters that each column takes, with the space between two."""
    out = []
    for j, column in enumerate(block.columns):
        shown = [_entry(line.entries[j], column.kind or line.kind, wide).plain for line in block.lines]
        texts = [*_header(column, wide).split("\n"), *(piece for text in shown for piece in text.split("\n"))]
        out.append(2.0 + max(map(len, texts)))
    return out


def _header(column: Column, wide: bool) -> str:
    group = column.group if wide else column.group.replace("RefCOCO", "RC")
    return "\n".join([group, *wrapped(column.name, HEADER)]) + _superscript(column.marks)


def _label(line: Line) -> Text:
    if line.kind in ("difference", "interval"):
        return Text(f"  {line.label}")
    if line.kind == "here":
        return Text(f"  ours: {line.label}", style="bold")
    return Text(line.label + ("‡" if line.llm else ""))


def _entry(entry: Entry, kind: LineKind, wide: bool) -> Text:
    shown = entry.text
    if entry.short:
        shown = f"{entry.short[0]}–{entry.short[1]}" if wide else "\n".join(entry.short)
    text = Text(shown, style={1: "bold", 2: "underline"}.get(entry.rank or 0, _STYLES[kind]))
    if entry.delta:
        text.append(f"({entry.delta})" if wide else f"\n({entry.delta})", style="not bold not underline")
    text.append(entry.level, style="not bold not underline")
    return text.append(_superscript(entry.marks), style="not bold not underline") if entry.marks else text


def _superscript(marks: tuple[int, ...]) -> str:
    return ",".join(map(str, marks)).translate(_SUPERSCRIPTS)
