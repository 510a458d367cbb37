"""`amlris bench`: what each measure for speed brings, two sides measured alternately, and whether results stay."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from amlrepro.bench import catalogue, result
from amlrepro.bench.spec import Benchmark, Kind, Setting
from amlrepro.cli.bench_view import print_results
from amlrepro.cli.options import JsonOption
from amlrepro.errors import UserError

_SIZES: dict[Kind, str] = {"cpu": "demo", "cuda": "paper"}


def bench(
    names: Annotated[list[str] | None, typer.Argument(help="Benchmarks; without names the usual ones.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="Say which there are, and measure nothing.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Show what was measured before, and measure nothing.")] = False,
    sizes: Annotated[
        str | None,
        typer.Option(help="Whose sizes: demo, or paper (448 x 448, Swin-B, batch 16; the default on a GPU)."),
    ] = None,
    rounds: Annotated[int | None, typer.Option(min=4, help="Alternating rounds, in place of each one's own.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = result.FOLDER,
    as_json: JsonOption = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table as Markdown.")] = False,
) -> None:
    """Measure what AML costs and what each measure for speed brings, on the device at hand.

    The two sides of a benchmark alternate, so that a busy machine slows both; the answer is a ratio with its quartiles,
    held against a target, and a gate that says whether the results stayed the same. Results are kept and calibrate
    `amlris plan`.
    """
    chosen = catalogue.choose(names or [])
    if list_:
        _list(as_json)
        return
    if show:
        found = result.read_results(out, names or [])
        if not found:
            raise UserError("nothing has been measured", where=out, hint="amlris bench")
        print_results(found, as_json, markdown)
        return
    done, failed = _measure(chosen, sizes, rounds, threads, out)
    print_results(done, as_json, markdown)
    if failed:
        raise typer.Exit(1)


def _measure(
    chosen: Sequence[Benchmark], sizes: str | None, rounds: int | None, threads: int, out: Path
) -> tuple[list[dict[str, Any]], list[str]]:
    """Run and keep; returns the results, and the names of those that failed."""
    import torch
    from rich.console import Console

    from amlrepro.bench.isolated import run_isolated
    from amlrepro.suite.profile import load_profile

    kind: Kind = "cuda" if torch.cuda.is_available() else "cpu"
    setting = Setting(sizes or _SIZES[kind], kind, threads, rounds)
    load_profile(setting.sizes)
    console = Console(stderr=True)
    done, failed = [], []
    for number, each in enumerate(chosen, start=1):
        begin = time.monotonic()
        try:
            measured = run_isolated(each.name, setting)
        except (UserError, RuntimeError) as error:  # the others can still be measured
            console.print(f"{each.name} was not measured: {error}", style="red", highlight=False, markup=False)
            failed.append(each.name)
            continue
        result.write_result(out, measured)
        done.append(measured)
        took = f"{time.monotonic() - begin:.0f} s"
        console.print(f"{number}/{len(chosen)} {each.name} ({took}): {each.what}", highlight=False, markup=False)
    return done, failed


def _list(as_json: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    if as_json:
        import json

        rows = [{"name": b.name, "what": b.what, "against": b.against, "usual": b.usual} for b in catalogue.BENCHMARKS]
        typer.echo(json.dumps(rows))
        return
    table = Table("name", "what", "against", "by default")
    for each in catalogue.BENCHMARKS:
        table.add_row(each.name, each.what, each.against, "yes" if each.usual else "no")
    Console().print(table)
