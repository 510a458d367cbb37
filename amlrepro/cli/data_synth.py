"""`amlris data synth`: make the synthetic data sets."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer


def synth(
    root: Annotated[Path, typer.Argument(help="Folder to make; must be new, empty, or hold synthetic data.")],
    images: Annotated[int, typer.Option("--images", min=1, help="Train pictures of each data set.")] = 400,
    eval_images: Annotated[int, typer.Option("--eval-images", min=1, help="Pictures of every other split.")] = 60,
    size: Annotated[int, typer.Option("--size", min=32, help="Short side of the pictures in pixels.")] = 112,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of all scenes.")] = 0,
    noise: Annotated[float, typer.Option("--noise", min=0, max=3, help="Strength of texture and noise.")] = 1.0,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Processes (default: one a CPU).")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace synthetic data made with other settings.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Make synthetic scenes in the official formats of RefCOCO, RefCOCO+, RefCOCOg and gRefCOCO."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from amlrepro.data.synth import ensure_synth, synth_manifest
    from amlrepro.sections import SynthConfig

    config = SynthConfig(seed=seed, image_size=size, train_images=images, eval_images=eval_images, noise=noise)
    columns = (TextColumn("drawing scenes"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    drawn = 0

    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("scenes", total=None)

        def show(done: int, total: int) -> None:
            nonlocal drawn
            drawn = done
            bar.update(task, completed=done, total=total)

        ensure_synth(config, root, show, workers, force=force)
    manifest = synth_manifest(root) or {}
    if as_json:
        typer.echo(json.dumps({"root": str(root), "made": drawn, **manifest}))
    else:
        _print_counts(root, drawn, manifest["counts"])


def _print_counts(root: Path, drawn: int, counts: dict[str, dict[str, dict[str, int]]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("data set", "split")
    for name in ("refs", "sentences", "images"):
        table.add_column(name, justify="right")
    for dataset, splits in counts.items():
        for split, numbers in splits.items():
            table.add_row(dataset, split, *(f"{numbers[key]:,}" for key in ("refs", "sentences", "images")))
    console = Console()
    console.print(table)
    console.print(f"{f'made {drawn:,} pictures' if drawn else 'already there'}: {root}", soft_wrap=True)
