"""`amlris report`: tables from what is in the store, in LaTeX, Markdown, CSV, JSON and on the terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from amlrepro.cli.options import (
    DEFAULT_STORE,
    DataRootOption,
    ImageRootOption,
    JsonOption,
    PresetOption,
    ProfileOption,
    SeedsOption,
    SetOption,
    StoreOption,
    headline,
    open_plan,
    wide_console,
)

if TYPE_CHECKING:
    from amlrepro.report.api import ReportResult


def report(
    experiments: Annotated[list[str] | None, typer.Argument(help="Tables or figures; all when none is named.")] = None,
    profile: ProfileOption = "paper",
    preset: PresetOption = "inferred",
    seeds: SeedsOption = None,
    changes: SetOption = None,
    data_root: DataRootOption = None,
    image_root: ImageRootOption = None,
    store: StoreOption = DEFAULT_STORE,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for the files.", show_default="in the store")
    ] = None,
    pdf: Annotated[bool, typer.Option("--pdf", help="Compile the LaTeX to PDF (needs pdflatex).")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write and print tables from the results there are. Nothing is trained; missing cells say why they are missing."""
    from amlrepro.report.api import report as write_report
    from amlrepro.report.export import json_value

    opened = open_plan(
        experiments or ["all"],
        command="amlris report",
        profile=profile,
        preset=preset,
        seeds=seeds,
        changes=changes,
        data_root=data_root,
        image_root=image_root,
        store=store,
    )
    if not as_json:
        typer.echo(headline(opened))
    result = write_report(opened.store, opened.plan, out, pdf=pdf)
    if as_json:
        typer.echo(json.dumps([json_value(table) for table in result.tables], ensure_ascii=False))
        return
    print_report(result)


def print_report(result: ReportResult) -> None:
    """Print the tables at the terminal's width and say where the files are."""
    from amlrepro.report.terminal import terminal

    console = wide_console()
    for table in result.tables:
        for part in terminal(table, console.width):
            console.print(part)
    for path in result.files:
        console.print(f"wrote {path}", style="dim", soft_wrap=True, markup=False)
