"""A store of hundreds of finished runs and thousands of cached evaluations, written quickly: to time and count."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from amlrepro.config import EvalConfig, dump_config
from amlrepro.metrics.bootstrap import DRAWS, image_sums
from amlrepro.metrics.compute import DEFAULT_METRICS, GENERALIZED_METRICS, METRICS
from amlrepro.metrics.records import Records
from amlrepro.metrics.summary import BOOTSTRAP, SIDES, _hash
from amlrepro.perturb.specs import SEVEN
from amlrepro.report.tabledata import build_table
from amlrepro.suite.experiment import load_experiments
from amlrepro.suite.inputs import Inputs
from amlrepro.suite.orders import at_work
from amlrepro.suite.plan import Plan, PlannedRun
from amlrepro.suite.planner import build_plan
from amlrepro.suite.profile import load_profile
from amlrepro.suite.robustness import parse_method, robustness_experiment
from amlrepro.suite.rows import Choices
from amlrepro.suite.snapshot import Snapshot
from amlrepro.suite.store import Store
from amlrepro.verdicts.cells import judge

SAMPLES, IMAGES = 24, 8
_MADE_UP: dict[str, Any] = {
    "interval of a mean over seeds": [0.0, 100.0],  # around any number, as figures need it
    "language use": {"samples": SAMPLES, "own": 70.0, "other": 40.0, "interval": [25.0, 35.0]},
    "cluster bootstrap of a claim": {"low": -1.0, "high": 1.0, "below": 0.5, "images": IMAGES, "draws": DRAWS},
}
_SEEN = "train images stand here"
SEEN = 634  # images of RefCOCOg's val that are training images of RefCOCO+


@dataclass(frozen=True)
class Size:
    """What a store holds."""

    runs: int
    evals: int
    probes: int


def large_plan(seeds: int) -> Plan:
    """All tables and figures, and two methods under seven perturbations at five severities: 30 runs and 243 evaluations
    a seed."""
    methods = [parse_method("caris"), parse_method("caris_aml")]
    splits = [("refcoco", "val"), ("refcocog", "val")]
    further = robustness_experiment("refcoco+", methods, splits, SEVEN, (1, 2, 3, 4, 5))
    profile = load_profile("paper")
    choices = Choices(seeds=tuple(range(seeds)))
    return build_plan([*load_experiments(["all"]), further], profile, Inputs(profile.source), choices)


def fill_large(store: Store, plan: Plan) -> Size:
    """Finish every run of the plan. All evaluations have the same records' shape, and digests of their own."""
    size, records = fill_runs(store, plan), _records()
    names = (*DEFAULT_METRICS, *GENERALIZED_METRICS)
    sums = image_sums(records, names)
    means = {name: sums.value(name) for name in names}
    terms: dict[str, Any] = {"samples": SAMPLES, "image_id": sums.image_id}
    for name in names:
        for side, values in zip(SIDES, sums.terms[name], strict=True):
            terms[f"{name}@{METRICS[name].version}.{side}"] = values
    for run in plan.runs.values():
        folder = store.run(run.run_id)
        for evaluation in run.evals:
            digest = hashlib.sha256(f"{run.run_id}/{evaluation.eval_id}".encode()).hexdigest()
            np.savez(folder.evals / f"{evaluation.eval_id}.images.npz", records=digest, **terms)
            _write(folder.eval_meta(evaluation.eval_id), _meta(run, evaluation, digest, means))
    return size


def fill_runs(store: Store, plan: Plan) -> Size:
    """Finish every run of the plan as far as `amlris status` looks: records are there, metrics are not."""
    store.folder.mkdir(parents=True)
    columns = store.folder / "records.parquet"
    _records().write(columns)
    for run in plan.runs.values():
        _finish(store, run)
        folder = store.run(run.run_id)
        folder.evals.mkdir(exist_ok=True)
        for evaluation in run.evals:
            folder.eval_records(evaluation.eval_id).hardlink_to(columns)
            folder.eval_meta(evaluation.eval_id).write_text("{}")
    evals, probes = (sum(len(getattr(run, kind)) for run in plan.runs.values()) for kind in ("evals", "probes"))
    return Size(len(plan.runs), evals, probes)


def fill_order(store: Store, plan: Plan) -> None:
    """Keep the order that the plan amounts to, as a command does that has ended."""
    with at_work(store, plan):
        pass


def fill_cache(store: Store, plan: Plan) -> None:
    """Put what takes long to calculate into the store's cache, made up like all its numbers: intervals over seeds, the
    language check, bootstraps of claims."""
    made_up = _MadeUp(store)
    judgement = judge(made_up, plan)
    for experiment in plan.experiments:
        build_table(made_up, plan, experiment, judgement.cells, judgement.claims.harness)
    made_up.keep()


