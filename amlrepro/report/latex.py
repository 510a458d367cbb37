"""Tables in LaTeX: a fragment for `\\input`, and a document around it that compiles by itself.

The fragment needs booktabs, longtable, xcolor and colortbl; the document also geometry, graphicx and, for a watermark,
eso-pic. All are in texlive-latex-recommended. Every text that did not come from this file is escaped.
"""

from __future__ import annotations

import subprocess
import tempfile
from itertools import groupby
from pathlib import Path

from amlrepro.errors import UserError
from amlrepro.files import write_bytes
from amlrepro.report.tabledata import BlockData, Column, Entry, Line, TableData

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
    "‡": r"\ensuremath{\ddagger}",
    "×": r"\ensuremath{\times}",
    "±": r"\ensuremath{\pm}",
}
_GREY = "black!55"
_LABEL_WIDTH = "51mm"
PDFLATEX_SECONDS = 120


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
    width = 1 + max(len(block.columns) for block in table.blocks)
    lines = [
        "% needs \\usepackage{booktabs,longtable,colortbl} and \\usepackage[table]{xcolor}",
        r"\begingroup\footnotesize\setlength{\tabcolsep}{3pt}\setlength{\LTcapwidth}{\linewidth}",
        rf"\begin{{longtable}}{{>{{\raggedright\arraybackslash}}p{{{_LABEL_WIDTH}}}*{{{width - 1}}}{{r}}}}",
        rf"\caption{{{_caption(table)}}}\label{{tab:{table.id}}}\\",
        r"\toprule\endfirsthead",
        rf"\multicolumn{{{width}}}{{l}}{{\emph{{continued}}}}\\ \toprule\endhead",
        r"\bottomrule\endfoot",
    ]
    for number, block in enumerate(table.blocks):
        lines += [r"\midrule[\heavyrulewidth]"] if number else []
        lines += _block(block, width)
    lines += [r"\end{longtable}", *_notes(table), r"\endgroup", ""]
    return "\n".join(lines)


def _caption(table: TableData) -> str:
    profile = f"Profile {table.profile}, masking preset {table.preset}."
    parts = [f"{table.title} ({table.printed_in} of AMLRIS). {profile}"]
    if table.watermark:
        parts.insert(0, f"{table.stamp}: {table.watermark}.")
        return rf"\textbf{{{escape(parts[0])}}} {escape(parts[1])}"
    return escape(parts[0])


def _block(block: BlockData, width: int) -> list[str]:
    spans, start = [], 2
    rules = []
    for group, members in groupby(block.columns, key=lambda c: c.group):
        n = len(list(members))
        spans.append(rf"\multicolumn{{{n}}}{{c}}{{{escape(group)}}}")
        if group:
            rules.append(rf"\cmidrule(lr){{{start}-{start + n - 1}}}")
        start += n
    pad = " & " * (width - 1 - len(block.columns))
    out = [
        rf"\multicolumn{{{width}}}{{l}}{{\textbf{{{escape(block.title)}}}}}\\* \addlinespace[2pt]",
        " & ".join(["", *spans]) + pad + r"\\*",
        "".join(rules),
        " & ".join(["Method", *(escape(c.name) for c in block.columns)]) + pad + r"\\* \midrule",
    ]
    for line in block.lines:
        out.append(_line(line, block.columns) + pad + r"\\")
    return out


def _line(line: Line, columns: tuple[Column, ...]) -> str:
    label = escape(line.label) + (r"\ensuremath{^\ddagger}" if line.llm else "")
    if line.kind == "here":
        label = rf"\hangindent=2em\hangafter=1\quad ours: {label} \scriptsize({escape(line.detail)})"
    elif line.kind in ("difference", "interval"):
        label = rf"\quad\scriptsize {label}"
    elif line.kind == "cited":
        label = rf"\textcolor{{{_GREY}}}{{{label}}}"
    cells = [_entry(entry, line) for entry in line.entries[: len(columns)]]
    colour = r"\rowcolor{black!6}" if line.kind == "here" else ""
    return colour + " & ".join([label, *cells])


