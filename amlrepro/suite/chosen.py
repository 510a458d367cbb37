"""Some of what a plan holds: runs chosen one by one, how far they go, and which of their results are made. The rest of
the plan's cells say that they were left out, unless the store has them.

A file of choices is a JSON object: `format`, `profile`, `preset`, and `runs` by run id with `until`, `evals` and
`probes`. Torch-free.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from amlrepro.errors import UserError
from amlrepro.files import read_json, write_json
from amlrepro.suite.plan import AnyRequest, Cell, HistoryRequest, Plan, PlannedCheck, PlannedFigure, PlannedRun, Request
from amlrepro.suite.store import Store

FORMAT = 1
LEFT_OUT = "not among the runs that were chosen"


@dataclass(frozen=True)
class Choice:
    """What is wanted of one run. until: epochs; evals, probes: ids."""

    until: int
    evals: frozenset[str] = frozenset()
    probes: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Chosen:
    """What is wanted of a plan. profile, preset: of the plan it was chosen from."""

    profile: str
    preset: str
    runs: Mapping[str, Choice]


def write_chosen(path: Path, chosen: Chosen, force: bool = False) -> None:
    """Write choices to a file; raises `UserError` where there is another one, unless `force`."""
    values = _values(chosen)
    if path.exists() and not force and read_json(path) != values:
        raise UserError("there is another file", where=path, hint="name another one, or overwrite it with --force")
    write_json(path, values)


def read_chosen(path: Path) -> Chosen:
    """Read what `write_chosen` wrote; raises `UserError` for anything else."""
    if not path.is_file():
        raise UserError("no such file of chosen runs", where=path, hint="amlris plan all --budget 100h --write FILE")
    values = read_json(path)
    try:
        if values["format"] != FORMAT:
            raise UserError("choices of another version", where=path, found=values["format"], expected=FORMAT)
        runs = {
            str(name): Choice(int(run["until"]), frozenset(run["evals"]), frozenset(run["probes"]))
            for name, run in values["runs"].items()
        }
        return Chosen(str(values["profile"]), str(values["preset"]), runs)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UserError("not a file of chosen runs", where=path, expected="what amlris plan --budget wrote") from None


def reduce_plan(plan: Plan, chosen: Chosen, store: Store, where: object = "--chosen") -> Plan:
    """The plan with only what was chosen, and what the store has of the rest.

    Raises `UserError` where the choice is of another profile or preset, or of runs or results that the plan has not.
    """
    for name in ("profile", "preset"):
        if getattr(plan, name) != getattr(chosen, name):
            raise UserError(
                f"chosen for another {name}", where=where, found=getattr(plan, name), expected=getattr(chosen, name)
            )
    unknown = [run_id for run_id in chosen.runs if run_id not in plan.runs]
    if unknown:
        hint = "give the experiments, seeds, data and --set of the command that chose them, or choose anew"
        raise UserError("chosen runs are not in this plan", where=where, found=", ".join(unknown[:3]), hint=hint)
    runs = {}
    for run_id, run in plan.runs.items():
        kept = _reduce(run, chosen.runs.get(run_id), store, where)
        if kept is not None:
            runs[run_id] = kept
    return restrict(plan, runs, LEFT_OUT)


def restrict(plan: Plan, runs: Mapping[str, PlannedRun], reason: str) -> Plan:
    """The plan with only these runs, as they are given. Cells keep the requests that these answer; those left without
    any are unavailable for the reason, as are checks and figures that miss one."""
    have = {(run_id, what) for run_id, run in runs.items() for what in _results(run)}

    def there(request: AnyRequest) -> bool:
        if isinstance(request, HistoryRequest):
            return request.run_id in runs and runs[request.run_id].until >= request.epoch
        kind, name = ("evals", request.eval_id) if isinstance(request, Request) else ("probes", request.probe_id)
        return (request.run_id, f"{kind}/{name}") in have

    return replace(
        plan,
        runs=dict(runs),
        cells=[_cell(cell, tuple(filter(there, cell.requests)), reason) for cell in plan.cells],
        checks=[_check(check, there, runs, reason) for check in plan.checks],
        figures=[_figure(figure, there, reason) for figure in plan.figures],
    )


def _reduce(run: PlannedRun, choice: Choice | None, store: Store, where: object) -> PlannedRun | None:
    """A run with what was chosen of it and what the store has; None for nothing."""
    there = store.run(run.run_id).config.exists()
    has = [e for e in run.evals if there and store.eval_present(run.run_id, e)]
    has_probes = [p for p in run.probes if there and store.probe_values(run.run_id, p) is not None]
    trained = min(store.status(run.run_id).epoch, run.until) if there else 0
    if choice is None and not trained and not has and not has_probes:
        return None
    choice = choice or Choice(0)
    strange = (choice.evals - {e.eval_id for e in run.evals}) | (choice.probes - {p.probe_id for p in run.probes})
    if strange:
        raise UserError(f"{run.run_id} is not asked for that in this plan", where=where, found=", ".join(strange))
    until = max(min(choice.until, run.until), trained)
    milestones = tuple(epoch for epoch in run.milestones if epoch <= until)
    return replace(
        run,
        config=run.config.with_changes({"exec.until": until}) if until else run.config,
        until=until,
        milestones=milestones,
        evals=[e for e in run.evals if e.eval_id in choice.evals or e in has],
        probes=[p for p in run.probes if p.probe_id in choice.probes or p in has_probes],
        used_by=list(run.used_by),
    )


def _cell(cell: Cell, requests: tuple[AnyRequest, ...], reason: str) -> Cell:
    if not cell.requests or len(requests) == len(cell.requests):
        return cell
    if not requests:
        return replace(cell, kind="unavailable", requests=(), reason=reason)
    return replace(cell, requests=requests)


def _check(check: PlannedCheck, there: Any, runs: Mapping[str, PlannedRun], reason: str) -> PlannedCheck:
    """A check with the seeds that are left of it."""
    if check.reason is not None:
        return check
    pairs = [pair for pair in zip(check.requests, check.control, strict=False) if all(map(there, pair))]
    ids = tuple(run_id for run_id in check.run_ids if run_id in runs)
    if (check.requests and not pairs) or (check.run_ids and not ids):
        return PlannedCheck(check.experiment, check.name, check.spec, reason=reason)
    requests, control = tuple(p[0] for p in pairs), tuple(p[1] for p in pairs)
    return replace(check, requests=requests, control=control, run_ids=ids)


def _figure(figure: PlannedFigure, there: Any, reason: str) -> PlannedFigure:
    if figure.reason is not None or not figure.requests:
        return figure
    kept = {row: tuple(filter(there, requests)) for row, requests in figure.requests.items()}
    if not all(kept.values()):
        return replace(figure, requests={}, reason=reason)
    return replace(figure, requests=kept)


def _results(run: PlannedRun) -> Iterable[str]:
    yield from (f"evals/{evaluation.eval_id}" for evaluation in run.evals)
    yield from (f"probes/{probe.probe_id}" for probe in run.probes)


def _values(chosen: Chosen) -> dict[str, Any]:
    runs = {
        name: {"until": run.until, "evals": sorted(run.evals), "probes": sorted(run.probes)}
        for name, run in chosen.runs.items()
    }
    return {"format": FORMAT, "profile": chosen.profile, "preset": chosen.preset, "runs": runs}
