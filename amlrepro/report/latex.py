"""Tables in LaTeX: a fragment for `\\input`, and a document around it that compiles by itself.

The fragment needs booktabs, longtable, xcolor and colortbl; the document also geometry, graphicx and, for a watermark,
eso-pic. All are in texlive-latex-recommended. Every text that did not come from this file is escaped.
"""

from __future__ import annotations

from itertools import groupby

from amlrepro.report.headers import Column, LineKind, wrapped
from amlrepro.report.lines import Entry, Line
from amlrepro.report.tabledata import BlockData, TableData, parts, turned, whose

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\ensuremath{<}",
    ">": r"\ensuremath{>}",
    "|": r"\ensuremath{|}",
    '"': "''",
    "`": "'",
    "−": r"\ensuremath{-}",
    "–": "--",
    "—": "---",
    "’": "'",
    "‘": "`",
    "“": "``",
    "”": "''",
    "…": r"\ldots{}",
    "‡": r"\ensuremath{\ddagger}",
    "×": r"\ensuremath{\times}",
    "±": r"\ensuremath{\pm}",
    "≤": r"\ensuremath{\leq}",
    "≥": r"\ensuremath{\geq}",
    "→": r"\ensuremath{\rightarrow}",
    "≈": r"\ensuremath{\approx}",
    "↑": r"\ensuremath{\uparrow}",
    "↓": r"\ensuremath{\downarrow}",
    "ε": r"\ensuremath{\varepsilon}",
    "ρ": r"\ensuremath{\rho}",
    "σ": r"\ensuremath{\sigma}",
    "τ": r"\ensuremath{\tau}",
}
_GREY = "black!55"
PAGE = 186.0  # mm between the margins of `preamble`
_LABEL, _WIDE_LABEL, _SHORT_LABEL = 44.0, 62.0, 16.0  # mm
_HEADER = 12  # characters in a line of a header
_GAP = 2.2  # mm between columns
_CHARACTER = {"difference": 1.3, "interval": 1.18}  # mm, by the size of print; else:
_NORMAL = 1.45


def escape(text: str) -> str:
    """`text` so that LaTeX prints it as it is; characters that its standard fonts lack become their code point."""
    out = []
    for character in text:
        if character in _ESCAPES:
            out.append(_ESCAPES[character])
        elif character == "-":
            out.append("-{}")  # two in a row would become a dash
        elif character.isprintable() and ord(character) < 0x100:
            out.append(character)
        else:
            out.append(" " if character.isspace() else f"[U+{ord(character):04X}]")
    return "".join(out)


def fragment(table: TableData) -> str:
    """The table and its notes, for `\\input` into a document that loads booktabs, longtable, xcolor and colortbl."""
    out = [
        "% needs \\usepackage{booktabs,longtable,colortbl} and \\usepackage[table]{xcolor}",
        r"\begingroup\footnotesize\setlength{\tabcolsep}{3pt}\setlength{\LTcapwidth}{\linewidth}",
        r"\setlength{\LTleft}{0pt}\setlength{\LTpre}{3pt}\setlength{\LTpost}{3pt}",
        *_tables(table),
        *_notes(table),
        r"\endgroup",
        "",
    ]
    return "\n".join(out)


def _tables(table: TableData) -> list[str]:
    """A longtable a block, or several where its columns do not fit beside each other."""
    shown = [block for block in table.blocks if block.lines and block.columns]
    least = _SHORT_LABEL if all(block.transpose for block in shown) else _LABEL
    pieces = [list(parts(turned(block), _widths, PAGE - _GAP - least)) for block in shown]
    widest = max((sum(_widths(piece)) for some in pieces for piece in some), default=0.0)
    label = least if least == _SHORT_LABEL else min(max(PAGE - _GAP - widest, least), _WIDE_LABEL)
    out = _caption(table) if shown else []
    for block, some in zip(shown, pieces, strict=True):
        for piece in some:
            out.append(r"\addtocounter{table}{-1}")  # longtable counts itself, and so did the caption
            out += _longtable(piece, label, first=piece is some[0])
        if block.transpose and whose(block):
            out.append(rf"{{\scriptsize\noindent {escape(whose(block))}\par}}")
    return out


