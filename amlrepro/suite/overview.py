"""A store at a glance: where every run stands, and how many cells of each experiment are filled. Torch-free.

Meant to be cheap: of a run its folder's names and its `state.json` are read, and its lease where there is one.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from amlrepro.errors import UserError
from amlrepro.files import read_json
from amlrepro.rundir import RunDir
from amlrepro.suite.cancel import REASON, cancel_path
from amlrepro.suite.lease import EXPIRY_SECONDS, Owner, held, last_beat, lease_path
from amlrepro.suite.orders import Need, Order, read_orders
from amlrepro.suite.store import Store, is_stale

# In the order in which people want to see them. `to do`: asked for, and no launcher is at work on it.
STATES = ("running", "failed", "interrupted", "preempted", "cancelled", "queued", "to do", "done")
AT_WORK = ("running", "queued")


@dataclass(frozen=True)
class RunView:
    """One run.

    state: one of `STATES`. phase: of a running one: starting, training, evaluating. until: epochs it is to have, None
    where nothing says so. fraction: of the phase, 0 to 1. eta_s: seconds of training left. evals, probes: how many are
    there, and how many are asked for. failure: `failure` of `state.json`. job_id: of SLURM. cancelling: it is asked to
    end and has not yet. expected: a launcher that was asked for it is at work. stale: made by an older version of a
    component.
    """

    profile: str
    run_id: str
    state: str
    phase: str | None = None
    epoch: int = 0
    until: int | None = None
    fraction: float | None = None
    loss: float | None = None
    images_per_s: float | None = None
    eta_s: float | None = None
    evals: tuple[int, int] = (0, 0)
    probes: tuple[int, int] = (0, 0)
    host: str | None = None
    pid: int | None = None
    reason: str | None = None
    failure: dict[str, Any] = field(default_factory=dict)
    job_id: str | None = None
    cancelling: bool = False
    expected: bool = False
    stale: bool = False


@dataclass(frozen=True)
class ExperimentView:
    """One experiment as it was asked for. label: choices that set it apart. filled: cells whose results are all there,
    for every seed; figures likewise, those drawn from probes. unavailable: cells that cannot be had with these data."""

    profile: str
    experiment: str
    title: str
    label: str
    seeds: tuple[int, ...]
    cells: int
    filled: int
    figures: int
    figures_filled: int
    unavailable: int


@dataclass(frozen=True)
class Overview:
    """One profile's store."""

    profile: str
    runs: tuple[RunView, ...]
    experiments: tuple[ExperimentView, ...]

    @property
    def at_work(self) -> bool:
        """Whether anything runs or waits to."""
        return any(run.state in AT_WORK for run in self.runs)


class Pulse:
    """Judges owners on other hosts by whether their heartbeats change while this process looks on."""

    def __init__(self, expiry: float = EXPIRY_SECONDS) -> None:
        self._expiry = expiry
        self._seen: dict[Path, tuple[str, tuple[int, bytes], float]] = {}

    def alive(self, run: RunDir, owner: Owner) -> bool:
        """False when the heartbeat has not changed for so long that the owner counts as dead."""
        now, beat = time.monotonic(), last_beat(run)
        known = self._seen.get(run.path)
        if known is None or known[:2] != (owner.token, beat):
            self._seen[run.path] = (owner.token, beat, now)
            return True
        return now - known[2] < self._expiry


@dataclass(frozen=True)
class _Folder:
    """What a run's folder holds. asked: epochs and results asked for, None for runs of no order."""

    run: RunDir
    names: frozenset[str]
    state: dict[str, Any]
    there: frozenset[str]
    asked: tuple[int, tuple[str, ...]] | None

    @property
    def epoch(self) -> int:
        return int(self.state.get("epoch", 0))

    def has(self, what: str) -> bool:
        """Whether an evaluation, a probe or a row of the history is there."""
        kind, _, name = what.partition("/")
        return self.epoch >= int(name) if kind == "epochs" else what in self.there

    @property
    def complete(self) -> bool:
        """Whether everything asked for is there."""
        return self.asked is None or (self.epoch >= self.asked[0] and all(map(self.has, self.asked[1])))


def look(
    store: Store,
    orders: Sequence[Order] | None = None,
    experiments: Sequence[str] = (),
    run_ids: Sequence[str] | None = None,
    pulse: Pulse | None = None,
) -> Overview:
    """How a store stands. orders: None for those in it. experiments: only these, and their runs. run_ids: only these.

    pulse: of an observer that looks again and again, to find dead owners on other hosts.
    """
    known = read_orders(store) if orders is None else list(orders)
    chosen = _latest(known, experiments) if run_ids is None else []
    ordered = _asked(known)
    if experiments:
        run_ids = list(dict.fromkeys(run for order, name in chosen for run in order.runs_of(name)))
    elif run_ids is None:
        run_ids = list(dict.fromkeys([*ordered, *_names(store.folder / "runs")]))
    folders = {run_id: _folder(store.run(run_id), ordered.get(run_id)) for run_id in run_ids}
    waited_for = {run_id for order in known if order.active for run_id in order.run_ids}
    fresh = {run_id for order in known if order.current for run_id in order.run_ids}
    views = [
        _view(store.profile, folder, run_id in waited_for, run_id in fresh, pulse)
        for run_id, folder in folders.items()
        if run_id in ordered or "config.yaml" in folder.names
    ]
    views.sort(key=lambda view: STATES.index(view.state))
    return Overview(store.profile, tuple(views), tuple(_experiment(store, folders, *each) for each in chosen))


