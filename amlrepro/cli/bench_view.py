"""The table of targets that `amlris bench` prints: one for each device and sizes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import typer

from amlrepro.bench.catalogue import BENCHMARKS

_ORDER = {bench.name: place for place, bench in enumerate(BENCHMARKS)}
WIDE = 120  # columns from which on a gate's numbers are shown too


@dataclass(frozen=True)
class Row:
    """A benchmark's line. what, against: its two sides; target, median, spread: of their ratio; more: what else was
    measured; reached, same: `yes`, `NO` or a dash; found: by what `same` was judged."""

    what: str
    against: str
    target: str
    median: str
    spread: str
    more: str
    reached: str
    same: str
    found: str


def print_results(results: Sequence[dict[str, Any]], as_json: bool, markdown: bool) -> None:
    """Print results as JSON, as Markdown or as a table for people."""
    if as_json:
        typer.echo(json.dumps(list(results)))
        return
    for device, sizes in dict.fromkeys((each["device"], each["sizes"]) for each in results):
        group = [each for each in results if (each["device"], each["sizes"]) == (device, sizes)]
        group.sort(key=lambda each: _ORDER.get(each["name"], len(_ORDER)))
        title = f"{device}, {sizes} sizes, PyTorch {group[0]['torch']}"
        (_markdown if markdown else _table)(title, [row_of(each) for each in group])


def row_of(result: dict[str, Any]) -> Row:
    """A result in words."""
    value, gate = result["value"], result["gate"]
    low, high = (_number(value[key], result) for key in ("q1", "q3"))
    return Row(
        what=result["what"],
        against=result["against"],
        target=_target(result),
        median=_number(value["median"], result) + _unit(result),
        spread=f"{low} to {high}",
        more=str(result["details"].get("shown", "")),
        reached={True: "yes", False: "NO", None: "-"}[result["met"]],
        same="-" if gate is None else "yes" if gate["passed"] else "NO",
        found="" if gate is None else f"{gate['what']}: {_found(gate['found'])} (bound: {gate['bound']})",
    )


def _found(found: object) -> str:
    return f"{found:.6g}" if isinstance(found, float) else str(found)


def _number(value: float, result: dict[str, Any]) -> str:
    return f"{100 * (value - 1):+.1f}" if result["reads"] == "overhead" else f"{value:.3g}"


def _unit(result: dict[str, Any]) -> str:
    return " %" if result["reads"] == "overhead" else f" {result['unit']}"


def _target(result: dict[str, Any]) -> str:
    target = result["target"]
    if target is None:
        return "-"
    sign = "≥" if result["reads"] == "speedup" else "≤"
    return f"{sign} {_number(target['value'], result)}{_unit(result)}"


def _table(title: str, rows: Sequence[Row]) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    colours = {"yes": "[green]yes[/]", "NO": "[red]NO[/]", "-": "-"}
    console = Console()
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("what, and [dim]against what[/]", min_width=28)
    for name in ("target", "median, [dim]quartiles[/]", "reached", "same\nresults"):
        table.add_column(name)
    for row in rows:
        found = row.found if console.width >= WIDE or row.same == "NO" else ""
        measured = "\n".join(filter(None, [f"[bold]{row.median}[/]", f"[dim]{row.spread}[/]", escape(row.more)]))
        same = "\n".join(filter(None, [colours[row.same], f"[dim]{escape(found)}[/]"]))
        what = f"{escape(row.what)}\n[dim]{escape(row.against)}[/]"
        table.add_row(what, row.target, measured, colours[row.reached], same, end_section=True)
    console.print(table)


def _markdown(title: str, rows: Sequence[Row]) -> None:
    typer.echo(f"{title}\n\n| what | against | target | measured | quartiles | reached | same results |")
    typer.echo("|---|---|---|---|---|---|---|")
    for row in rows:
        measured = f"{row.median}; {row.more}" if row.more else row.median
        same = f"{row.same}: {row.found}" if row.found else row.same
        cells = (row.what, row.against, row.target, measured, row.spread, row.reached, same)
        typer.echo(f"| {' | '.join(cells)} |")
    typer.echo("")
