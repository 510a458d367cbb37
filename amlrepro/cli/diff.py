"""`amlris diff`: two runs side by side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from amlrepro.cli.options import DEFAULT_STORE, JsonOption, StoreOption, wide_console
from amlrepro.cli.runs import AnyProfile, find_run
from amlrepro.errors import UserError
from amlrepro.suite.diff import Agreement, Curve, Pair, Result, RunDiff, as_json, compare_runs

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

BARS = "▁▂▃▄▅▆▇█"
POINTS = 24  # of a sparkline
Run = Annotated[str, typer.Argument(help="Run id, or the beginning of one.", show_default=False)]


def diff(
    first: Run,
    second: Run,
    profile: AnyProfile = None,
    store: StoreOption = DEFAULT_STORE,
    all_: Annotated[bool, typer.Option("--all", help="Also what is the same.")] = False,
    as_json_: JsonOption = False,
) -> None:
    """Set two runs side by side: configuration, environment, curves, results with paired intervals of their difference,
    and agreement sample by sample. Shows what differs."""
    pair = [find_run(store, profile, name) for name in (first, second)]
    for home, run_id in pair:
        if not home.run(run_id).config.exists():
            raise UserError("this run has not begun", where=home.run(run_id).path)
    compared = compare_runs(pair[0], pair[1])
    if as_json_:
        typer.echo(json.dumps(as_json(compared, all_), indent=1))
        return
    _print(wide_console(), compared, [home.profile for home, _ in pair], all_)


def _print(console: Console, compared: RunDiff, profiles: Sequence[str], everything: bool) -> None:
    if compared.watermark:
        console.print(f"No evidence about the paper: {compared.watermark}", style="bold yellow", markup=False)
    for letter, run_id, profile in zip("AB", (compared.first, compared.second), profiles, strict=True):
        console.print(f"{letter}  {run_id}  ({profile})", markup=False, soft_wrap=True)
    _print_pairs(console, "configuration", compared.config, everything)
    _print_pairs(console, "environment", compared.environment, everything)
    curves = [each for each in compared.curves if everything or not each.same]
    _head(console, "curves", len(compared.curves) - len(curves), bool(compared.curves))
    if curves:
        console.print(_curves(curves))
    results = [each for each in compared.results if everything or not each.same]
    _head(console, "results", len(compared.results) - len(results), bool(compared.results))
    if results:
        console.print(_results(results))
    if compared.agreements:
        _head(console, "sample by sample", 0, True)
        console.print(_agreements(compared.agreements))
    for remark in compared.remarks:
        console.print(remark, style="dim", markup=False)


def _head(console: Console, title: str, same: int, any_: bool) -> None:
    said = f"  ({same} the same)" if same else "" if any_ else "  (none)"
    console.print(f"\n[bold]{title}[/bold]{said}")


def _print_pairs(console: Console, title: str, pairs: Sequence[Pair], everything: bool) -> None:
    shown = [each for each in pairs if everything or not each.same]
    _head(console, title, len(pairs) - len(shown), bool(pairs))
    if not shown:
        return
    table = _table("", "A", "B")
    for column in table.columns:
        column.overflow = "fold"
    for each in sorted(shown, key=lambda pair: not pair.matters):
        style = "dim" if each.same or not each.matters else ""
        table.add_row(each.key, _text(each.first), _text(each.second), style=style)
    console.print(table)
    if any(not each.matters for each in shown):
        console.print("dim: cannot make the results differ", style="dim")


def _table(*names: str, right: int = 0) -> Table:
    """right: from which column on numbers stand."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for k, name in enumerate(names):
        table.add_column(name, justify="right" if right and k >= right else "left")
    return table


def _text(value: Any) -> str:
    from rich.markup import escape

    return escape(f"{value:.6g}" if isinstance(value, float) else str(value))


def _curves(curves: Sequence[Curve]) -> Table:
    """A line for each run: its course on the scale of both, first and last value; the largest gap."""
    table = _table("", "", "course", "first", "last", "largest gap", right=3)
    for curve in curves:
        known = [v for v in (*curve.first, *curve.second) if v is not None]
        low, high = min(known), max(known)
        for letter, values in (("A", curve.first), ("B", curve.second)):
            mine = [v for v in values if v is not None]
            ends = (f"{mine[0]:.4g}", f"{mine[-1]:.4g}") if mine else ("-", "-")
            name, gap = (curve.name, _gap(curve)) if letter == "A" else ("", "")
            table.add_row(name, letter, sparkline(values, low, high), *ends, gap)
    return table


def _gap(curve: Curve) -> str:
    """B less A where they are farthest apart."""
    both = [
        (b - a, e)
        for e, a, b in zip(curve.epochs, curve.first, curve.second, strict=True)
        if a is not None and b is not None
    ]
    if not both:
        return "-"
    gap, epoch = max(both, key=lambda each: abs(each[0]))
    return f"{gap:+.4g} at {epoch}" if gap else "none"


def sparkline(values: Sequence[float | None], low: float, high: float, points: int = POINTS) -> str:
    """The values between `low` and `high` as bars, at most `points` evenly picked ones; a space where there is none."""
    count = min(points, len(values))
    picked = [values[round(k * (len(values) - 1) / max(count - 1, 1))] for k in range(count)]
    span = high - low
    top = len(BARS) - 1
    return "".join(" " if v is None else BARS[round(top * (v - low) / span) if span else 0] for v in picked)


def _results(results: Sequence[Result]) -> Table:
    table = _table("evaluation", "metric", "A", "B", "B − A", "95 % (paired)", right=2)
    before = ""
    for each in results:
        numbers = ["-" if value is None else f"{value:.2f}" for value in (each.first, each.second)]
        difference = "" if each.difference is None else f"{each.difference:+.2f}"
        interval = f"{each.interval.low:+.2f} to {each.interval.high:+.2f}" if each.interval else ""
        table.add_row("" if each.evaluation == before else each.evaluation, each.metric, *numbers, difference, interval)
        before = each.evaluation
    return table


def _agreements(agreements: Sequence[Agreement]) -> Table:
    table = _table("evaluation", "samples", "A > B", "B > A", "hit: both", "A only", "B only", "|ΔIoU|", right=1)
    table.columns[0].overflow = "fold"
    table.padding, table.collapse_padding = (0, 1, 0, 0), True
    for each in agreements:
        counts = (each.first_better, each.second_better, *each.hits[:3])
        shares = [f"{100 * count / each.samples:.1f} %" if each.samples else "-" for count in counts]
        table.add_row(each.evaluation, f"{each.samples:,}", *shares, f"{each.mean_distance:.3f}")
    table.caption, table.caption_justify = (
        "A > B: samples with the larger IoU in A. Hit: IoU of at least 0.5. |ΔIoU|: mean.",
        "left",
    )
    return table
