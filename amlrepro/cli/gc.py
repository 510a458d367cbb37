"""`amlris gc`: free what no experiment needs any more, after asking."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from amlrepro.cli.cancel import YesOption, confirm
from amlrepro.cli.options import DEFAULT_STORE, StoreOption, wide_console
from amlrepro.cli.runs import AnyProfile, choose_runs, stores
from amlrepro.errors import UserError
from amlrepro.suite.experiment import load_experiments
from amlrepro.suite.inputs import Inputs
from amlrepro.suite.lease import LeaseHeld
from amlrepro.suite.orders import Order, read_orders
from amlrepro.suite.plan import Plan
from amlrepro.suite.planner import build_plan
from amlrepro.suite.profile import ProfileSpec, load_profile
from amlrepro.suite.retention import Removal, asked_of, removable, remove
from amlrepro.suite.rows import Choices
from amlrepro.suite.settings import load_settings
from amlrepro.suite.store import Store


def gc(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN|EXPERIMENT...", help="Only of these.", show_default="the whole store"),
    ] = None,
    best: Annotated[
        bool, typer.Option("--best", help="The best-validated weights of finished runs too; no experiment uses them.")
    ] = False,
    yes: YesOption = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list.")] = False,
    profile: AnyProfile = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """List what no experiment needs any more, and remove it when told to.

    The optimiser's state of finished runs, weights of milestones all of whose results are there, runs of older
    versions, leftover temporary files. Final weights, results and runs that are not finished stay.
    """
    chosen = choose_runs(store, profile, names) if names else None
    listed: list[tuple[Store, Removal]] = []
    for home in stores(store, profile):
        run_ids = None if chosen is None else [run_id for owner, run_id in chosen if owner.profile == home.profile]
        if home.folder.is_dir() and run_ids != []:
            listed += [(home, removal) for removal in _removable(home, run_ids, best)]
    if not listed:
        typer.echo("nothing to remove")
        return
    _print(listed)
    total = _size(sum(removal.size for _, removal in listed))
    if dry_run:
        return
    if not yes:
        confirm(f"remove all this and free {total}?")
    freed = sum(_remove(home, removal) for home, removal in listed)
    typer.echo(f"freed {_size(freed)}")


def _removable(store: Store, run_ids: list[str] | None, best: bool) -> list[Removal]:
    orders = read_orders(store)
    asked = {}
    reason = None
    try:
        plans = _plans(store, orders)
        reason = next((missing for plan in plans if (missing := _lacking(plan)) is not None), None)
        asked = asked_of(plans, orders) if reason is None else {}
    except UserError as error:
        reason = error.what
    if reason is not None:
        typer.echo(f"{store.profile}: weights of milestones are kept, since what needs them is not known: {reason}")
    return removable(store, orders, asked, run_ids, best=best)


def _plans(store: Store, orders: Sequence[Order]) -> list[Plan]:
    """All shipped experiments, with each choice that was made in this store."""
    spec, experiments = load_profile(store.profile), load_experiments(["all"])
    choices: dict[str, dict[str, Any]] = {}
    for order in orders:
        values = order.values
        choices[repr([values[name] for name in ("source", "data_root", "preset", "seeds", "overrides")])] = values
    usual: dict[str, Any] = {"source": spec.source, "data_root": None, "preset": "inferred", "overrides": {}}
    if spec.source == "synth":
        choices["usual"] = {**usual, "seeds": sorted({*spec.seeds, *_seeds(store)})}
    return [build_plan(experiments, spec, _inputs(spec, store, c), _choices(c)) for c in choices.values()]


def _choices(values: dict[str, Any]) -> Choices:
    return Choices(tuple(values["seeds"]), values["preset"], values["overrides"])


def _inputs(spec: ProfileSpec, store: Store, values: dict[str, Any]) -> Inputs:
    if values["source"] == "synth":
        return Inputs("synth", synth_folder=store.root.absolute() / "data")
    settings = load_settings()
    root = Path(values["data_root"])
    if not root.is_dir():
        raise UserError("the data root is not there", where=root)
    return Inputs("refer", root, None, None, settings.vision_weights, settings.text_weights)


def _lacking(plan: Plan) -> str | None:
    """Data that a plan's experiments lack now, and for which weights may be needed later."""
    if plan.source == "synth":
        return None
    return next((cell.reason for cell in plan.cells if cell.kind == "unavailable"), None)


def _seeds(store: Store) -> set[int]:
    """Seeds of the runs that are there, by their names."""
    ends = [run_id.rpartition("-s")[2] for run_id in store.run_ids()]
    return {int(end) for end in ends if end.isdecimal()}


def _remove(store: Store, removal: Removal) -> int:
    try:
        remove(store, removal)
    except LeaseHeld as error:
        typer.echo(f"{removal.run_id}: left alone, {error.what}", err=True)
        return 0
    return removal.size


def _print(listed: Sequence[tuple[Store, Removal]]) -> None:
    from rich import box
    from rich.table import Table

    total = _size(sum(removal.size for _, removal in listed))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, show_footer=True)
    table.add_column("run", footer="together", overflow="fold")
    table.add_column("what", no_wrap=True)
    table.add_column("frees", footer=total, justify="right", no_wrap=True)
    table.add_column("why", overflow="fold")
    for store, removal in listed:
        table.add_row(removal.run_id or f"({store.profile})", removal.kind, _size(removal.size), removal.why)
    wide_console().print(table)


def _size(count: float) -> str:
    """`3.1 MB`, in powers of ten."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
