"""`amlris import`: an archive of runs, checked and taken into the store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from amlrepro.cli.options import DEFAULT_STORE, JsonOption, StoreOption, wide_console
from amlrepro.suite.sharing.landing import Landed, RunLanding, import_archive
from amlrepro.suite.sharing.origins import own_laboratory

_SHOWN = 20  # of runs in one list


def import_(
    file: Annotated[Path, typer.Argument(help="An archive that `amlris export` made.", show_default=False)],
    lab: Annotated[
        str | None,
        typer.Option("--lab", metavar="NAME", help="Keep it under this name.", show_default="the archive's own"),
    ] = None,
    merge: Annotated[
        bool, typer.Option("--merge", help="Among your own runs: for archives of your own laboratory.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check it, and say what would be taken in.")] = False,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Take the runs of an archive into the store.

    All of it is checked first. Another laboratory's runs are kept apart, in STORE/labs/NAME, which is a store itself;
    `amlris claims` takes them in. Nothing that is there is replaced: conflicts are shown, and exit code 2 tells them.
    """
    landed = import_archive(store, file, laboratory=lab, merge=merge, own=own_laboratory(), dry_run=dry_run)
    if as_json:
        typer.echo(json.dumps(_values(landed), indent=1))
    else:
        _print(landed, dry_run)
    if landed.count("conflict") or landed.count("busy"):
        raise typer.Exit(2)


def _print(landed: Landed, dry_run: bool) -> None:
    manifest = landed.manifest
    whose = f"laboratory {landed.laboratory}" if landed.laboratory else f"your own runs, from {manifest.laboratory}"
    typer.echo(f"profile {manifest.profile} | {whose} | made by version {manifest.package}")
    typer.echo(
        f"archive {landed.archive}: {len(manifest.runs)} runs, {len(manifest.files)} files, all as the manifest says"
    )
    if landed.ours:
        typer.echo(f"{_runs(landed.runs)} of this very store, trained here and unchanged: nothing is taken in")
        return
    would = "would be " if dry_run else ""
    for outcome, words in (
        ("imported", f"{would}imported"),
        ("more results", f"{would}given further results"),
        ("already there", "already there, the same"),
        ("busy", "left alone"),
        ("conflict", "in conflict: other content under the same name; yours stay as they are"),
    ):
        _list([run for run in landed.runs if run.outcome == outcome], words)
    copies = [run for run in landed.runs if run.copies]
    if copies:
        places = ", ".join(dict.fromkeys(place for run in copies for place in run.copies))
        typer.echo(f"{_runs(copies)} with the very records of {places}: verdicts count them once")
    for run in landed.runs:
        if run.differences:
            _print_conflict(run)
    if not dry_run and any(run.outcome in ("imported", "more results") for run in landed.runs):
        typer.echo(f"in {landed.store.folder}")


def _list(runs: Sequence[RunLanding], words: str) -> None:
    if not runs:
        return
    typer.echo(f"{_runs(runs)} {words}")
    for run in runs[:_SHOWN]:
        typer.echo(f"  {run.run_id}{f': {run.reason}' if run.reason else ''}")
    if len(runs) > _SHOWN:
        typer.echo(f"  and {len(runs) - _SHOWN} more")


def _print_conflict(run: RunLanding) -> None:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(run.run_id), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in ("file", "what", "yours", "the archive's"):
        table.add_column(name, overflow="fold")
    for each in run.differences:
        table.add_row(*map(escape, (each.file, each.what, each.ours, each.theirs)))
    wide_console().print(table)


def _runs(runs: Sequence[RunLanding]) -> str:
    return f"{len(runs)} run{'s' * (len(runs) != 1)}"


def _values(landed: Landed) -> dict[str, object]:
    return {
        "archive": landed.archive,
        "laboratory": landed.laboratory,
        "made_by": landed.manifest.laboratory,
        "this_store": landed.ours,
        "package": landed.manifest.package,
        "profile": landed.manifest.profile,
        "store": str(landed.store.folder),
        "runs": [asdict(run) for run in landed.runs],
    }
