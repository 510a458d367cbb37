"""`amlris bench`: what each measure for speed brings, two sides measured alternately, and whether results stay."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from amlrepro.bench import catalogue, result
from amlrepro.bench.spec import Benchmark, Kind, Setting
from amlrepro.cli.options import JsonOption
from amlrepro.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

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
        _print(found, as_json)
        return
    failed = _measure(chosen, sizes, rounds, threads, out, as_json)
    if failed:
        raise typer.Exit(1)


def _measure(
    chosen: Sequence[Benchmark], sizes: str | None, rounds: int | None, threads: int, out: Path, as_json: bool
) -> list[str]:
    """Run, keep and print; returns the names of those that failed."""
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
        console.print(f"{number}/{len(chosen)} {each.name}: {each.what}", highlight=False)
        try:
            measured = run_isolated(each.name, setting)
        except (UserError, RuntimeError) as error:  # the others can still be measured
            console.print(f"not measured: {error}", style="red", highlight=False, markup=False)
            failed.append(each.name)
            continue
        result.write_result(out, measured)
        done.append(measured)
    if done:
        _print(done, as_json)
    return failed


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


def _print(results: Sequence[dict[str, Any]], as_json: bool) -> None:
    """The table of targets for each device and sizes among the results."""
    from rich.console import Console

    if as_json:
        import json

        typer.echo(json.dumps(list(results)))
        return
    console = Console()
    for device, sizes in dict.fromkeys((each["device"], each["sizes"]) for each in results):
        _table(console, [each for each in results if (each["device"], each["sizes"]) == (device, sizes)])


def _table(console: Console, results: Sequence[dict[str, Any]]) -> None:
    from rich.table import Table

    first = results[0]
    table = Table(title=f"{first['device']}, {first['sizes']} sizes, PyTorch {first['torch']}", title_justify="left")
    for name, justify in (("what", "left"), ("against", "left"), ("target", "right"), ("median", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    table.add_column("quartiles", justify="right")
    table.add_column("reached")
    table.add_column("same results")
    for each in results:
        value = each["value"]
        spread = f"{_number(value['q1'], each)} to {_number(value['q3'], each)}"
        reached = {True: "[green]yes[/]", False: "[red]no[/]", None: "-"}[each["met"]]
        median = _number(value["median"], each)
        table.add_row(each["what"], each["against"], _target(each), median, spread, reached, _gate(each["gate"]))
    console.print(table)


def _number(value: float, result: dict[str, Any]) -> str:
    return f"{100 * (value - 1):+.1f} %" if result["reads"] == "overhead" else f"{value:.3g} {result['unit']}"


def _target(result: dict[str, Any]) -> str:
    target = result["target"]
    if target is None:
        return "-"
    sign = "at least" if result["reads"] == "speedup" else "at most"
    return f"{sign} {_number(target['value'], result)}"


def _gate(gate: dict[str, Any] | None) -> str:
    if gate is None:
        return "-"
    found = f"{gate['found']:.6g}" if isinstance(gate["found"], float) else str(gate["found"])
    return f"{'[green]yes[/]' if gate['passed'] else '[red]NO[/]'}: {gate['what']} {found} ({gate['bound']})"
