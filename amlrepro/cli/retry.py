"""`amlris retry`: do failed or cancelled runs again, as they were asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from amlrepro.cli.carry_out import WorkOptions, carry_out
from amlrepro.cli.groups import with_groups
from amlrepro.cli.options import DEFAULT_STORE, Opened, StoreOption
from amlrepro.cli.runs import AnyProfile, choose_runs
from amlrepro.cli.status_view import few_or_counts
from amlrepro.errors import UserError
from amlrepro.launch.submissions import changing
from amlrepro.suite.cancel import clear_cancel
from amlrepro.suite.inputs import Inputs
from amlrepro.suite.lease import held
from amlrepro.suite.orders import Order, read_orders
from amlrepro.suite.overview import AT_WORK, look
from amlrepro.suite.plan import PlannedRun
from amlrepro.suite.profile import load_profile
from amlrepro.suite.store import Store


@with_groups
def retry(
    work: WorkOptions,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN|EXPERIMENT...", help="Run ids, beginnings of them, or tables.", show_default="all"),
    ] = None,
    profile: AnyProfile = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Do runs again that failed; named ones also when they were cancelled or interrupted.

    They go on from their last checkpoint with all that was asked of them, as the command that asked would have it.
    """
    work.check()
    by_store: dict[str, tuple[Store, list[str]]] = {}
    for home, run_id in choose_runs(store, profile, names or []):
        by_store.setdefault(home.profile, (home, []))[1].append(run_id)
    groups = [group for home, run_ids in by_store.values() for group in _groups(home, run_ids, bool(names), work)]
    if not groups:
        typer.echo("nothing to do again" if names else "no run has failed")
    for opened in groups:
        if not work.dry_run:
            for run_id in opened.plan.runs:
                clear(opened.store, run_id)
        carry_out(opened, work, lambda: typer.echo("amlris report writes the tables anew"))


def clear(store: Store, run_id: str) -> None:
    """Take back what keeps a run from being done again: a request to cancel, the record of a failure."""
    run = store.run(run_id)
    clear_cancel(run)
    with changing(run):
        state = run.read_state()
        if state and state.get("state") != "queued" and held(run) is None:
            run.write_state("queued")


def _groups(store: Store, run_ids: list[str], named: bool, work: WorkOptions) -> list[Opened]:
    """The runs to do again as plans, one for each source of data."""
    views = look(store, run_ids=run_ids).runs
    others = [view for view in views if named and view.state in (*AT_WORK, "done")]
    if others:
        typer.echo(f"nothing to do again of {few_or_counts(others)}")
    wanted = [v.run_id for v in views if v.state == "failed" or (named and v.state not in (*AT_WORK, "done"))]
    orders = read_orders(store)
    found: dict[tuple[str, str | None], list[str]] = {}
    newest: dict[tuple[str, str | None], Order] = {}
    for run_id in wanted:
        asking = [order for order in orders if run_id in order.values["runs"]]
        if not asking:
            hint = "give the amlris run command again that needs it"
            raise UserError(f"nothing says what was asked of {run_id}", where=store.folder / "orders", hint=hint)
        key = asking[-1].values["source"], asking[-1].values["data_root"]
        found.setdefault(key, []).append(run_id)
        newest[key] = asking[-1]
    return [_opened(store, newest[key], members, orders, work) for key, members in found.items()]


def _opened(store: Store, order: Order, run_ids: list[str], orders: Sequence[Order], work: WorkOptions) -> Opened:
    plan = order.plan([])
    plan.runs = {run_id: _all_asked(run_id, orders, work.device) for run_id in run_ids}
    plan.seeds = tuple(sorted({run.config.seed for run in plan.runs.values()}))
    root = Path(plan.data_root) if plan.data_root else None
    return Opened(store, plan, load_profile(store.profile), Inputs(plan.source, root))


def _all_asked(run_id: str, orders: Sequence[Order], device: str | None) -> PlannedRun:
    """A run with what all orders together ask of it; where and how it runs is as the newest has it."""
    runs = [order.planned(run_id) for order in orders if run_id in order.values["runs"]]
    milestones = tuple(sorted({epoch for run in runs for epoch in run.milestones}))
    until = max(run.until for run in runs)
    kept = sorted({epoch for run in runs for epoch in run.config.exec.milestones})
    changes = {"exec.until": until, "exec.milestones": tuple(kept), **({"exec.device": device} if device else {})}
    return replace(
        runs[-1],
        config=runs[-1].config.with_changes(changes),
        until=until,
        milestones=milestones,
        evals=list(dict.fromkeys(e for run in runs for e in run.evals)),
        probes=list({probe.probe_id: probe for run in runs for probe in run.probes}.values()),
        used_by=list(dict.fromkeys(user for run in runs for user in run.used_by)),
    )
