"""`amlris status`: what is in the store, what is at work, what failed and what helps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from amlrepro.cli.options import DEFAULT_STORE, JsonOption, PlanOptions, StoreOption, open_plan, wide_console
from amlrepro.cli.runs import AnyProfile, stores
from amlrepro.cli.status_view import as_values, render
from amlrepro.errors import unknown_name
from amlrepro.launch.slurm_states import SlurmStates
from amlrepro.suite.experiment import experiment_names, load_experiments
from amlrepro.suite.orders import Order, order_of, read_orders
from amlrepro.suite.overview import Overview, Pulse, look
from amlrepro.suite.store import Store


def status(
    experiments: Annotated[
        list[str] | None, typer.Argument(help="Only these tables or figures.", show_default="all that were asked for")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Look again and again until nothing is at work.")
    ] = False,
    all_: Annotated[bool, typer.Option("--all", help="List every run, however many are done.")] = False,
    profile: AnyProfile = None,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Show how runs stand, what failed and why, and how many cells of each table are filled.

    Read from the store alone, on any machine that sees it.
    """
    observer = Observer(store, profile, experiments or [])
    if watch and not as_json:
        from amlrepro.cli.status_watch import watch_store

        watch_store(observer)
        return
    overviews = observer.look()
    if as_json:
        typer.echo(json.dumps(as_values(overviews), indent=1))
        return
    if not overviews:
        typer.echo(f"no runs in {store}")
        return
    console = wide_console()
    for number, overview in enumerate(overviews):
        parts = render(overview, console.width, everything=all_)
        for part in parts if number == 0 else ["", *parts]:
            console.print(part)


class Observer:
    """Looks at the stores of a folder, again and again if wanted.

    Raises `UserError` for an unknown profile or experiment. Experiments that nobody asked this store for are planned
    with the usual choices, to see what is there of them.
    """

    def __init__(self, root: Path, profile: str | None, experiments: Sequence[str]) -> None:
        self._experiments = experiments
        self._stores = stores(root, profile)
        self._pulse = Pulse()
        self._slurm = {store.profile: SlurmStates(store.folder) for store in self._stores}
        self._planned: dict[str, list[Order]] = {}
        self._check()

    def look(self) -> list[Overview]:
        """Every store that has runs, or was asked for some."""
        found = []
        for store in self._stores:
            if store.folder.is_dir():
                orders = [*self._planned.get(store.profile, []), *read_orders(store)]
                overview = look(store, orders, self._experiments, pulse=self._pulse)
                if overview.runs or overview.experiments:
                    found.append(self._slurm[store.profile].judge(overview))
        return found

    def _check(self) -> None:
        there = [store for store in self._stores if store.folder.is_dir()]
        asked = {s.profile: {e["id"] for o in read_orders(s) for e in o.values["experiments"]} for s in there}
        shipped = experiment_names()
        for name in self._experiments:
            if name in set().union(*asked.values()):
                continue
            if name not in shipped:
                raise unknown_name("experiment", name, [*shipped, *sorted(set().union(*asked.values()) - {*shipped})])
            for store in there:
                if store.run_ids():
                    self._planned.setdefault(store.profile, []).append(_usual(store, name))


def _usual(store: Store, experiment: str) -> Order:
    """What an experiment asks for with the usual choices; its launcher is nobody."""
    options = PlanOptions(profile=store.profile, store=store.root)
    return order_of(open_plan(load_experiments([experiment]), options, command=f"amlris run {experiment}").plan)
