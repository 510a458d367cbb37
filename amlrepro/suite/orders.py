"""What was asked of a store: an order a command, so that anyone finds again what is to be done and what it feeds.

<store>/orders/<name>.json            the runs with all that is asked of them, and for every cell what has to be there
<store>/orders/<name>.<token>.launcher  who is at work on it, for as long as it is

Torch-free.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from amlrepro.config import VERSIONS, EvalConfig, ProbeConfig, parse_config
from amlrepro.errors import UserError
from amlrepro.files import canonical_hash, read_json, write_json
from amlrepro.schema import parse_strict
from amlrepro.suite.lease import Owner
from amlrepro.suite.plan import Cell, HistoryRequest, Plan, PlannedFigure, PlannedRun, ProbeRequest, Request
from amlrepro.suite.store import Store

FORMAT = 1
SIGNATURE = ".launcher"
Need = tuple[str, str]  # run, and what of it: `evals/<id>`, `probes/<id>`, `epochs/<n>`
_CHOICES = ("profile", "source", "data_root", "preset", "seeds", "watermark", "overrides")
_KEPT = ("preset", "until", "milestones", "refs", "used_by")  # of a planned run, as they are


@dataclass(frozen=True)
class Order:
    """One command's order. path: its file. values: its content. launchers: who signed it and has not ended in order."""

    path: Path
    values: dict[str, Any]
    launchers: tuple[Owner, ...] = ()

    @property
    def run_ids(self) -> list[str]:
        """The runs it asks for, in the order in which they are first needed."""
        return list(self.values["runs"])

    @property
    def current(self) -> bool:
        """Whether it was made with today's versions of all components: then its runs are called today as they were."""
        return bool(self.values["versions"] == VERSIONS)

    @cached_property
    def active(self) -> bool:
        """Whether a launcher is at work on it, as far as can be told from here."""
        return any(launcher.alive() is not False for launcher in self.launchers)

    @property
    def label(self) -> str:
        """What sets it apart from other orders of the same experiments; empty for the usual choices."""
        values = self.values
        parts = [] if values["preset"] == "inferred" else [values["preset"]]
        parts += [f"{key}={value}" for key, value in values["overrides"].items() if key != "exec.device"]
        return ", ".join(parts)

    def needs(self, kind: str, experiment: str) -> list[list[Need]]:
        """What each of the `cells` or `figures` of an experiment needs."""
        names = self.run_ids
        chosen = next(each for each in self.values["experiments"] if each["id"] == experiment)
        return [[(names[number], what) for number, what in needs] for needs in chosen[kind]]

    def runs_of(self, experiment: str) -> list[str]:
        """The runs that an experiment needs."""
        prefix = f"{experiment}/"
        return [name for name, run in self.values["runs"].items() if any(u.startswith(prefix) for u in run["used_by"])]

    def asked(self, run_id: str) -> tuple[int, list[str]]:
        """How many epochs a run is to have, and what else: `evals/<id>`, `probes/<id>`."""
        run = self.values["runs"][run_id]
        return int(run["until"]), [*run["asked"]]

    def planned(self, run_id: str) -> PlannedRun:
        """The run with everything asked of it; raises `UserError` when today's schema does not know its settings."""
        run = self.values["runs"][run_id]
        config = parse_config(run["config"], self.path)
        evals = [parse_strict(EvalConfig, each, self.path) for each in run["evals"]]
        probes = [parse_strict(ProbeConfig, each, self.path) for each in run["probes"]]
        milestones = tuple(run["milestones"])
        return PlannedRun(
            config, run["preset"], run["until"], milestones, evals, probes, run["used_by"], refs=run["refs"]
        )

    def plan(self, run_ids: list[str]) -> Plan:
        """A plan of some of the runs, without tables."""
        values = {name: self.values[name] for name in _CHOICES}
        return Plan(**{**values, "seeds": tuple(values["seeds"])}, runs={name: self.planned(name) for name in run_ids})