def _longtable(block: BlockData, label: float, *, first: bool) -> list[str]:
    """One piece of a block with its header, which is repeated on every page. first: of its block."""
    columns = 1 + len(block.columns)
    title = rf"\multicolumn{{{columns}}}{{@{{}}l}}{{\rlap{{\textbf{{{escape(block.title)}}}"
    start, further = title + r"}}\\*", title + r" \emph{(continued)}}}\\*"
    head = _head(block)
    out = [
        rf"\begin{{longtable}}{{>{{\raggedright\arraybackslash}}p{{{label:.0f}mm}}*{{{columns - 1}}}{{r}}}}",
        *[start if first else further, r"\toprule", *head, r"\midrule\endfirsthead"],
        *[further, r"\toprule", *head, r"\midrule\endhead"],
        r"\bottomrule\endfoot",
    ]
    following = [*(line.row for line in block.lines[1:]), None]
    for line, after in zip(block.lines, following, strict=True):
        out.append(_line(line, block.columns) + (r"\\*" if line.row == after else r"\\"))
    return [*out, r"\end{longtable}"]


def _widths(block: BlockData) -> list[float]:
    """About how wide each column is, in mm; the columns below a group's title share it."""
    out: list[float] = []
    for group, members in groupby(block.columns, key=lambda c: c.group):
        own = list(members)
        title = max(map(len, wrapped(group, _header_width(len(own))))) / len(own)
        for column in own:
            entries = [(line.entries[block.columns.index(column)], column.kind or line.kind) for line in block.lines]
            cells = [len(e.text) * _CHARACTER.get(k, _NORMAL) + 1.3 * len(e.delta or "") for e, k in entries]
            heads = [_NORMAL * len(line) for line in wrapped(column.name, _HEADER)]
            out.append(_GAP + max(_NORMAL * title, *heads, *cells))
    return out


def _caption(table: TableData) -> list[str]:
    """The caption, as wide as the page; longtable's own would be as wide as the table."""
    where = f" ({table.printed_in} of AMLRIS)" if table.printed_in else ""
    ours = f"profile {table.profile}, masking preset {table.preset}"
    if all(block.printed.own for block in table.blocks):
        text = escape(f"{table.title}{where}. Our numbers: {ours}.")
    else:
        text = escape(f"{table.title}{where}. The paper's numbers, and shaded below them ours: {ours}.")
    if table.watermark:
        text = rf"\textbf{{{escape(f'{table.stamp}: {table.watermark}.')}}} {text}"
    typed = r"\expandafter\def\csname @captype\endcsname{table}\abovecaptionskip0pt\belowcaptionskip3pt\relax"
    return [rf"{typed}\caption{{{text}}}\label{{tab:{table.id}}}\nopagebreak"]


def _head(block: BlockData) -> list[str]:
    """Groups of columns, then their names."""
    names = [_stacked(column.name, "r") + _marks(column.marks) for column in block.columns]
    groups = _groups(block.columns) if any(column.group for column in block.columns) else []
    return [*groups, " & ".join([escape(block.stub), *names]) + r"\\*"]


def _groups(columns: tuple[Column, ...]) -> list[str]:
    spans, rules, start = [""], [], 2
    for group, members in groupby(columns, key=lambda c: c.group):
        count = len(list(members))
        spans.append(rf"\multicolumn{{{count}}}{{c}}{{{_stacked(group, 'c', count)}}}")
        if group:
            rules.append(rf"\cmidrule(lr){{{start}-{start + count - 1}}}")
        start += count
    return [" & ".join(spans) + r"\\*", "".join(rules)]


def _stacked(name: str, side: str, count: int = 1) -> str:
    """A header over `count` columns, in several lines where it is long."""
    lines = [escape(line) for line in wrapped(name, _header_width(count))]
    stacked = r"\\".join(lines)
    return stacked if len(lines) == 1 else rf"\begin{{tabular}}[b]{{@{{}}{side}@{{}}}}{stacked}\end{{tabular}}"


def _header_width(count: int) -> int:
    """Characters in a line of a header over that many columns."""
    return _HEADER if count <= 2 else _HEADER * count // 2


