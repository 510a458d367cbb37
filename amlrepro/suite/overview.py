"""A store at a glance: where every run stands, and how many cells of each experiment are filled. Torch-free.

Meant to be cheap: of a run its folder's names and its `state.json` are read, and its lease where there is one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from amlrepro.rundir import RunDir
from amlrepro.suite.cancel import REASON, cancel_path
from amlrepro.suite.lease import EXPIRY_SECONDS, Owner, held, last_beat, lease_path
from amlrepro.suite.orders import Need, Order, read_orders
from amlrepro.suite.run_folder import RunFolder, names_in, read_folder
from amlrepro.suite.store import Store, is_stale

# In the order in which people want to see them. `to do`: asked for, and no launcher is at work on it. `left out`: asked
# for, and not started because it could change no verdict (`amlris run --until-decided`).
STATES = ("running", "failed", "interrupted", "preempted", "cancelled", "queued", "to do", "left out", "done")
AT_WORK = ("running", "queued")
_WITH_REASON = ("failed", "preempted", "interrupted", "queued")


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
    for every seed that was not left out; figures likewise, those drawn from probes. fewer: filled cells without some
    seeds that were left out. unavailable: cells that cannot be had with these data."""

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
    fewer: int = 0


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
        run_ids = list(dict.fromkeys([*ordered, *names_in(store.folder / "runs")]))
    folders = {run_id: read_folder(store.run(run_id), ordered.get(run_id)) for run_id in run_ids}
    waited_for = {run_id for order in known if order.active for run_id in order.run_ids}
    fresh = {run_id for order in known if order.current for run_id in order.run_ids}
    left_out = {
        name: why for name, why in store.stopped_runs().items() if name not in folders or not folders[name].begun
    }
    views = [
        _view(store.profile, folder, run_id in waited_for, run_id in fresh, pulse, left_out.get(run_id))
        for run_id, folder in folders.items()
        if run_id in ordered or "config.yaml" in folder.names
    ]
    views.sort(key=lambda view: STATES.index(view.state))
    return Overview(store.profile, tuple(views), tuple(_experiment(store, folders, left_out, *each) for each in chosen))


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


def _view(
    profile: str, folder: RunFolder, waited_for: bool, fresh: bool, pulse: Pulse | None, left_out: str | None
) -> RunView:
    values, run = folder.state, folder.run
    owner = held(run) if lease_path(run).name in folder.names else None
    if owner is not None and pulse is not None and owner.alive() is None and not pulse.alive(run, owner):
        owner = None
    cancel = cancel_path(run).name in folder.names
    state = _state(folder, owner, cancel, waited_for, left_out is not None)
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
        reason=left_out if state == "left out" else values.get("reason") if state in _WITH_REASON else None,
        failure=dict(values.get("failure") or {}) if state == "failed" else {},
        job_id=queued.get("job_id") if state in AT_WORK else None,
        cancelling=cancel and state == "running",
        expected=waited_for,
        stale=not fresh and is_stale(run),
    )


def _state(folder: RunFolder, owner: Owner | None, cancel: bool, waited_for: bool, left_out: bool) -> str:
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
    if left_out:
        return "left out"
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


def _counts(folder: RunFolder, kind: str) -> tuple[int, int]:
    """How many results of a kind are there, and how many are asked for: of runs of no order, as many as there are."""
    there = [what for what in folder.there if what.startswith(kind)]
    if folder.asked is None:
        return len(there), len(there)
    asked = [what for what in folder.asked[1] if what.startswith(kind)]
    return sum(what in folder.there for what in asked), len(asked)


def _experiment(
    store: Store, folders: Mapping[str, RunFolder], left_out: Mapping[str, str], order: Order, name: str
) -> ExperimentView:
    cells, figures = order.needs("cells", name), order.needs("figures", name)
    values = next(each for each in order.values["experiments"] if each["id"] == name)

    def there(needs: list[Need]) -> bool:
        wanted = [need for need in needs if need[0] not in left_out]
        found = all(run_id in folders and folders[run_id].has(what) for run_id, what in wanted)
        return found and bool(wanted or not needs)

    filled = list(filter(there, cells))

    return ExperimentView(
        store.profile,
        name,
        values["title"],
        order.label,
        tuple(order.values["seeds"]),
        len(cells),
        len(filled),
        len(figures),
        sum(map(there, figures)),
        values["unavailable"],
        sum(any(run_id in left_out for run_id, _ in needs) for needs in filled),
    )
