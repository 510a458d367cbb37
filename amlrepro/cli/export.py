"""`amlris export`: finished runs in one archive for another store; the store in the formats of other tools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from amlrepro.cli.options import DEFAULT_STORE, JsonOption, StoreOption
from amlrepro.cli.runs import choose_runs
from amlrepro.config import PROFILES
from amlrepro.errors import UserError, unknown_name
from amlrepro.suite.exported import Exported
from amlrepro.suite.sharing.origins import require_laboratory
from amlrepro.suite.sharing.packing import Packed, export_archive
from amlrepro.suite.store import Store


def export(
    file: Annotated[
        Path | None, typer.Argument(help="An archive of finished runs, for `amlris import`.", show_default=False)
    ] = None,
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
    lab: Annotated[
        str | None,
        typer.Option("--lab", metavar="NAME", help="FILE: your laboratory.", show_default="the configuration file's"),
    ] = None,
    checkpoints: Annotated[
        bool, typer.Option("--checkpoints", help="FILE: with the last and the best weights.")
    ] = False,
    profile: Annotated[str, typer.Option("--profile", help=f"Whose store: {', '.join(PROFILES)}.")] = "paper",
    store: StoreOption = DEFAULT_STORE,
    force: Annotated[bool, typer.Option("--force", help="Replace files of the same names.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Export the store: finished runs as FILE.zip, histories for TensorBoard, records as a data set.

    FILE.zip holds records, results, configurations and provenance, without host names, commands, paths and logs; the
    same runs give the same file. Nothing in the store is changed.
    """
    if file is None and tensorboard is None and huggingface is None:
        raise UserError("nothing to export to", expected="a FILE.zip, --tensorboard DIR or --huggingface DIR")
    if file is None and (lab is not None or checkpoints or as_json):
        raise UserError("--lab, --checkpoints and --json are about an archive", expected="amlris export FILE.zip")
    home, run_ids = chosen_runs(store, profile, only)
    if file is not None:
        packed = export_archive(home, file, run_ids, require_laboratory(lab), checkpoints=checkpoints, force=force)
        _tell_archive(packed, as_json)
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


def _tell_archive(done: Packed, as_json: bool) -> None:
    manifest = done.manifest
    if as_json:
        values = {"file": str(done.file), "archive": done.digest, "bytes": done.size, "not_exported": done.left_out}
        values |= manifest.model_dump(mode="json", exclude={"files"}) | {"files": len(manifest.files)}
        typer.echo(json.dumps(values, indent=1))
        return
    results = sum(file.path.endswith(".json") and "/evals/" in file.path for file in manifest.files)
    size = f"{done.size / 1e9:.1f} GB" if done.size >= 1e9 else f"{done.size / 1e6:.2f} MB"
    weights = "with" if manifest.checkpoints else "without"
    typer.echo(f"profile {manifest.profile} | laboratory {manifest.laboratory} | {weights} weights")
    typer.echo(f"{done.file}: {len(manifest.runs)} runs, {results} evaluations, {len(manifest.files)} files, {size}")
    typer.echo(f"left out of every run: {'; '.join(manifest.left_out)}")
    for run_id, reason in done.left_out.items():
        typer.echo(f"not exported: {run_id}: {reason}")
    typer.echo(f"archive {done.digest}")
    typer.echo(f"whoever gets the file: amlris import {done.file.name}; it shows the same archive number")
