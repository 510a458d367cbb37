"""Tables for the terminal, as rich renderables; printing them is the command line's business."""

from __future__ import annotations

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from amlrepro.report.tabledata import BlockData, Column, Entry, Line, TableData

WIDE = 118
_SUPERSCRIPTS = str.maketrans("0123456789,", "⁰¹²³⁴⁵⁶⁷⁸⁹ ")
_STYLES = {"cited": "dim", "printed": "", "here": "cyan", "difference": "", "interval": "dim"}


def terminal(table: TableData, width: int) -> list[RenderableType]:
    """The table for a terminal of that many columns: one rich table a block; below 118 columns with short headers."""
    wide = width >= WIDE
    out: list[RenderableType] = []
    if table.watermark:
        out.append(Text(f"{table.stamp}: {table.watermark}", style="bold yellow"))
    out.append(Text(f"{table.printed_in}: {table.title}", style="bold"))
    out.append(Text(f"profile {table.profile}, masking preset {table.preset}", style="dim"))
    for block in table.blocks:
        out += [Text(""), _block(block, wide)]
    out.append(Text(""))
    out += [Text(f"{_superscript([n])} {text}") for n, text in enumerate(table.footnotes, 1)]
    short = [] if wide else ["RC, RC+, RCg: RefCOCO, RefCOCO+, RefCOCOg."]
    out += [Text(note, style="dim") for note in (*short, *table.notes)]
    for check in table.checks:
        style = {"pass": "bold green", "fail": "bold red"}.get(check.verdict, "bold yellow")
        out.append(Text.assemble(("check ", "bold"), (check.verdict, style), f": {check.title}. {check.text}"))
    return out


def _block(block: BlockData, wide: bool) -> Table:
    out = Table(
        title=block.title,
        title_justify="left",
        title_style="bold",
        caption=_details(block),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
        collapse_padding=True,
        pad_edge=False,
    )
    out.add_column("\nmethod", overflow="fold", min_width=16)
    for column in block.columns:
        out.add_column(_header(column, wide), justify="right", no_wrap=True)
    for line in block.lines:
        out.add_row(_label(line), *(_entry(e, line, wide) for e in line.entries), style=_STYLES[line.kind])
    return out


def _details(block: BlockData) -> str | None:
    """Presets and seeds of our rows, said below the block, where there is room."""
    parts = [f"{line.label} ({line.detail})" for line in block.lines if line.detail]
    return "ours: " + "; ".join(parts) if parts else None


def _header(column: Column, wide: bool) -> str:
    group = column.group if wide else column.group.replace("RefCOCO", "RC")
    return f"{group}\n{column.name}"


def _label(line: Line) -> Text:
    if line.kind in ("difference", "interval"):
        return Text(f"  {line.label}")
    if line.kind == "here":
        return Text(f"  ours: {line.label}", style="bold")
    return Text(line.label + ("‡" if line.llm else ""))


def _entry(entry: Entry, line: Line, wide: bool) -> Text:
    shown = entry.text
    if entry.short:
        shown = f"{entry.short[0]}–{entry.short[1]}" if wide else "\n".join(entry.short)
    text = Text(shown, style={1: "bold", 2: "underline"}.get(entry.rank or 0, ""))
    return text.append(_superscript(entry.marks), style="not bold not underline") if entry.marks else text


def _superscript(marks: list[int] | tuple[int, ...]) -> str:
    return ",".join(map(str, marks)).translate(_SUPERSCRIPTS)
