"""`amlris data check` and `amlris data stats`: is this data root complete and sound, and what is it like?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from amlrepro.cli.data_cache import cache
from amlrepro.cli.data_synth import synth
from amlrepro.cli.options import wide_console

if TYPE_CHECKING:
    from rich.console import Console

    from amlrepro.data.check import CheckReport
    from amlrepro.data.specs import SplitCounts
    from amlrepro.data.stats import Stats

app = typer.Typer(help="Synthesise, check and describe data.", no_args_is_help=True)
app.command()(synth)
app.command()(cache)

Root = Annotated[Path, typer.Argument(help="Folder with refcoco/, refcoco+/, refcocog/, grefcoco/ and the images.")]
Dataset = Annotated[str | None, typer.Option(help="Only this data set: refcoco, refcoco+, refcocog or grefcoco.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
# items printed a finding; differing counts stand in the table already
SHOWN = {"missing images": 50, "unreadable images": 50, "counts": 0}


@app.command()
def check(
    root: Root,
    image_root: Annotated[Path | None, typer.Option(help="Folder with the images, or above their train2014.")] = None,
    dataset: Dataset = None,
    strict: Annotated[bool, typer.Option("--strict", help="Counts other than the official ones are errors.")] = False,
    as_json: Json = False,
) -> None:
    """Count refs, sentences and images, open every image, measure every mask, look for leakage.

    Exit code 1 when something is wrong, 2 when there is nothing to check.
    """
    from rich.console import Console

    from amlrepro.data.check import check_root

    console = Console(stderr=True)
    if as_json or not console.is_terminal:
        report = check_root(root, image_root, dataset, strict)
    else:
        report = _with_progress(console, root, image_root, dataset, strict)
    if as_json:
        typer.echo(json.dumps(report.to_json(), indent=1, ensure_ascii=False))
    else:
        _print_check(wide_console(), report)
    raise typer.Exit(0 if report.ok else 1)


@app.command()
def stats(
    root: Root,
    dataset: Dataset = None,
    by_split: Annotated[bool, typer.Option("--by-split", help="One row a split, too.")] = False,
    as_json: Json = False,
) -> None:
    """Words a sentence, objects of the referent's class and the like, beside the paper's Appendix A.1."""
    from amlrepro.data.stats import root_stats

    rows = root_stats(root, dataset, by_split)
    if as_json:
        typer.echo(json.dumps([row.to_json() for row in rows], indent=1))
    else:
        _print_stats(wide_console(), rows)


def _with_progress(
    console: Console, root: Path, image_root: Path | None, dataset: str | None, strict: bool
) -> CheckReport:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from amlrepro.data.check import check_root

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        tasks: dict[str, object] = {}

        def progress(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            if done % 32 == 0 or done == total:
                bars.update(tasks[what], completed=done)  # type: ignore[arg-type]

        return check_root(root, image_root, dataset, strict, progress)


def _print_check(console: Console, report: CheckReport) -> None:
    from rich.markup import escape
    from rich.table import Table

    console.print(f"{escape(report.root)}: counts, with the official ones where they differ", highlight=False)
    table = Table()
    for name in ("data set", "split"):
        table.add_column(name)
    for name in ("refs", "sentences", "images"):
        table.add_column(name, justify="right")
    for part in report.counts:
        title = f"{part.dataset} ({part.split_by})"
        for split, counts in part.splits.items():
            table.add_row(title, split, *_beside(counts, part.official.get(split)))
            title = ""
        table.add_row("", "all", *_beside(part.total, None), style="bold", end_section=True)
    console.print(table)
    if report.image_folder:
        console.print(f"images: {escape(report.image_folder)}", highlight=False)
    for finding in sorted(report.findings, key=lambda f: f.level):
        colour = "yellow" if finding.level == "note" else "red"
        text = f"[{colour}]{finding.level}[/{colour}]  {escape(finding.where)}: {escape(finding.message)}"
        console.print(text, highlight=False)
        shown = SHOWN.get(finding.kind, 5)
        for item in finding.items[:shown]:
            console.print(f"         {escape(item)}", highlight=False)
        if len(finding.items) > shown > 0:
            console.print(f"         and {len(finding.items) - shown:,} more (--json lists all)", highlight=False)
    problems = sum(finding.level == "problem" for finding in report.findings)
    verdict = "[green]nothing is wrong[/green]" if report.ok else f"[red]{problems} problem(s)[/red]"
    console.print(f"{verdict}, {len(report.findings) - problems} note(s)", highlight=False)


def _beside(counts: SplitCounts, official: SplitCounts | None) -> list[str]:
    cells = []
    for name in ("refs", "sentences", "images"):
        found, wanted = getattr(counts, name), getattr(official, name, None)
        text = f"{found:,}" if found else "-"
        cells.append(text if wanted in (None, found) else f"{text} [dim](of {wanted:,})[/dim]")
    return cells


def _print_stats(console: Console, rows: list[Stats]) -> None:
    from rich.table import Table

    table = Table()
    table.add_column("data set")
    table.add_column("split")
    numbers = ("images", "refs", "sentences", "words", "longest", "vocabulary", "same class")
    for name in numbers:
        table.add_column(name, justify="right")
    for i, row in enumerate(rows):
        last = i + 1 == len(rows) or (rows[i + 1].dataset, rows[i + 1].split_by) != (row.dataset, row.split_by)
        title = f"{row.dataset} ({row.split_by})" if row.split == "all" else ""
        counts = (f"{row.images:,}", f"{row.refs:,}", f"{row.sentences:,}", f"{row.words:.2f}", f"{row.longest}")
        table.add_row(title, row.split, *counts, f"{row.vocabulary:,}", _number(row.same_class))
        if last:
            table.add_row("", "paper, A.1", *_printed(row), style="dim", end_section=True)
    console.print(table)
    console.print("words: of the cleaned sentences; longest: the most words of one", highlight=False)
    text = "same class: other objects of the referent's class in its image, mean over refs to one object"
    console.print(text, highlight=False)
    for row in rows:
        if row.multi_target or row.no_target:
            title = f"{row.dataset} ({row.split_by}) {row.split}"
            text = f"{row.multi_target:,} sentences name several objects, {row.no_target:,} none"
            console.print(f"{title}: {text}", highlight=False)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _printed(row: Stats) -> list[str]:
    from amlrepro.data.stats import appendix

    printed = appendix(row.dataset)
    names = ("images", "refs", "sentences", "words", "longest", "vocabulary", "same_class")
    return [f"{printed[name]:,}" if name in printed else "" for name in names]