def _entry(entry: Entry, line: Line) -> str:
    text = escape(entry.text)
    if entry.rank == 1:
        text = rf"\textbf{{{text}}}"
    elif entry.rank == 2:
        text = rf"\underline{{{text}}}"
    if line.kind == "cited":
        text = rf"\textcolor{{{_GREY}}}{{{text}}}"
    if line.kind in ("difference", "interval"):
        size = r"\scriptsize " if line.kind == "difference" else r"\fontsize{6}{7}\selectfont "
        text = size + text
    if entry.marks:
        text += rf"\rlap{{\textsuperscript{{{','.join(map(str, entry.marks))}}}}}"
    return text


def _notes(table: TableData) -> list[str]:
    out = [r"\scriptsize\noindent " + escape(" ".join(table.notes)) + r"\par"]
    if table.footnotes:
        notes = [rf"\textsuperscript{{{n}}}\,{escape(text)}" for n, text in enumerate(table.footnotes, 1)]
        out.append(r"\smallskip\noindent " + r";\quad ".join(notes) + r".\par")
    for check in table.checks:
        title, text = escape(check.title), escape(check.text)
        out.append(rf"\smallskip\noindent \textbf{{Check, {check.verdict}.}} {title}. {text}.\par")
    return out


def document(table: TableData, fragment_name: str) -> str:
    """A whole document that inputs the fragment; watermarked across each page where the table is."""
    lines = [
        r"\documentclass[10pt]{article}",
        r"\usepackage[utf8]{inputenc}",
        r"\usepackage[a4paper,margin=12mm]{geometry}",
        r"\usepackage[table]{xcolor}",
        r"\usepackage{booktabs,longtable,colortbl,graphicx}",
        r"\pagestyle{empty}",
    ]
    if table.stamp:
        stamp = rf"\resizebox{{0.8\paperwidth}}{{!}}{{\textcolor{{black!10}}{{\textsf{{{escape(table.stamp)}}}}}}}"
        lines += [
            r"\usepackage{eso-pic}",
            rf"\AddToShipoutPictureBG{{\AtPageCenter{{\makebox(0,0){{\rotatebox{{28}}{{{stamp}}}}}}}}}",
        ]
    number = table.id.removeprefix("table")
    counter = [rf"\setcounter{{table}}{{{int(number) - 1}}}"] if number.isdigit() else []  # numbered as in the paper
    return "\n".join([*lines, r"\begin{document}", *counter, rf"\input{{{fragment_name}}}", r"\end{document}", ""])


def compile_pdf(document_path: Path) -> Path:
    """Compile a document beside its fragment with pdflatex and return the PDF. Raises `UserError` when that fails."""
    with tempfile.TemporaryDirectory(prefix="amlris-latex-") as folder:
        for path in document_path.parent.glob("*.tex"):
            (Path(folder) / path.name).write_bytes(path.read_bytes())
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", document_path.name]
        try:
            for _ in range(3):  # longtable settles its column widths over several passes
                done = subprocess.run(
                    command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=PDFLATEX_SECONDS
                )
                if done.returncode:
                    said = [line for line in done.stdout.splitlines() if line.startswith(("!", "l."))]
                    raise UserError(
                        "pdflatex failed", where=document_path, found="; ".join(said[:3]) or done.returncode
                    )
        except FileNotFoundError as error:
            hint = "install texlive-latex-recommended, or leave --pdf out"
            raise UserError("pdflatex is not installed", where=document_path, hint=hint) from error
        except subprocess.TimeoutExpired as error:
            raise UserError("pdflatex did not end", where=document_path, found=f"{PDFLATEX_SECONDS} s") from error
        target = document_path.with_suffix(".pdf")
        write_bytes(target, (Path(folder) / target.name).read_bytes())
        return target
