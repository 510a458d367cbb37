"""`amlris export`: what is in the store, in the formats of other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from amlrepro.cli.options import DEFAULT_STORE, StoreOption
from amlrepro.cli.runs import choose_runs
from amlrepro.config import PROFILES
from amlrepro.errors import UserError, unknown_name
from amlrepro.suite.exported import Exported
from amlrepro.suite.store import Store


def export(
    tensorboard: Annotated[
        Path | None, typer.Option("--tensorboard", metavar="DIR", help="Event files for TensorBoard, a folder a run.")
    ] = None,
    huggingface: Annotated[
        Path | None, typer.Option("--huggingface", metavar="DIR", help="A data set of the records, with its card.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="RUN", help="A run, the beginning of one, or an experiment; may be repeated."),
    ] = None,
    profile: Annotated[str, typer.Option("--profile", help=f"Whose store: {', '.join(PROFILES)}.")] = "paper",
    store: StoreOption = DEFAULT_STORE,
    force: Annotated[bool, typer.Option("--force", help="Replace files of the same names.")] = False,
) -> None:
    """Export the store: histories for TensorBoard, records as a data set. Nothing in the store is changed."""
    if tensorboard is None and huggingface is None:
        raise UserError("nothing to export to", expected="--tensorboard DIR or --huggingface DIR")
    home, run_ids = chosen_runs(store, profile, only)
    if tensorboard is not None:
        from amlrepro.suite.tensorboard import export_tensorboard

        _tell(export_tensorboard(home, run_ids, tensorboard, force), f"tensorboard --logdir {tensorboard}")
    if huggingface is not None:
        from amlrepro.suite.record_dataset import export_records

        done = export_records(home, run_ids, huggingface, force, subjects=only is None)
        _tell(done, f'datasets.load_dataset("{huggingface}", "evaluations")')


def chosen_runs(root: Path, profile: str, names: list[str] | None) -> tuple[Store, list[str]]:
    """The store of a profile and the runs in it that are meant, all without names; raises `UserError` where there is
    none."""
    if profile not in PROFILES:
        raise unknown_name("profile", profile, PROFILES)
    home = Store(root, profile)
    there = home.run_ids()
    if not there:
        others = [name for name in PROFILES if Store(root, name).run_ids()]
        hint = f"there are runs of {' and '.join(others)}: --profile {others[0]}" if others else None
        raise UserError("this store has no runs", where=home.folder, hint=hint)
    if not names:
        return home, there
    return home, [run_id for _, run_id in choose_runs(root, profile, names) if run_id in there]


def _tell(done: Exported, how: str) -> None:
    typer.echo(f"{len(done.files)} files in {done.folder}; to open them: {how}")
    for line in done.left_out:
        typer.echo(f"left out: {line}")
