"""`amlris import-log`: logs of the official CARIS and AMLRIS code as numbers without records."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from amlrepro.cli.options import DEFAULT_STORE, JsonOption, StoreOption, parse_seeds, wide_console
from amlrepro.errors import UserError, unknown_name
from amlrepro.metrics.compute import metric
from amlrepro.suite.binding import TRAINING_SETS, bind
from amlrepro.suite.imported import Binding, write_import
from amlrepro.suite.official_log import OfficialLog
from amlrepro.suite.official_reader import read_log
from amlrepro.suite.store import Store

PROFILES = ("paper", "pilot")
SHOWN = 12  # broken lines that are printed


def import_log(
    files: Annotated[list[Path], typer.Argument(help="Logs of training or evaluation.", show_default=False)],
    train: Annotated[
        str | None,
        typer.Option("--train", help=f"Training data: {', '.join(TRAINING_SETS)}.", show_default="the log's"),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", help="DATASET:SPLIT that was evaluated.", show_default="val of the training data"),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option("--preset", help="The row's method.", show_default="baseline for CARIS, released for AMLRIS"),
    ] = None,
    checkpoint: Annotated[
        str | None, typer.Option("--checkpoint", help="Of an evaluation's log: last, best or epoch10.")
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option("--seeds", metavar="N N N", help="One a file, to tell several apart.", show_default="unknown"),
    ] = None,
    profile: Annotated[str, typer.Option("--profile", help=f"Whose store: {', '.join(PROFILES)}.")] = "paper",
    store: StoreOption = DEFAULT_STORE,
    force: Annotated[bool, typer.Option("--force", help="Replace what was imported in the same place.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Keep what logs of the official code say, as numbers without records. A cell that has none of ours shows them,
    marked; they never count among our seeds, in intervals, calculated cells or verdicts.

    Lines that are broken are named, and what they would have said stays unknown."""
    if profile not in PROFILES:
        raise unknown_name("profile", profile, PROFILES, "--profile: the official code is of full size")
    numbers = parse_seeds(seeds)
    if numbers is not None and len(numbers) != len(files):
        raise UserError("one seed a file", where="--seeds", found=f"{len(numbers)} seeds, {len(files)} files")
    home = Store(store, profile)
    read = [read_log(file) for file in files]
    bound = [
        bind(log, train=train, data=data, preset=preset, checkpoint=checkpoint, seed=numbers[k] if numbers else None)
        for k, log in enumerate(read)
    ]
    written = [write_import(home, log, binding, force) for log, binding in zip(read, bound, strict=True)]
    if as_json:
        typer.echo(json.dumps([json.loads(path.read_text("utf-8")) for path in written], indent=1))
        return
    for log, binding in zip(read, bound, strict=True):
        _print(log, binding)


def _print(log: OfficialLog, binding: Binding) -> None:
    console = wide_console()
    code = {"caris": "CARIS", "amlris": "AMLRIS"}.get(log.code or "", "the official code")
    console.print(f"[bold]{log.path.name}[/bold]: {binding.kind} by {code}, {log.lines} lines, as {binding.title}")
    for text in _remarks(log):
        console.print(f"  {text}", markup=False)
    console.print(_table(log))
    for broken in log.broken[:SHOWN]:
        place = f"{log.path.name}:{broken.line}"
        console.print(
            f"  broken {place}: {broken.text[:60]!r}; expected: {broken.expected}", style="yellow", markup=False
        )
    if len(log.broken) > SHOWN:
        console.print(f"  and {len(log.broken) - SHOWN} broken lines more (--json has all)", style="yellow")


def _remarks(log: OfficialLog) -> list[str]:
    out = [f"{log.epochs} whole epochs, {len(log.scores)} evaluations"] if log.is_training else []
    out += [f"went on from an earlier point at line {line}; what it made again counts" for line in log.begun_again]
    if log.skipped:
        out.append(f"{log.skipped} batches skipped for not being finite")
    return out


def _table(log: OfficialLog) -> Any:
    from rich import box
    from rich.table import Table

    names = [name for name in ("oiou", "miou", "pr50", "pr70", "pr90") if _known(log, name)]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for head in ("after epoch", *(metric(name).title for name in names), "line"):
        table.add_column(head, justify="right")
    for scores in log.scores:
        numbers = [f"{scores.metrics[name].value:.2f}" if name in scores.metrics else "-" for name in names]
        epoch = "-" if scores.after is None else f"{scores.after}{' *' if scores.better else ''}"
        table.add_row(epoch, *numbers, str(scores.line))
    if any(scores.better for scores in log.scores):
        table.caption, table.caption_justify = "* the best so far, by oIoU", "left"
    return table


def _known(log: OfficialLog, name: str) -> Sequence[Any]:
    return [scores for scores in log.scores if name in scores.metrics]
