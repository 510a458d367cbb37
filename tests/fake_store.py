"""A store filled with made-up records of known quality, so that reports can be tested without training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from amlrepro.config import EvalConfig, dump_config
from amlrepro.files import write_json, write_text
from amlrepro.metrics.records import Records
from amlrepro.suite.experiment import load_experiments
from amlrepro.suite.inputs import Inputs
from amlrepro.suite.plan import Plan, PlannedRun
from amlrepro.suite.planner import build_plan
from amlrepro.suite.printed import load_printed
from amlrepro.suite.profile import load_profile
from amlrepro.suite.rows import Choices
from amlrepro.suite.store import Store


def make_plan(
    profile: str, seeds: tuple[int, ...] = (0,), experiments: tuple[str, ...] = ("table1",), **overrides: Any
) -> Plan:
    """Table 1's plan, or that of other experiments, without looking at any data."""
    spec = load_profile(profile)
    return build_plan(
        load_experiments(list(experiments)), spec, Inputs(spec.source), Choices(seeds=seeds, overrides=overrides)
    )


def make_records(quality: float, samples: int, images: int, seed: int) -> Records:
    """Samples with an IoU around `quality` (0 to 1) that depends on the image."""
    random = np.random.default_rng(seed)
    image = np.sort(np.concatenate([np.arange(images), random.integers(0, images, samples - images)]))
    target = random.integers(2_000, 40_000, samples)
    spread = 0.15 * (random.random(images)[image] - 0.5) + 0.15 * (random.random(samples) - 0.5)
    common = np.clip((quality + spread) * target, 0, target).astype(np.int64)
    ids = np.stack(
        [np.arange(samples) // 3, np.arange(samples), image, np.full(samples, 480), np.full(samples, 640)], 1
    )
    return Records.from_counts(ids, common, common, target)


def write_records(store: Store, run: PlannedRun, evaluation: EvalConfig, records: Records) -> Path:
    """Write an evaluation as the engine leaves it; returns its JSON."""
    folder = store.run(run.run_id)
    records.write(folder.eval_records(evaluation.eval_id))
    size = run.config.data.image_size
    meta = {
        "eval_id": evaluation.eval_id,
        "eval": evaluation.model_dump(mode="json"),
        "run_id": run.run_id,
        "checkpoint": evaluation.checkpoint,
        "epoch": run.until,
        "samples": len(records),
        "records_sha256": records.digest(),
        "split_by": "umd" if evaluation.dataset == "refcocog" else "unc",
        "scored_at": f"{size} x {size}" if evaluation.resolution == "resized" else "each picture's own size",
    }
    write_json(folder.eval_meta(evaluation.eval_id), meta)
    return folder.eval_meta(evaluation.eval_id)


def finish_run(store: Store, run: PlannedRun, weak: float | None = None) -> None:
    """Configuration, state and history of a run that has ended."""
    folder = store.run(run.run_id)
    write_text(folder.config, dump_config(run.config))
    folder.write_state("done", epoch=run.until)
    masking = {} if weak is None else {"weak_blocks": weak}
    rows = [{"kind": "epoch", "epoch": e, "step": 12 * e, "loss": 1 / e, **masking} for e in range(1, run.until + 1)]
    write_text(folder.history, "".join(json.dumps(row) + "\n" for row in rows))


def fill(store: Store, plan: Plan, *, samples: int = 120, images: int = 30, shift: float = 0.0) -> None:
    """Finish every run of the plan, with qualities near the printed oIoU; sentences about other objects score 0.2."""
    printed = load_printed("table1_oiou")
    for number, run in enumerate(plan.runs.values()):
        aml = run.config.strategy == "aml"
        finish_run(store, run, 0.12 if aml else None)
        for k, evaluation in enumerate(run.evals):
            value = printed.value("caris_aml" if aml else "caris", f"{evaluation.dataset}.{evaluation.split}")
            quality = 0.2 if evaluation.text == "other" else float(value or 0) / 100 + shift
            write_records(store, run, evaluation, make_records(quality, samples, images, seed=7 * number + k % 3))