class _MadeUp(Snapshot):
    """A snapshot that keeps a plausible value for everything that it would calculate."""

    def calculated(self, kind: str, origin: Any, calculate: Callable[[], Any]) -> Any:
        """The value of its kind; raises `KeyError` for one that this does not know yet."""
        return super().calculated(kind, origin, lambda: _MADE_UP[kind])


def _records() -> Records:
    """`SAMPLES` samples of `IMAGES` images with an IoU around 0.7."""
    random = np.random.default_rng(0)
    image = np.arange(SAMPLES) % IMAGES
    target = random.integers(2_000, 40_000, SAMPLES)
    common = (random.uniform(0.6, 0.8, SAMPLES) * target).astype(np.int64)
    size = np.full(SAMPLES, 480), np.full(SAMPLES, 640)
    ids = np.stack([np.arange(SAMPLES) // 3, np.arange(SAMPLES), image, *size], 1)
    return Records.from_counts(ids, common, common, target)


def _write(path: Path, text: str) -> None:
    """Without the syncing of `files`: thousands of files in seconds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def _finish(store: Store, run: PlannedRun) -> None:
    folder = store.run(run.run_id)
    _write(folder.config, dump_config(run.config))
    _write(folder.state, json.dumps({"epoch": run.until, "state": "done", "updated": 0.0}))
    rows: list[dict[str, Any]] = []
    for epoch in range(1, run.until + 1):
        shares = {"weak_blocks": 0.1, "masked_blocks": 0.03, "fully_masked": 0.0} if run.preset != "baseline" else {}
        rows += [{"kind": "step", "epoch": epoch, "step": 12 * epoch, "loss": 0.1, "lr": 1e-4}] * 3
        rows.append({"kind": "epoch", "epoch": epoch, "step": 12 * epoch, "loss": 0.1, **shares})
    _write(folder.history, "".join(json.dumps(row) + "\n" for row in rows))
    session = {"start": 1.76e9, "end": 1.76e9 + 7200, "git": {"commit": "0" * 40, "dirty": False}}
    session |= {"versions": {"torch": "2.6.0", "numpy": "2.0.0"}, "hardware": {"cpus": 8, "gpus": ["A800"]}}
    _write(folder.provenance, json.dumps({"run_id": run.run_id, "data": {"refs": 42278}, "sessions": [session]}))
    folder.checkpoints.mkdir()
    for name in ("last", *(f"epoch{epoch}" for epoch in run.milestones)):
        folder.checkpoint(name).touch()
    for probe in run.probes:
        _write(folder.probe(probe.probe_id), json.dumps(_probe(run, probe.probe_id, probe.checkpoint)))


def _probe(run: PlannedRun, probe_id: str, checkpoint: str) -> dict[str, Any]:
    epoch = run.until if checkpoint == "last" else int(checkpoint.removeprefix("epoch"))
    fields: tuple[str, ...] = ("lt_020", "ge_050", "ge_090", "mean", "std", "scores", "pairs", "batches", "memory_mb")
    fields += ("time_min_per_epoch", *(f"{k}_tau0{t}0" for k in ("coverage", "blanked") for t in (2, 3, 4, 6)))
    return {"probe_id": probe_id, "run_id": run.run_id, "epoch": epoch, "values": dict.fromkeys(fields, 0.5)}


def _meta(run: PlannedRun, evaluation: EvalConfig, digest: str, values: dict[str, float]) -> str:
    """An evaluation's file."""
    own = evaluation.dataset == run.config.data.train
    seen = [] if own else list(range(100_000, 100_000 + SEEN))
    entries = {
        name: {"version": METRICS[name].version, "value": None, "low": None, "high": None}
        if math.isnan(value)
        else {"version": METRICS[name].version, "value": value, "low": value - 1, "high": value + 1}
        for name, value in values.items()
    }
    part = {"samples": SAMPLES, "images": IMAGES, "metrics": entries}
    epoch = run.until if evaluation.checkpoint == "last" else int(evaluation.checkpoint.removeprefix("epoch"))
    summary = {"records": digest, "bootstrap": BOOTSTRAP, **part}
    meta = {
        "eval_id": evaluation.eval_id,
        "eval": evaluation.model_dump(mode="json"),
        "run_id": run.run_id,
        "checkpoint": evaluation.checkpoint,
        "epoch": epoch,
        "samples": SAMPLES,
        "records_sha256": digest,
        "scored_at": "448 x 448",
        "train_images": _SEEN,
        "summary": summary | ({"unseen": {"excluded": _hash(seen), **part}} if seen else {}),
    }
    return json.dumps(meta, indent=1).replace(f'"{_SEEN}"', _lines(tuple(seen)))


@cache  # Python's own writer of indented lists takes longer than all the rest
def _lines(seen: tuple[int, ...]) -> str:
    return json.dumps(seen, indent=1)
