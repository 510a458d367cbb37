"""What of a store can go: checkpoints that no experiment needs any more, stale runs, leftover files. Torch-free.

Of a run that has reached the end of its schedule, the optimiser's state is of no use to anyone, and so are the weights
of a milestone once every result that an experiment or a command asks of them is there. `last` keeps its weights in any
case; a run that may still be trained keeps everything, and so does one that is held, queued or waited for.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from amlrepro.errors import UserError
from amlrepro.files import read_json, write_json
from amlrepro.rundir import RunDir
from amlrepro.suite.lease import acquire
from amlrepro.suite.orders import Order
from amlrepro.suite.overview import Overview, RunView, look
from amlrepro.suite.plan import Plan
from amlrepro.suite.safetensors_file import bytes_of, leave_out, read_header
from amlrepro.suite.store import Store, discard

Kind = Literal["optimiser", "milestone", "best", "stale run", "temporary files"]
OPTIMIZER = "optimizer/"
TEMPORARY = (".*.tmp", ".tmp*", ".lease.????????????????????????????????")
AGE_SECONDS = 3600.0  # younger temporary files may be in use


@dataclass(frozen=True)
class Removal:
    """Something that can go. run_id: None for files of no run. why: in words. size: bytes it frees."""

    kind: Kind
    run_id: str | None
    why: str
    paths: tuple[Path, ...]
    size: int


@dataclass(frozen=True)
class Asked:
    """What is asked of weights, by checkpoint: names `evals/<id>`, `probes/<id>`."""

    results: Mapping[str, frozenset[str]]


def asked_of(plans: Iterable[Plan], orders: Sequence[Order]) -> dict[str, Asked]:
    """By run, what plans and orders together ask of its checkpoints; runs that none of them knows are not in it."""
    out: dict[str, dict[str, set[str]]] = {}
    runs = [run for plan in plans for run in plan.runs.values()]
    for run in [*runs, *(order.planned(name) for order in orders if order.current for name in order.run_ids)]:
        results = out.setdefault(run.run_id, {})
        for evaluation in run.evals:
            results.setdefault(evaluation.checkpoint, set()).add(f"evals/{evaluation.eval_id}")
        for probe in run.probes:
            if probe.kind != "cost":
                results.setdefault(probe.checkpoint, set()).add(f"probes/{probe.probe_id}")
    return {name: Asked({key: frozenset(found) for key, found in asked.items()}) for name, asked in out.items()}


def removable(
    store: Store,
    orders: Sequence[Order],
    asked: Mapping[str, Asked],
    run_ids: Sequence[str] | None = None,
    *,
    best: bool = False,
    age: float = AGE_SECONDS,
) -> list[Removal]:
    """What can go. run_ids: of these runs only. best: the weights that validated best too, which no experiment
    evaluates. age: seconds after which a temporary file is a leftover. Milestones that a command named stay."""
    by_hand = {f"epoch{epoch}" for order in orders for epoch in order.values["overrides"].get("exec.milestones", ())}
    overview: Overview = look(store, orders, run_ids=run_ids if run_ids is not None else store.run_ids())
    now = _server_time(store)
    out: list[Removal] = []
    for view in overview.runs:
        if view.state in ("running", "queued"):
            continue
        run = store.run(view.run_id)
        if view.stale:
            why = "made by an older version; today's experiments cannot use it"
            out.append(Removal("stale run", view.run_id, why, (run.path,), _size([run.path])))
            continue
        if view.state == "done" and not view.expected:
            found = _checkpoints(run, view, asked.get(view.run_id), best)
            out += [removal for removal in found if removal.paths[0].stem not in by_hand]
        out += _temporary([run.path, run.checkpoints, run.evals, run.probes], view.run_id, now - age)
    if run_ids is None:
        folders = [store.folder, store.folder / "orders", store.folder / "slurm"]
        out += _temporary([folder for folder in folders if folder.is_dir()], None, now - age)
    return out


def remove(store: Store, removal: Removal) -> None:
    """Remove something, holding the run's lease. Raises `LeaseHeld` when somebody has begun to work on the run."""
    if removal.run_id is None:
        _unlink(removal.paths)
        return
    run = store.run(removal.run_id)
    with acquire(run, lambda reason: None, patience=0.0):
        if removal.kind == "stale run":
            discard(run)
        elif removal.kind == "optimiser":
            for path in removal.paths:
                _drop_optimizer(path)
        else:
            _unlink(removal.paths)
    if removal.kind == "stale run":
        shutil.rmtree(run.path)


def _checkpoints(run: RunDir, view: RunView, asked: Asked | None, best: bool) -> list[Removal]:
    """Checkpoints of a finished run that nobody needs. asked: None where no experiment is known to use the run."""
    last = run.checkpoint("last")
    header = _header(last)
    state = run.read_state()
    if header is None or not state.get("horizon") or view.epoch < state["horizon"]:
        return []
    out = []
    if size := bytes_of(header, _of_optimizer):
        out.append(Removal("optimiser", view.run_id, "the schedule is at its end", (last,), size))
    for path in sorted(run.checkpoints.glob("epoch*.safetensors")):
        results = asked.results.get(path.stem, frozenset()) if asked else frozenset()
        if results and all(_there(run, what) for what in results):
            why = f"all {len(results)} results of {path.stem} are there"
            files = (path, path.with_suffix(".json"))
            out.append(Removal("milestone", view.run_id, why, files, _size(files)))
    path = run.checkpoint("best")
    if best and path.exists():
        files = (path, path.with_suffix(".json"))
        out.append(Removal("best", view.run_id, "no experiment evaluates it", files, _size(files)))
    return out


def _there(run: RunDir, what: str) -> bool:
    kind, _, name = what.partition("/")
    if kind == "probes":
        return run.probe(name).exists()
    return run.eval_records(name).exists() and run.eval_meta(name).exists()


def _header(path: Path) -> dict[str, Any] | None:
    try:
        return read_header(path)[0]
    except (UserError, OSError):
        return None


def _of_optimizer(name: str) -> bool:
    return name.startswith(OPTIMIZER)


def _drop_optimizer(path: Path) -> None:
    left = leave_out(path, _of_optimizer)
    brief = path.with_suffix(".json")
    if brief.exists():
        write_json(brief, {**read_json(brief), "tensors": left})


def _temporary(folders: Iterable[Path], run_id: str | None, before: float) -> list[Removal]:
    found = [path for folder in folders for pattern in TEMPORARY for path in folder.glob(pattern)]
    old = tuple(path for path in dict.fromkeys(found) if _stat(path, lambda s: s.st_mtime, before) < before)
    return [Removal("temporary files", run_id, "left by a process that was killed", old, _size(old))] if old else []


def _server_time(store: Store) -> float:
    """The time by the clock that stamps the store's files; this machine's may differ."""
    probe = store.folder / ".clock.tmp"
    try:
        probe.touch()
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)


def _size(paths: Iterable[Path]) -> int:
    files = [file for path in paths for file in (path.rglob("*") if path.is_dir() else [path])]
    return sum(_stat(file, lambda s: s.st_size, 0) for file in files if file.is_file())


def _stat(path: Path, read: Callable[[Any], Any], otherwise: Any) -> Any:
    try:
        return read(path.stat())
    except OSError:  # gone meanwhile
        return otherwise


def _unlink(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
