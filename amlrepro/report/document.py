"""The whole report as one LaTeX document: title, contents, every table's fragment, every figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from amlrepro.report.latex import escape, numbered, preamble
from amlrepro.report.tabledata import TableData, turned

# A figure at its own size, or smaller where it would be wider or higher than the page.
_PLATE = r"""\newsavebox{\plate}
\newcommand{\showplate}[1]{\sbox{\plate}{\includegraphics{#1}}%
  \ifdim\wd\plate>\linewidth\sbox{\plate}{\includegraphics[width=\linewidth]{#1}}\fi
  \ifdim\ht\plate>0.85\textheight
    \includegraphics[width=\linewidth,height=0.85\textheight,keepaspectratio]{#1}\else\usebox{\plate}\fi}"""
# A new page where less is left on this one than is asked for, else none.
_ROOM = r"""\newcommand{\room}[1]{\par\penalty-100\begingroup\dimen0=\pagegoal\advance\dimen0-\pagetotal
  \ifdim\dimen0<#1\relax\newpage\fi\endgroup}"""
_LINE = 3.5  # mm of page that a line of a table takes, roughly
_HEAD, _AROUND = 16, 25  # mm of a block's headers, of heading and caption
_PAGE, _PLATE_ROOM = 250, 130  # mm of a page, of a figure


@dataclass(frozen=True)
class FigurePage:
    """A figure of the report.

    experiment: whose it is; place: "Figure 4(a)", nothing where the paper has no such figure; caption: what it shows,
    whose numbers, and from where; path: of the PDF, from the document's folder; None with a `reason` why there is none.
    """

    experiment: str
    place: str
    caption: str
    path: str | None
    reason: str | None = None


def report_document(tables: Sequence[TableData], figures: Sequence[FigurePage]) -> str:
    """A document of tables, then figures with the numbers they show; a figure that belongs to a table follows it.

    It inputs `<id>/<id>.tex` of each table and lies beside these folders. All tables are of one plan: profile, preset
    and watermark are the first one's.
    """
    packages = (r"\usepackage[hidelinks,hypertexnames=false]{hyperref}", r"\setcounter{tocdepth}{2}", _PLATE, _ROOM)
    first = tables[0] if tables else None
    out = [
        *preamble(first.stamp if first else None, *packages),
        r"\setcounter{secnumdepth}{0}\setlength{\parindent}{0pt}",
        r"\begin{document}",
        *_title(first),
        r"\tableofcontents",
    ]
    for section, drawn in (("Tables", False), ("Figures", True)):
        shown = [table for table in tables if table.printed_in.startswith("Figure") == drawn]
        out += [r"\clearpage", rf"\section{{{section}}}"] if shown else []
        for table in shown:
            out += _experiment(table, [figure for figure in figures if figure.experiment == table.id])
    return "\n".join([*out, r"\end{document}", ""])


def _title(first: TableData | None) -> list[str]:
    out = [r"{\LARGE\bfseries AMLRIS, rerun\par}\medskip", r"Tables and figures of the paper beside our own."]
    if first:
        profile, preset = escape(first.profile), escape(first.preset)
        out.append(rf"Profile \textbf{{{profile}}}, masking preset \textbf{{{preset}}}.\par")
    if first and first.watermark:
        said = escape(f"{first.stamp}: {first.watermark}.")
        out.append(rf"\medskip\fbox{{\parbox{{0.95\linewidth}}{{\textbf{{{said}}}}}}}\par")
    return [*out, r"\bigskip"]


def _experiment(table: TableData, figures: Sequence[FigurePage]) -> list[str]:
    """One table with its figures, the figures of a figure first."""
    filled = any(block.lines and block.columns for block in table.blocks)
    numbers = [numbered(table, f"{table.id}/{table.id}")] if filled else []
    plates = [line for figure in figures for line in _figure(figure, table)]
    if not filled and not plates:
        return []
    height = _AROUND + sum(_HEAD + _LINE * len(turned(block).lines) for block in table.blocks)
    room = height if height < _PAGE else _PAGE / 2
    body = [*plates, *numbers] if table.printed_in.startswith("Figure") else [*numbers, *plates]
    return [
        rf"\room{{{max(room, _PLATE_ROOM if plates else 0):.0f}mm}}",
        rf"\subsection{{{escape(table.heading)}}}",
        *body,
    ]


def _figure(figure: FigurePage, table: TableData) -> list[str]:
    """A figure where it stands in the text, called and numbered as in the paper."""
    caption = figure.caption.removesuffix(".")
    if figure.path is None:
        reason = figure.reason or "its data are missing"
        return [rf"\noindent {escape(caption)}: not drawn, {escape(reason)}.\par\smallskip"]
    number = figure.place.removeprefix("Figure ")
    called = rf"\renewcommand{{\thefigure}}{{{escape(number)}}}" if number else ""
    stamp = rf"\textbf{{{escape(table.stamp)}.}} " if table.stamp else ""
    text = escape(f"{caption}. Ours: profile {table.profile}, masking preset {table.preset}.")
    return [
        rf"\begingroup\makeatletter\def\@captype{{figure}}\makeatother{called}",
        rf"\begin{{center}}\showplate{{{figure.path}}}\caption{{{stamp}{text}}}\end{{center}}\endgroup",
    ]
