"""`amlris logs`: what a run said, and what it says now."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from amlrepro.cli.options import DEFAULT_STORE, StoreOption
from amlrepro.cli.runs import AnyProfile, find_run
from amlrepro.errors import UserError
from amlrepro.suite.overview import AT_WORK, Pulse, RunView, look
from amlrepro.suite.store import Store

POLL_SECONDS = 0.5
LOOK_SECONDS = 2.0
BLOCK = 1 << 16


def logs(
    run: Annotated[str, typer.Argument(help="Run id, or the beginning of one.")],
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what it says until the run ends, restarts included.")
    ] = False,
    profile: AnyProfile = None,
    store: StoreOption = DEFAULT_STORE,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the last lines.")] = 40,
) -> None:
    """Print the end of a run's log."""
    home, run_id = find_run(store, profile, run)
    path = home.run(run_id).log
    if not path.exists() and not follow:
        raise UserError("this run has no log yet", where=path)
    text, offset = last_lines(path, lines)
    if text:
        typer.echo(text)
    if follow:
        try:
            _follow(home, run_id, path, offset)
        except KeyboardInterrupt:
            raise typer.Exit(130) from None


def last_lines(path: Path, count: int) -> tuple[str, int]:
    """The last lines of a file, read from its end, and its size in bytes; nothing of one that is not there."""
    if not path.exists():
        return "", 0
    with path.open("rb") as f:
        size = begin = f.seek(0, 2)
        data = b""
        while begin and data.count(b"\n") <= count:
            begin = max(0, begin - BLOCK)
            f.seek(begin)
            data = f.read(size - begin)
    shown = data.decode("utf-8", "replace").splitlines()
    return "\n".join(shown[max(0, len(shown) - count) :]), size


def _follow(home: Store, run_id: str, path: Path, offset: int) -> None:
    """Print what is added until nobody is at work on the run nor about to be, then how it stands."""
    pulse, looked = Pulse(), float("-inf")
    state = _standing(home, run_id, pulse)
    while True:
        if time.monotonic() - looked >= LOOK_SECONDS:
            looked, state = time.monotonic(), _standing(home, run_id, pulse)
        offset = _print_new(path, offset)
        if state.state not in AT_WORK:
            _print_new(path, offset, whole=True)
            break
        time.sleep(POLL_SECONDS)
    reason = (state.reason or "").partition("\n")[0]
    typer.echo(f"{run_id}: {state.state}" + (f", {reason}" if reason else ""), err=True)


def _standing(home: Store, run_id: str, pulse: Pulse) -> RunView:
    return look(home, run_ids=[run_id], pulse=pulse).runs[0]


def _print_new(path: Path, offset: int, whole: bool = False) -> int:
    """Print the lines that were added since, an unfinished one only with `whole`; where the next begins. A log that has
    become shorter was begun anew."""
    if not path.exists():
        return 0
    with path.open("rb") as f:
        f.seek(offset if f.seek(0, 2) >= offset else 0)
        offset, added = f.tell(), f.read()
    ready = added if whole else added[: added.rfind(b"\n") + 1]
    if ready:
        typer.echo(ready.decode("utf-8", "replace"), nl=False)
    return offset + len(ready)
