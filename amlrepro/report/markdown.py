"""Tables in Markdown (GitHub's dialect): one table a block, notes and checks below."""

from __future__ import annotations

from amlrepro.report.tabledata import BlockData, Entry, Line, TableData

SOURCES = {
    "cited": "cited",
    "printed": "printed",
    "here": "**ours**",
    "difference": "ours − printed",
    "interval": "95 % interval",
}


def escape(text: str) -> str:
    """`text` so that Markdown shows it as it is, also inside a table."""
    for character in "\\`*_[]|~":
        text = text.replace(character, "\\" + character)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\n", " ")


def markdown(table: TableData) -> str:
    """The whole table; with a watermark its first line says so."""
    out = [f"> **{table.stamp}: {escape(table.watermark)}.**", ""] if table.watermark else []
    out += [f"# {escape(table.printed_in)}: {escape(table.title)}", ""]
    out += [f"Profile {escape(table.profile)}, masking preset {escape(table.preset)}.", ""]
    for block in table.blocks:
        out += [f"## {escape(block.title)}", "", *_block(block), ""]
    out += [f"{number}. {escape(text)}" for number, text in enumerate(table.footnotes, 1)]
    out += [""] if table.footnotes else []
    out += [f"- {escape(note)}" for note in table.notes]
    if table.checks:
        out += ["", "## Checks", ""]
        out += [f"- **{c.verdict}** {escape(c.title)}: {escape(c.text)}" for c in table.checks]
    return "\n".join(out) + "\n"


def _block(block: BlockData) -> list[str]:
    names = [escape(f"{c.group} {c.name}".strip()) for c in block.columns]
    out = [_row(["Method", "Source", *names]), _row(["---", "---", *["---:"] * len(names)])]
    for line in block.lines:
        out.append(_row([_label(line), SOURCES[line.kind], *(_entry(e) for e in line.entries)]))
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
    marks = "".join(f"<sup>{mark}</sup>" for mark in entry.marks)
    return text + marks
