"""Tables in Markdown (GitHub's dialect): one table a block, notes and checks below."""

from __future__ import annotations

from amlrepro.report.headers import LineKind
from amlrepro.report.lines import Entry, Line
from amlrepro.report.tabledata import BlockData, TableData, parts, turned, whose

SOURCES: dict[LineKind, str] = {
    "cited": "cited",
    "printed": "printed",
    "here": "**ours**",
    "difference": "ours − printed",
    "interval": "95 % interval",
    "across": "",
}
COLUMNS = 12  # beside each other


def escape(text: str) -> str:
    """`text` so that Markdown shows it as it is, also inside a table."""
    for character in "\\`*_[]|~":
        text = text.replace(character, "\\" + character)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\n", " ")


def markdown(table: TableData) -> str:
    """The whole table; with a watermark its first line says so."""
    out = [f"> **{table.stamp}: {escape(table.watermark)}.**", ""] if table.watermark else []
    out += [f"# {escape(table.heading)}", ""]
    out += [f"Profile {escape(table.profile)}, masking preset {escape(table.preset)}.", ""]
    for block in table.blocks:
        if block.lines and block.columns:
            out += [f"## {escape(block.title)}", ""]
            for part in parts(turned(block), lambda each: [1.0] * len(each.columns), COLUMNS):
                out += [*_block(part), ""]
            out += [escape(whose(block)), ""] if block.transpose and whose(block) else []
    out += [f"{number}. {escape(text)}" for number, text in enumerate(table.footnotes, 1)]
    out += [""] if table.footnotes else []
    out += [f"- {escape(note)}" for note in table.notes]
    if table.checks:
        out += ["", "## Checks", ""]
        out += [f"- **{c.verdict}** {escape(c.title)}: {escape(c.text)}" for c in table.checks]
    return "\n".join(out) + "\n"


def _block(block: BlockData) -> list[str]:
    across = all(line.kind == "across" for line in block.lines)
    first = [escape(block.stub)] if across else [escape(block.stub), "Source"]
    names = [escape(f"{c.group} {c.name}".strip()) + _marks(c.marks) for c in block.columns]
    out = [_row([*first, *names]), _row([*["---"] * len(first), *["---:"] * len(names)])]
    for line in block.lines:
        source = [] if across else [SOURCES[line.kind]]
        out.append(_row([_label(line), *source, *(_entry(e) for e in line.entries)]))
    return out


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _label(line: Line) -> str:
    if line.kind in ("difference", "interval"):
        return ""
    label = escape(line.label) + ("‡" if line.llm else "")
    return f"{label} ({escape(line.detail)})" if line.detail else label


def _entry(entry: Entry) -> str:
    text = escape(entry.text)
    if entry.rank == 1:
        text = f"**{text}**"
    elif entry.rank == 2:
        text = f"<u>{text}</u>"
    if entry.delta:
        text += f" ({escape(entry.delta)})"
    if entry.level:
        text += f" {entry.level}"
    return text + _marks(entry.marks)


def _marks(marks: tuple[int, ...]) -> str:
    return "".join(f"<sup>{mark}</sup>" for mark in marks)
