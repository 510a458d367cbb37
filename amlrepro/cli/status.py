"""`amlris status` and `amlris logs`: what is in the store, what is at work, and what a run said."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from amlrepro.cli.options import DEFAULT_STORE, JsonOption, StoreOption, wide_console
from amlrepro.config import PROFILES
from amlrepro.errors import UserError, unknown_name
from amlrepro.suite.store import Store

AnyProfile = Annotated[str | None, typer.Option("--profile", help="Only this profile.", show_default="all")]


def status(profile: AnyProfile = None, store: StoreOption = DEFAULT_STORE, as_json: JsonOption = False) -> None:
    """List the runs of the store: state, epoch, evaluations."""
    rows = [_row(each, run_id) for each in _stores(store, profile) for run_id in each.run_ids()]
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
    runs = {run_id: each for each in _stores(store, profile) for run_id in each.run_ids()}
    found = [run_id for run_id in runs if run_id.startswith(run)]
    if not found:
        raise unknown_name("run", run, runs, store)
    if len(found) > 1 and run not in found:
        raise UserError(f"several runs begin with {run!r}", found=", ".join(found), hint="give more of the id")
    chosen = run if run in found else found[0]
    path = runs[chosen].run(chosen).log
    if not path.exists():
        raise UserError("this run has no log yet", where=path)
    typer.echo("\n".join(path.read_text("utf-8", "replace").splitlines()[-lines:]))


def _stores(root: Any, profile: str | None) -> list[Store]:
    if profile is not None and profile not in PROFILES:
        raise unknown_name("profile", profile, PROFILES)
    return [Store(root, name) for name in PROFILES if profile in (None, name)]


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
