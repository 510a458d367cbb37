"""`amlris cancel`: stop runs, wherever they run or wait."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from amlrepro.cli.options import DEFAULT_STORE, StoreOption
from amlrepro.cli.runs import AnyProfile, choose_runs
from amlrepro.cli.status_view import FEW, few_or_counts
from amlrepro.errors import UserError
from amlrepro.launch.submissions import begun_path, open_jobs, submissions_folder
from amlrepro.suite.cancel import request_cancel
from amlrepro.suite.overview import AT_WORK, RunView, look
from amlrepro.suite.store import Store

YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def cancel(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="RUN|EXPERIMENT...", help="Run ids, beginnings of them, or tables.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Everything that runs or waits.")] = False,
    yes: YesOption = False,
    profile: AnyProfile = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Stop runs: those at work save and end, those that wait are not started. Nothing that is done is lost.

    A cancelled run is taken up again by `amlris retry`, or by a new command that needs it.
    """
    if bool(names) == all_:
        raise UserError("say what to cancel", expected="runs or experiments, or --all")
    chosen = _look(choose_runs(store, profile, names or []))
    targets = [(home, view) for home, view in chosen if view.state in AT_WORK or (view.expected and _open(view))]
    running = [view for _, view in targets if view.state == "running"]
    if running and not yes:
        confirm(f"{len(running)} running: {_names(running)}. They save and end; stop them?")
    jobs = [job for home, view in targets for job in _waiting_jobs(home, view.run_id)]
    for home, view in targets:
        request_cancel(home.run(view.run_id))
        typer.echo(f"{view.run_id}: " + ("asked to save and end" if view.state == "running" else "will not be started"))
    if jobs:
        typer.echo(_scancel(jobs))
    others = [pair[1] for pair in chosen if pair not in targets] if names else []
    if others:
        typer.echo(f"nothing to cancel of {few_or_counts(others)}")
    if running:
        typer.echo("saving takes some seconds; amlris status shows when they have ended")
    elif not targets and not others:
        typer.echo("nothing runs or waits")


def confirm(question: str) -> None:
    """Ask on the terminal and end with exit code 1 unless the answer is yes; raises `UserError` where nobody can be
    asked."""
    if not sys.stdin.isatty():
        raise UserError("this asks first, and there is no terminal to ask on", hint="give --yes to have it done")
    if not typer.confirm(question):
        typer.echo("nothing was done")
        raise typer.Exit(1)


def _look(chosen: Sequence[tuple[Store, str]]) -> list[tuple[Store, RunView]]:
    by_store: dict[str, tuple[Store, list[str]]] = {}
    for home, run_id in chosen:
        by_store.setdefault(home.profile, (home, []))[1].append(run_id)
    return [(home, view) for home, run_ids in by_store.values() for view in look(home, run_ids=run_ids).runs]


def _open(view: RunView) -> bool:
    """Whether a launcher may still take the run up."""
    return view.state not in ("done", "cancelled")


def _waiting_jobs(home: Store, run_id: str) -> list[str]:
    """The run's jobs that SLURM has not begun; one that is begun sees the request itself, and saves."""
    folder = submissions_folder(home.folder)
    return [job for _, _, job in open_jobs(home.folder, run_id) if not begun_path(folder, job).exists()]


def _scancel(jobs: Sequence[str]) -> str:
    if shutil.which("scancel") is None:
        return f"SLURM is missing on this machine: jobs {', '.join(jobs)} end as soon as they begin"
    done = subprocess.run(["scancel", *jobs], capture_output=True, text=True, timeout=60)
    if done.returncode:
        return f"scancel says: {done.stderr.strip()}"
    return f"taken out of SLURM's queue: {', '.join(jobs)}"


def _names(views: Sequence[RunView]) -> str:
    named = ", ".join(view.run_id for view in views[:FEW])
    return named + (f" and {len(views) - FEW} more" if len(views) > FEW else "")