def _latest(orders: Sequence[Order], experiments: Sequence[str]) -> list[tuple[Order, str]]:
    """Experiments with the newest order of each choice of preset, seeds and settings."""
    found: dict[tuple[str, str], tuple[Order, str]] = {}
    for order in orders:
        for each in order.values["experiments"]:
            name = str(each["id"])
            if not experiments or name in experiments:
                found[name, repr([order.label, order.values["seeds"], order.values["source"]])] = (order, name)
    return list(found.values())


def _asked(orders: Sequence[Order]) -> dict[str, tuple[int, tuple[str, ...]]]:
    """By run: how many epochs, and which results, all orders together ask for."""
    out: dict[str, tuple[int, tuple[str, ...]]] = {}
    for order in orders:
        for run_id in order.run_ids:
            until, results = order.asked(run_id)
            more, others = out.get(run_id, (0, ()))
            out[run_id] = (max(until, more), tuple(dict.fromkeys([*others, *results])))
    return out


def _folder(run: RunDir, asked: tuple[int, tuple[str, ...]] | None) -> _Folder:
    names = frozenset(_names(run.path))
    state: dict[str, Any] = {}
    if "state.json" in names:
        with contextlib.suppress(UserError, OSError):
            state = dict(read_json(run.state))
    there = set()
    if "evals" in names:
        files = frozenset(_names(run.evals))
        stems = {name.removesuffix(".parquet") for name in files if name.endswith(".parquet")}
        there |= {f"evals/{stem}" for stem in stems if f"{stem}.json" in files}
    if "probes" in names:
        there |= {f"probes/{name.removesuffix('.json')}" for name in _names(run.probes) if name.endswith(".json")}
    return _Folder(run, names, state, frozenset(there), asked)


def _names(folder: Path) -> list[str]:
    """Names in a folder, sorted, without those that begin with a dot; none where there is no folder."""
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _view(profile: str, folder: _Folder, waited_for: bool, fresh: bool, pulse: Pulse | None) -> RunView:
    values, run = folder.state, folder.run
    owner = held(run) if lease_path(run).name in folder.names else None
    if owner is not None and pulse is not None and owner.alive() is None and not pulse.alive(run, owner):
        owner = None
    cancel = cancel_path(run).name in folder.names
    state = _state(folder, owner, cancel, waited_for)
    phase = _phase(values) if state == "running" else None
    until = folder.asked[0] if folder.asked is not None else values.get("until") or values.get("horizon")
    queued = values.get("queued") or {}
    return RunView(
        profile,
        run.path.name,
        state,
        phase=phase,
        epoch=folder.epoch,
        until=until,
        fraction=_fraction(values, phase, until),
        loss=values.get("loss"),
        images_per_s=values.get("images_per_s") if phase == "training" else None,
        eta_s=values.get("eta_s") if phase == "training" and values.get("images_per_s") else None,
        evals=_counts(folder, "evals/"),
        probes=_counts(folder, "probes/"),
        host=owner.host if owner else None,
        pid=owner.pid if owner else None,
        reason=values.get("reason") if state in ("failed", "preempted", "interrupted", "queued") else None,
        failure=dict(values.get("failure") or {}) if state == "failed" else {},
        job_id=queued.get("job_id") if state in AT_WORK else None,
        cancelling=cancel and state == "running",
        expected=waited_for,
        stale=not fresh and is_stale(run),
    )


def _state(folder: _Folder, owner: Owner | None, cancel: bool, waited_for: bool) -> str:
    said = folder.state.get("state")
    if owner is not None:
        return "running"
    if said == "done" and folder.complete:
        return "done"
    if cancel or folder.state.get("reason") == REASON:
        return "cancelled"
    if said == "running":
        return "interrupted"
    if said == "queued" and folder.state.get("queued"):
        return "queued"
    if said in ("failed", "preempted") and not waited_for:
        return str(said)
    if said == "failed":
        return "failed"
    return "queued" if waited_for else "to do"


def _phase(values: dict[str, Any]) -> str:
    if values.get("state") != "running":
        return "starting"
    return "evaluating" if values.get("evaluation") else "training"


def _fraction(values: dict[str, Any], phase: str | None, until: int | None) -> float | None:
    if phase == "evaluating":
        evaluation = values["evaluation"]
        return min(1.0, float(evaluation["done"]) / max(1.0, float(evaluation["total"])))
    if phase == "training" and until and values.get("steps_per_epoch"):
        return min(1.0, float(values.get("step", 0)) / float(values["steps_per_epoch"] * until))
    return None


def _counts(folder: _Folder, kind: str) -> tuple[int, int]:
    """How many results of a kind are there, and how many are asked for: of runs of no order, as many as there are."""
    there = [what for what in folder.there if what.startswith(kind)]
    if folder.asked is None:
        return len(there), len(there)
    asked = [what for what in folder.asked[1] if what.startswith(kind)]
    return sum(what in folder.there for what in asked), len(asked)


def _experiment(store: Store, folders: dict[str, _Folder], order: Order, name: str) -> ExperimentView:
    cells, figures = order.needs("cells", name), order.needs("figures", name)
    values = next(each for each in order.values["experiments"] if each["id"] == name)

    def there(needs: list[Need]) -> bool:
        return all(run_id in folders and folders[run_id].has(what) for run_id, what in needs)

    return ExperimentView(
        store.profile,
        name,
        values["title"],
        order.label,
        tuple(order.values["seeds"]),
        len(cells),
        sum(map(there, cells)),
        len(figures),
        sum(map(there, figures)),
        values["unavailable"],
    )
