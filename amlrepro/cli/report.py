"""`amlris report`: tables from what is in the store, in LaTeX, Markdown, CSV, JSON and on the terminal."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from amlrepro.cli.groups import with_groups
from amlrepro.cli.options import JsonOption, Opened, PlanOptions, open_plan, say_headline, wide_console
from amlrepro.cli.verdict_basis import seeds_there, verdict_basis
from amlrepro.suite.experiment import load_experiments
from amlrepro.suite.store import Store

TABLES_IN_FULL = 4  # of more, only what came out of each is printed

if TYPE_CHECKING:
    from amlrepro.report.api import ReportResult


@with_groups
def report(
    options: PlanOptions,
    experiments: Annotated[list[str] | None, typer.Argument(help="Tables or figures; all when none is named.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for the files.", show_default="in the store")
    ] = None,
    pdf: Annotated[bool, typer.Option("--pdf", help="Compile the LaTeX to PDF (needs pdflatex).")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write and print tables from the results there are. Nothing is trained; missing cells say why they are missing."""
    from amlrepro.report.api import report as write_report
    from amlrepro.report.export import json_value

    names = experiments or ["all"]
    if options.seeds is None:  # what there is, not what a run would do
        there = seeds_there(Store(options.store, options.profile))
        options = replace(options, seeds=",".join(map(str, there)) or None)
    opened = open_plan(load_experiments(names), options, command=f"amlris report {' '.join(names)}")
    if not as_json:
        say_headline(opened)
    result = write_report(opened.store, opened.plan, out, pdf=pdf, basis=verdict_basis(opened))
    if as_json:
        typer.echo(json.dumps([json_value(table) for table in result.tables], ensure_ascii=False))
        return
    print_report(result)


def report_plan(opened: Opened) -> None:
    """Write everything that the store can tell of a plan, and print it."""
    from amlrepro.report.api import report as write_report

    print_report(write_report(opened.store, opened.plan, basis=verdict_basis(opened)))


def print_report(result: ReportResult) -> None:
    """Print the tables at the terminal's width, of many only what came out of each; say where the files are."""
    from amlrepro.report.terminal import overview, terminal

    console = wide_console()
    if len(result.tables) > TABLES_IN_FULL:
        console.print(overview(result.tables, result.figures))
    else:
        for table in result.tables:
            for part in terminal(table, console.width):
                console.print(part)
    for figure in result.figures:
        if figure.reason:
            console.print(f"{figure.experiment}, {figure.id}: not drawn, {figure.reason}", soft_wrap=True, markup=False)
    drawn = "; figures as PDF, PNG and SVG" if any(figure.files for figure in result.figures) else ""
    said = f"{len(result.files)} files in {result.folder}: tables as LaTeX, Markdown, CSV and JSON{drawn}"
    console.print(said, style="dim", soft_wrap=True, markup=False)
    console.print(f"all of this on one page: {result.page}", soft_wrap=True, markup=False)
