"""A run as the page shows it: what was trained, where and when, what it was evaluated on, and which cells it feeds."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from amlrepro.config import EvalConfig, ProbeConfig
from amlrepro.data.specs import DATASETS
from amlrepro.metrics.compute import METRICS
from amlrepro.report.html.anchors import Use, Uses, run_anchor
from amlrepro.report.html.recipes import Recipes, RecipeView, recipe_name
from amlrepro.suite.plan import Plan, PlannedRun
from amlrepro.suite.store import Store


@dataclass(frozen=True)
class EvalView:
    """One evaluation that is asked of a run. metrics: text; state: empty where its records are there."""

    id: str
    data: str
    checkpoint: str
    scored: str
    samples: str
    metrics: str
    state: str


@dataclass(frozen=True)
class ProbeView:
    """One probe that is asked of a run. values: text; state: empty where they are there."""

    id: str
    kind: str
    on: str
    checkpoint: str
    values: str
    state: str


@dataclass(frozen=True)
class SessionView:
    """One process at work on a run. Says neither the machine's name nor paths: the page may be handed on."""

    start: str
    end: str
    code: str
    hardware: str
    versions: str


@dataclass(frozen=True)
class RunView:
    """One run. hours: measured, over all sessions; a800: by the paper's rates. others: anchors of its other seeds;
    last_end: when its last session ended, seconds since the epoch."""

    place: str
    run_id: str
    recipe: RecipeView
    seed: int
    state: str
    progress: str
    hours: float | None
    a800: float | None
    reason: str
    data: str
    evals: tuple[EvalView, ...]
    probes: tuple[ProbeView, ...]
    sessions: tuple[SessionView, ...]
    uses: tuple[Use, ...]
    others: tuple[tuple[str, int], ...]
    last_end: float | None

    @property
    def evaluated(self) -> int:
        """How many of the evaluations are there."""
        return sum(not evaluation.state for evaluation in self.evals)


def run_views(store: Store, plan: Plan, uses: Uses) -> list[RunView]:
    """All runs of the plan, in its order, with what the store holds of them."""
    seeds: dict[str, list[tuple[str, int]]] = {}
    for run in plan.runs.values():
        seeds.setdefault(recipe_name(run), []).append((run_anchor(run.run_id), run.config.seed))
    recipes = Recipes(plan)
    return [_run(store, run, recipes.of(run), uses, seeds[recipe_name(run)]) for run in plan.runs.values()]


def _run(store: Store, run: PlannedRun, recipe: RecipeView, uses: Uses, seeds: list[tuple[str, int]]) -> RunView:
    status = store.status(run.run_id)
    provenance = _provenance(store, run.run_id)
    sessions = provenance.get("sessions", [])
    spans = [(s["start"], s["end"]) for s in sessions if s.get("start") and s.get("end")]
    return RunView(
        place=run_anchor(run.run_id),
        run_id=run.run_id,
        recipe=recipe,
        seed=run.config.seed,
        state="stale" if status.stale else "not run" if status.state == "absent" else status.state,
        progress=f"{status.epoch} of {run.until} epochs" if run.until else "only measured, not trained",
        hours=sum(end - start for start, end in spans) / 3600 if spans else None,
        a800=run.cost_hours,
        reason=status.reason or "",
        data=_data(provenance.get("data", {})),
        evals=tuple(_eval(store, run.run_id, evaluation) for evaluation in run.evals),
        probes=tuple(_probe(store, run.run_id, probe) for probe in run.probes),
        sessions=tuple(_session(session) for session in sessions),
        uses=tuple(uses.get(run.run_id, ())),
        others=tuple((place, seed) for place, seed in seeds if seed != run.config.seed),
        last_end=max((end for _, end in spans), default=None),
    )


def _eval(store: Store, run_id: str, evaluation: EvalConfig) -> EvalView:
    there = store.eval_present(run_id, evaluation)
    meta = (store.eval_meta(run_id, evaluation.eval_id) if there else None) or {}
    title = DATASETS[evaluation.dataset].title if evaluation.dataset in DATASETS else evaluation.dataset
    parts = [f"{title} {evaluation.split}"]
    parts += ["sentences about other objects"] if evaluation.text == "other" else []
    if evaluation.perturbation:
        severity = f", severity {evaluation.severity}" if evaluation.severity else ""
        parts.append(f"{evaluation.perturbation.replace('_', ' ')}{severity}")
    parts += [evaluation.precision] if evaluation.precision != "float32" else []
    epoch = f" (epoch {meta['epoch']})" if "epoch" in meta else ""
    return EvalView(
        id=evaluation.eval_id,
        data="; ".join(parts),
        checkpoint=evaluation.checkpoint + epoch,
        scored=str(meta.get("scored_at", evaluation.resolution)),
        samples=f"{meta['samples']:,}" if "samples" in meta else "",
        metrics=_metrics(meta),
        state="" if there else "not there",
    )


def _probe(store: Store, run_id: str, probe: ProbeConfig) -> ProbeView:
    found = store.probe_values(run_id, probe)
    title = DATASETS[probe.dataset].title if probe.dataset in DATASETS else probe.dataset
    values = (found or {}).get("values", {})
    epoch = f" (epoch {found['epoch']})" if found and found.get("epoch") is not None else ""
    return ProbeView(
        id=probe.probe_id,
        kind=probe.kind,
        on=" ".join(part for part in (title, probe.split) if part),
        checkpoint="" if probe.kind == "cost" else probe.checkpoint + epoch,
        values=", ".join(f"{name} {value:.5g}" for name, value in values.items() if isinstance(value, (int, float))),
        state="" if found is not None else "not there",
    )


def _metrics(meta: Mapping[str, Any]) -> str:
    known = meta.get("summary", {}).get("metrics", {})
    values = [(METRICS[n].title, e["value"]) for n, e in known.items() if n in METRICS and e.get("value") is not None]
    return ", ".join(f"{title} {value:.2f}" for title, value in values)


def _provenance(store: Store, run_id: str) -> dict[str, Any]:
    return dict(store.read(store.run(run_id).provenance) or {})


def _session(session: Mapping[str, Any]) -> SessionView:
    git = session.get("git") or {}
    hardware = session.get("hardware") or {}
    gpus = hardware.get("gpus") or []
    names = [f"{gpus.count(name)} x {name}" for name in dict.fromkeys(gpus)]
    parts = [*names, f"{hardware['cpus']} CPU cores" if "cpus" in hardware else ""]
    parts += [f"{hardware['memory_gib']:g} GiB" if "memory_gib" in hardware else "", str(hardware.get("system", ""))]
    versions = session.get("versions") or {}
    return SessionView(
        start=time_text(session.get("start")),
        end=time_text(session.get("end")) or "not ended",
        code=_code(git),
        hardware=", ".join(part for part in parts if part),
        versions=", ".join(f"{name} {version}" for name, version in versions.items()),
    )


def _code(git: Mapping[str, Any]) -> str:
    if not git.get("commit"):
        return "no git checkout"
    return f"{git['commit'][:12]}{' with uncommitted changes' if git.get('dirty') else ''}"


def time_text(seconds: object) -> str:
    """A time since the epoch in UTC, to the minute; empty for none."""
    if not isinstance(seconds, (int, float)):
        return ""
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def _data(facts: Mapping[str, Any]) -> str:
    counts = [f"{facts[name]:,} {name}" for name in ("refs", "sentences", "images") if isinstance(facts.get(name), int)]
    return ", ".join([*counts, f"digest {facts['digest']}"] if facts.get("digest") else counts)