def order_of(plan: Plan, path: Path = Path()) -> Order:
    """The order that a plan amounts to; nothing is written."""
    runs = list(plan.runs)
    numbers = {name: number for number, name in enumerate(runs)}
    cells = {(c.experiment, c.block, c.row, c.column): c for c in plan.cells}
    experiments = []
    for experiment in plan.experiments:
        own = [cell for cell in plan.cells if cell.experiment == experiment.id and cell.kind != "printed"]
        there = [cell for cell in own if cell.kind != "unavailable"]
        figures = [f for f in plan.figures if f.experiment == experiment.id and f.requests and f.reason is None]
        experiments.append(
            {
                "id": experiment.id,
                "title": experiment.title,
                "cells": [_numbered(_cell_needs(cell, cells), numbers) for cell in there],
                "figures": [_numbered(_figure_needs(figure), numbers) for figure in figures],
                "unavailable": len(own) - len(there),
            }
        )
    values = {name: getattr(plan, name) for name in _CHOICES}
    values |= {"format": FORMAT, "versions": VERSIONS, "since": time.time()}
    values |= {"experiments": experiments, "runs": {name: _run(plan.runs[name]) for name in runs}}
    return Order(path, values)


def read_orders(store: Store) -> list[Order]:
    """The orders of a store, oldest first; files of another version or that do not parse are left out."""
    found = []
    signed = _signatures(orders_folder(store))
    for path in sorted(orders_folder(store).glob("*.json")):
        with contextlib.suppress(UserError, OSError, KeyError, TypeError):
            launchers = tuple(owner for signature, owner in signed if signature.name.startswith(f"{path.stem}."))
            order = Order(path, dict(read_json(path)), launchers)
            if order.values["format"] == FORMAT:
                found.append(order)
    return sorted(found, key=lambda order: float(order.values["since"]))


@contextlib.contextmanager
def at_work(store: Store, plan: Plan) -> Iterator[None]:
    """Keep the order of a plan, signed by this process for as long as it is at work. One without experiments only
    repeats others' and is not kept longer."""
    order = order_of(plan)
    ids = [each["id"] for each in order.values["experiments"]]
    choices = [order.values[name] for name in _CHOICES if name != "watermark"]
    name = f"{ids[0] if len(ids) == 1 else 'several'}-{canonical_hash([ids, choices, order.run_ids], 8)}"
    folder, me = orders_folder(store), Owner.me()
    path, signature = folder / f"{name}.json", folder / f"{name}.{me.token}{SIGNATURE}"
    for other, owner in _signatures(folder):
        if owner.alive() is False:
            other.unlink(missing_ok=True)
    write_json(signature, asdict(me))
    try:
        write_json(path, order.values)
        yield
    finally:
        signature.unlink(missing_ok=True)
        if not ids:
            path.unlink(missing_ok=True)


def _signatures(folder: Path) -> list[tuple[Path, Owner]]:
    found = []
    for path in folder.glob(f"*{SIGNATURE}"):
        with contextlib.suppress(UserError, OSError, TypeError):  # gone meanwhile, or torn
            found.append((path, Owner(**read_json(path))))
    return found


def orders_folder(store: Store) -> Path:
    """Where a store's orders lie."""
    return store.folder / "orders"


def _run(run: PlannedRun) -> dict[str, Any]:
    asked = [*(f"evals/{e.eval_id}" for e in run.evals), *(f"probes/{p.probe_id}" for p in run.probes)]
    return {
        **{name: getattr(run, name) for name in _KEPT},
        "config": run.config.model_dump(mode="json"),
        "evals": [evaluation.model_dump(mode="json") for evaluation in run.evals],
        "probes": [probe.model_dump(mode="json") for probe in run.probes],
        "asked": asked,
    }


def _cell_needs(cell: Cell, cells: dict[tuple[str, str, str, str], Cell]) -> list[Need]:
    """What a cell needs; of a derived one, what its parts need."""
    needs = [_need(request) for request in cell.requests]
    for part in cell.parts:
        needs += _cell_needs(cells[(cell.experiment, *part)], cells)
    return list(dict.fromkeys(needs))


def _figure_needs(figure: PlannedFigure) -> list[Need]:
    return list(dict.fromkeys(_need(request) for requests in figure.requests.values() for request in requests))


def _need(request: Request | ProbeRequest | HistoryRequest) -> Need:
    if isinstance(request, Request):
        return request.run_id, f"evals/{request.eval_id}"
    if isinstance(request, ProbeRequest):
        return request.run_id, f"probes/{request.probe_id}"
    return request.run_id, f"epochs/{request.epoch}"


def _numbered(needs: list[Need], numbers: dict[str, int]) -> list[list[Any]]:
    return [[numbers[run_id], what] for run_id, what in needs]
