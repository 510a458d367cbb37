"""`amlris status --watch`: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from amlrepro.cli.options import wide_console
from amlrepro.cli.status_view import counts, describe, failure_groups, failure_lines, remark, render, state_of
from amlrepro.suite.overview import Overview, RunView

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from amlrepro.cli.status import Observer

LOOK_SECONDS = 2.0
LINE_SECONDS = 15.0


def watch_store(observer: Observer) -> None:
    """Show how things stand until nothing runs or waits. Ctrl-C ends the watching, not what is watched (exit 130)."""
    console = wide_console()
    try:
        overviews = _live(observer, console) if console.is_terminal else _lines(observer, console)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    if not console.is_terminal:
        for overview in overviews:
            _say(console, f"{overview.profile} | {counts(overview.runs)}")
            for each in overview.experiments:
                _say(console, f"{each.experiment}: {each.filled} of {each.cells} cells")
            for group in failure_groups(overview.runs):
                for line in failure_lines(group):
                    _say(console, line)
    _say(console, "nothing is at work")


def _live(observer: Observer, console: Console) -> list[Overview]:
    from rich.live import Live

    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            overviews = observer.look()
            if not any(overview.at_work for overview in overviews):
                live.update(_screen(overviews, console.width, None), refresh=True)
                return overviews
            live.update(_screen(overviews, console.width, console.height), refresh=True)
            time.sleep(LOOK_SECONDS)


def _screen(overviews: Sequence[Overview], width: int, height: int | None) -> RenderableType:
    """All stores, with as many runs as there is room for. height: lines of the terminal, None for the last picture."""
    from rich.console import Group

    parts: list[RenderableType] = []
    for overview in overviews:
        rows = None
        if height is not None:
            around = 5 + len(overview.experiments) + 3 * bool(overview.experiments)
            around += sum(len(failure_lines(group)) + 2 for group in failure_groups(overview.runs))
            rows = height // len(overviews) - around
        parts += render(overview, width, rows)
    return Group(*parts)


def _lines(observer: Observer, console: Console) -> list[Overview]:
    """One line when a run changes its state, and one for each at work every quarter of a minute."""
    seen: dict[tuple[str, str], str] = {}
    said: dict[tuple[str, str], float] = {}
    while True:
        overviews = observer.look()
        now = time.monotonic()
        for run in (run for overview in overviews for run in overview.runs):
            key, state = (run.profile, run.run_id), state_of(run)
            first = key not in seen and run.state == "done"
            due = run.state == "running" and now - said.get(key, now) >= LINE_SECONDS
            if due or (seen.get(key) != state and not first):
                said[key] = now
                _say(console, _line(run))
            seen[key] = state
        if not any(overview.at_work for overview in overviews):
            return overviews
        time.sleep(LOOK_SECONDS)


def _line(run: RunView) -> str:
    parts = [state_of(run), *(f"{name} {text}" for name, text in describe(run).items() if text), remark(run)]
    return f"{run.run_id}: {', '.join(filter(None, parts))}"


def _say(console: Console, line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)
