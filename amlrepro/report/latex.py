"""Tables in LaTeX: a fragment for `\\input`, and a document around it that compiles by itself.

The fragment needs booktabs, longtable, xcolor and colortbl; the document also geometry, graphicx and, for a watermark,
eso-pic. All are in texlive-latex-recommended. Every text that did not come from this file is escaped.
"""

from __future__ import annotations

from itertools import groupby

from amlrepro.report.headers import Column, LineKind, wrapped
from amlrepro.report.lines import Entry, Line
from amlrepro.report.tabledata import BlockData, TableData, parts, turned

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
    "ε": r"\ensuremath{\varepsilon}",
    "ρ": r"\ensuremath{\rho}",
    "σ": r"\ensuremath{\sigma}",
    "τ": r"\ensuremath{\tau}",
}
_GREY = "black!55"
PAGE = 186.0  # mm between the margins of `preamble`
_LABEL, _SHORT_LABEL = 48, 18  # mm
_HEADER = 12  # characters in a line of a header
_GAP = 2.1  # mm between columns
_CHARACTER = {"difference": 1.3, "interval": 1.13}  # mm, by the size of print; else:
_NORMAL = 1.5


def escape(text: str) -> str:
    """`text` so that LaTeX prints it as it is; characters that its standard fonts lack become their code point."""
    out = []
    for character in text:
        if character in _ESCAPES:
            out.append(_ESCAPES[character])
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
        *_longtable(table),
        *_notes(table),
        r"\endgroup",
        "",
    ]
    return "\n".join(out)


def _longtable(table: TableData) -> list[str]:
    """One table of all blocks, columns that do not fit beside each other below each other; nothing without lines."""
    blocks = [turned(block) for block in table.blocks if block.lines and block.columns]
    if not blocks:
        return []
    label = _SHORT_LABEL if all(line.kind == "across" for block in blocks for line in block.lines) else _LABEL
    pieces = [piece for block in blocks for piece in parts(block, _widths, PAGE - label)]
    width = 1 + max(len(piece.columns) for piece in pieces)
    out = [
        rf"\begin{{longtable}}{{>{{\raggedright\arraybackslash}}p{{{label}mm}}*{{{width - 1}}}{{r}}}}",
        rf"\caption{{{_caption(table)}}}\label{{tab:{table.id}}}\\",
        r"\toprule\endfirsthead",
        rf"\multicolumn{{{width}}}{{l}}{{\emph{{continued}}}}\\ \toprule\endhead",
        r"\bottomrule\endfoot",
    ]
    before = None
    for piece in pieces:
        out += [r"\midrule[\heavyrulewidth]"] if before is not None else []
        out += _block(piece, width, titled=piece.id != before)
        before = piece.id
    return [*out, r"\end{longtable}"]


def _widths(block: BlockData) -> list[float]:
    """About how wide each column is, in mm; a group's title is shared by its columns."""
    shares = {g: len(list(m)) for g, m in groupby(block.columns, key=lambda c: c.group)}
    out = []
    for j, column in enumerate(block.columns):
        texts = [(line.entries[j], column.kind or line.kind) for line in block.lines]
        cells = [len(e.text) * _CHARACTER.get(k, _NORMAL) + 1.3 * len(e.delta or "") for e, k in texts]
        lines = wrapped(column.name, _HEADER) + (wrapped(column.group, _HEADER) if shares[column.group] == 1 else [])
        head = _NORMAL * max(
            len(column.group) / shares[column.group] if shares[column.group] > 1 else 0, *map(len, lines)
        )
        out.append(_GAP + max([head, *cells]))
    return out


def _caption(table: TableData) -> str:
    where = f" ({table.printed_in} of AMLRIS)" if table.printed_in else ""
    ours = f"profile {table.profile}, masking preset {table.preset}"
    if all(block.printed.own for block in table.blocks):
        text = f"{table.title}{where}. Our numbers: {ours}."
    else:
        text = f"{table.title}{where}. The paper's numbers, and shaded below them ours: {ours}."
    if table.watermark:
        return rf"\textbf{{{escape(f'{table.stamp}: {table.watermark}.')}}} {escape(text)}"
    return escape(text)


def _block(block: BlockData, width: int, *, titled: bool) -> list[str]:
    pad = " & " * (width - 1 - len(block.columns))
    out = [rf"\multicolumn{{{width}}}{{l}}{{\textbf{{{escape(block.title)}}}}}\\* \addlinespace[2pt]"] if titled else []
    if any(column.group for column in block.columns):
        out += _groups(block.columns, pad)
    names = [_stacked(column.name, "r") + _marks(column.marks) for column in block.columns]
    out.append(" & ".join([escape(block.stub), *names]) + pad + r"\\* \midrule")
    for line in block.lines:
        out.append(_line(line, block.columns) + pad + r"\\")
    return out


def _stacked(name: str, side: str) -> str:
    """A header, in several lines where it is long."""
    lines = [escape(line) for line in wrapped(name, _HEADER)]
    stacked = r"\\".join(lines)
    return stacked if len(lines) == 1 else rf"\shortstack[{side}]{{{stacked}}}"


def _groups(columns: tuple[Column, ...], pad: str) -> list[str]:
    spans, rules, start = [""], [], 2
    for group, members in groupby(columns, key=lambda c: c.group):
        count = len(list(members))
        spans.append(rf"\multicolumn{{{count}}}{{c}}{{{_stacked(group, 'c') if count == 1 else escape(group)}}}")
        if group:
            rules.append(rf"\cmidrule(lr){{{start}-{start + count - 1}}}")
        start += count
    return [" & ".join(spans) + pad + r"\\*", "".join(rules)]


def _line(line: Line, columns: tuple[Column, ...]) -> str:
    label = escape(line.label) + (r"\ensuremath{^\ddagger}" if line.llm else "")
    if line.kind == "here":
        detail = rf" \scriptsize({escape(line.detail)})" if line.detail else ""
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
    return text + _marks(entry.marks)


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