def _line(line: Line, columns: tuple[Column, ...]) -> str:
    label = escape(line.label) + (r"\ensuremath{^\ddagger}" if line.llm else "")
    if line.kind == "here":
        detail = rf" \scriptsize({escape(line.detail).replace(' seed', '~seed')})" if line.detail else ""
        label = rf"\hangindent=2em\hangafter=1\quad ours: {label}{detail}"
    elif line.kind in ("difference", "interval"):
        label = rf"\quad\scriptsize {label}"
    elif line.kind == "cited":
        label = rf"\textcolor{{{_GREY}}}{{{label}}}"
    cells = [_entry(e, column.kind or line.kind) for e, column in zip(line.entries, columns, strict=True)]
    colour = r"\rowcolor{black!6}" if line.kind == "here" else ""
    return colour + " & ".join([label, *cells])


def _entry(entry: Entry, kind: LineKind) -> str:
    text = escape(entry.text)
    if entry.rank == 1:
        text = rf"\textbf{{{text}}}"
    elif entry.rank == 2:
        text = rf"\underline{{{text}}}"
    if entry.delta:
        text += rf"{{\scriptsize\,({escape(entry.delta)})}}"
    if kind == "cited":
        text = rf"\textcolor{{{_GREY}}}{{{text}}}"
    if kind in ("difference", "interval"):
        size = r"\scriptsize " if kind == "difference" else r"\fontsize{6}{7}\selectfont "
        text = size + text
    # on the left: the shade of the next cell would cover it, and digits stay below digits
    level = rf"\textsuperscript{{{escape(entry.level)}}}\," if entry.level else ""
    return level + text + _marks(entry.marks)


def _marks(marks: tuple[int, ...]) -> str:
    return rf"\rlap{{\textsuperscript{{{','.join(map(str, marks))}}}}}" if marks else ""


def _notes(table: TableData) -> list[str]:
    out = [r"\scriptsize\noindent " + escape(" ".join(table.notes)) + r"\par"]
    if table.footnotes:
        notes = [rf"\textsuperscript{{{n}}}\,{escape(text)}" for n, text in enumerate(table.footnotes, 1)]
        out.append(r"\smallskip\noindent " + r";\quad ".join(notes) + r".\par")
    for check in table.checks:
        title, text = escape(check.title), escape(check.text)
        out.append(rf"\smallskip\noindent \textbf{{Check, {check.verdict}.}} {title}. {text}.\par")
    return out


def preamble(stamp: str | None, *packages: str) -> list[str]:
    """The lines before `\\begin{document}`; a stamp is printed large and pale across every page."""
    lines = [
        r"\documentclass[10pt]{article}",
        r"\usepackage[utf8]{inputenc}",
        r"\usepackage[a4paper,margin=12mm,footskip=8mm]{geometry}",
        r"\usepackage[table]{xcolor}",
        r"\usepackage{booktabs,longtable,colortbl,graphicx}",
        *packages,
    ]
    if stamp:
        shown = rf"\resizebox{{0.8\paperwidth}}{{!}}{{\textcolor{{black!10}}{{\textsf{{{escape(stamp)}}}}}}}"
        lines += [
            r"\usepackage{eso-pic}",
            rf"\AddToShipoutPictureBG{{\AtPageCenter{{\makebox(0,0){{\rotatebox{{28}}{{{shown}}}}}}}}}",
        ]
    return lines


def numbered(table: TableData, path: str) -> str:
    """`\\input` of a table's fragment, called and numbered as in the paper."""
    name, _, number = table.printed_in.partition(" ")
    if not number:
        return rf"\input{{{path}}}"
    title = "Numbers of Figure" if name == "Figure" else name
    called = rf"\renewcommand{{\tablename}}{{{escape(title)}}}\renewcommand{{\thetable}}{{{escape(number)}}}"
    return rf"\begingroup{called}\input{{{path}}}\endgroup"


def document(table: TableData, fragment_name: str) -> str:
    """A whole document that inputs the fragment; watermarked across each page where the table is."""
    body = [r"\pagestyle{empty}", r"\begin{document}", numbered(table, fragment_name), r"\end{document}", ""]
    return "\n".join([*preamble(table.stamp), *body])
