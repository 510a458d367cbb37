"""`amlris status` and `amlris logs`: what is in the store, what is at work, and what a run said."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from amlrepro.cli.options import DEFAULT_STORE, JsonOption, StoreOption, wide_console
from amlrepro.cli.runs import find_run, stores
from amlrepro.errors import UserError
from amlrepro.suite.store import Store

AnyProfile = Annotated[str | None, typer.Option("--profile", help="Only this profile.", show_default="all")]


def status(profile: AnyProfile = None, store: StoreOption = DEFAULT_STORE, as_json: JsonOption = False) -> None:
    """List the runs of the store: state, epoch, evaluations."""
    rows = [_row(each, run_id) for each in stores(store, profile) for run_id in each.run_ids()]
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    from rich import box
    from rich.table import Table

    if not rows:
        typer.echo(f"no runs in {store}")
        return
    table = Table("profile", "run", "state", box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in ("epoch", "evaluations"):
        table.add_column(name, justify="right")
    table.add_column("remark", overflow="fold")
    for row in rows:
        stale = "stale: made by an older version" if row["stale"] else None
        remark = (row["reason"] or "").partition("\n")[0] or row["owner"] or ""
        epoch = f"{row['epoch']}/{row['horizon'] or '?'}"
        state = f"{row['state']}"
        table.add_row(row["profile"], row["run_id"], state, epoch, str(row["evaluations"]), stale or remark)
    wide_console().print(table)


def logs(
    run: Annotated[str, typer.Argument(help="Run id, or the beginning of one.")],
    profile: AnyProfile = None,
    store: StoreOption = DEFAULT_STORE,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many of the last lines.")] = 40,
) -> None:
    """Print the end of a run's log."""
    home, run_id = find_run(store, profile, run)
    path = home.run(run_id).log
    if not path.exists():
        raise UserError("this run has no log yet", where=path)
    typer.echo("\n".join(path.read_text("utf-8", "replace").splitlines()[-lines:]))


def _row(store: Store, run_id: str) -> dict[str, Any]:
    known = store.status(run_id)
    run = store.run(run_id)
    owner = known.owner
    return {
        "profile": store.profile,
        "run_id": run_id,
        "state": known.state,
        "epoch": known.epoch,
        "horizon": run.read_state().get("horizon"),
        "evaluations": len(list(run.evals.glob("*.parquet"))) if run.evals.is_dir() else 0,
        "stale": known.stale,
        "reason": known.reason,
        "owner": f"process {owner.pid} on {owner.host}" if owner else None,
    }
