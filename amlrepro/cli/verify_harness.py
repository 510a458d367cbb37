"""`amlris verify-harness`: official checkpoints against what is published of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from amlrepro.cli.evaluate import Progress
from amlrepro.cli.options import DEFAULT_STORE, DataRootOption, ImageRootOption, JsonOption, StoreOption, wide_console
from amlrepro.config import EvalConfig
from amlrepro.data.specs import dataset_spec
from amlrepro.errors import UserError, unknown_name
from amlrepro.metrics.compute import metric
from amlrepro.models.registry import get_spec
from amlrepro.suite.published import Published, pick_published
from amlrepro.suite.settings import find_data_root, load_settings, settings_path
from amlrepro.suite.store import Store
from amlrepro.verdicts.harness import Harness, HarnessRow, as_json, read_harness
from amlrepro.verdicts.verify import choose_checkpoints, verify_checkpoint

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

PROFILES = ("paper", "pilot")  # of full-size models


def verify_harness(
    checkpoint: Annotated[
        list[str] | None,
        typer.Option(
            "--checkpoint", metavar="ID=FILE", help="As refcoco+=FILE (CARIS) or detris-refcoco=FILE; repeat."
        ),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--folder", metavar="DIR", help="Checkpoints here whose names say their data set.")
    ] = None,
    data_root: DataRootOption = None,
    image_root: ImageRootOption = None,
    vocab: Annotated[Path | None, typer.Option(help="vocab.txt of BERT or merges.txt of CLIP, or its folder.")] = None,
    profile: Annotated[str, typer.Option("--profile", help=f"Whose store: {', '.join(PROFILES)}.")] = "paper",
    store: StoreOption = DEFAULT_STORE,
    batch: Annotated[int, typer.Option(min=1, help="Least number of sentences at a time.")] = 32,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    force: Annotated[bool, typer.Option("--force", help="Evaluate again what was evaluated before.")] = False,
    as_json_: JsonOption = False,
) -> None:
    """Evaluate official checkpoints and compare with their published values. Before CARIS's on RefCOCO, RefCOCO+ and
    RefCOCOg have passed, every verdict says that the harness is unverified.

    Exit code 0: all values of the checkpoints given are as published; 1: some are not. Without checkpoints it shows
    what was found before."""
    if profile not in PROFILES:
        raise unknown_name("profile", profile, PROFILES, "--profile: official checkpoints are of full size")
    home = Store(store, profile)
    chosen = choose_checkpoints(checkpoint or [], folder)
    if chosen:
        root = _data_root(data_root)
        if vocab is not None and not vocab.exists():
            raise UserError("no such vocabulary", where="--vocab", found=vocab)
        images = image_root or (load_settings().image_root if data_root is None else None)
        score = Scorer(
            {"data_root": str(root), "image_root": str(images) if images else None, "eval_batch": batch}, device, vocab
        )
        for name, file in chosen.items():
            verify_checkpoint(home, pick_published(name), file, root, score, _say, force)
    harness = read_harness(home)
    rows = [row for row in harness.rows if row.checkpoint in chosen] if chosen else list(harness.rows)
    if as_json_:
        typer.echo(json.dumps(as_json(harness), indent=1))
    else:
        _print(wide_console(), harness, rows, told=bool(chosen))
    passed = all(row.passed for row in rows) if chosen else harness.verified
    raise typer.Exit(0 if passed else 1)


class Scorer:
    """Evaluates files; a checkpoint stays loaded for its next split."""

    def __init__(self, execution: dict[str, Any], device: str, vocab: Path | None) -> None:
        self._execution, self._device, self._vocab = execution, device, vocab
        self._open: tuple[Path, str, Any] | None = None

    def __call__(self, file: Path, published: Published, asked: EvalConfig, folder: Path) -> None:
        """Evaluate and write the records into `folder`; raises `UserError` for a wrong file, picture or vocabulary."""
        from rich.console import Console

        from amlrepro.engine.evaluate import write_evaluation
        from amlrepro.engine.numerics import choose_device
        from amlrepro.engine.subject import evaluate_subject, open_subject

        if self._open is None or self._open[:2] != (file, published.id):
            self._open = None  # let go of the other's memory first
            subject = open_subject(file, published.model, published.data, published.split_by, self._vocab)
            self._open = file, published.id, subject
        subject, device = self._open[2], choose_device(self._device)
        with Progress(Console(stderr=True)) as progress:
            records, evaluation, config = evaluate_subject(subject, asked, self._execution, device, progress.update)
        write_evaluation(folder, records, evaluation, subject.described(), config, subject.seen(config, records))


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _data_root(flag: Path | None) -> Path:
    root = find_data_root(flag)
    if root is None:
        raise UserError(
            "official checkpoints are evaluated on real data, and no data root is given",
            expected="a folder that holds refcoco/, refcoco+/, refcocog/ (refs and instances.json) and the COCO images",
            hint=f"name it by --data-root DIR, AMLRIS_DATA or data_root in {settings_path()}",
        )
    return root


def _print(console: Console, harness: Harness, rows: Sequence[HarnessRow], told: bool) -> None:
    console.print(_table(rows))
    shown = [pick_published(name) for name in dict.fromkeys(row.checkpoint for row in rows)]
    for published in {each.source: each for each in shown}.values():
        models = dict.fromkeys(get_spec(each.model).title for each in shown if each.source == published.source)
        console.print(f"published ({', '.join(models)}): {published.source}", style="dim", markup=False)
    for published in shown if told else ():
        if published.remark:
            console.print(f"{published.id}: {published.remark}", style="dim", markup=False)
    console.print(harness.says, style="green" if harness.verified else "yellow", markup=False)
    if not told and not harness.verified:
        console.print(
            "To evaluate: amlris verify-harness --checkpoint refcoco+=FILE ... --data-root ROOT", markup=False
        )


def _table(rows: Sequence[HarnessRow]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0), collapse_padding=True)
    for name in ("model", "data", "split", "metric"):
        table.add_column(name)
    for name in ("published", "ours", "diff."):
        table.add_column(name, justify="right")
    table.add_column("")
    before = ""
    for row in rows:
        spec = dataset_spec(row.dataset)
        owner = f" ({row.split_by})" if row.split_by else ""
        ours = "-" if row.value is None else f"{row.value:.2f}"
        difference = "" if row.difference is None else f"{row.difference:+.2f}"
        verdict = f"[green]within {row.allowed:.2f}[/green]" if row.passed else f"[yellow]{row.reason}[/yellow]"
        names = [get_spec(row.model).title, f"{spec.title}{owner}"] if row.checkpoint != before else ["", ""]
        before = row.checkpoint
        table.add_row(*names, row.split, metric(row.metric).title, row.published.text, ours, difference, verdict)
    return table
