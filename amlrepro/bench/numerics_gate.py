"""Whether trainings with `train.numerics: fast` end where `faithful` ones do: full trainings over several seeds.

It takes about twenty minutes of a CPU at demo sizes, so it is no part of `amlris bench` without names.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from amlrepro.bench.spec import Gate, Measurement, Setting
from amlrepro.config import EvalConfig, RunConfig
from amlrepro.data.synth import ensure_synth
from amlrepro.engine import numerics
from amlrepro.engine.evaluate import evaluate_run
from amlrepro.engine.train import train
from amlrepro.metrics.compute import values
from amlrepro.metrics.records import Records
from amlrepro.rundir import RunDir
from amlrepro.suite.profile import load_profile, resolve

SEEDS = 5
METRICS = ("oiou", "miou")
# Two-sided 5 % point of Student's t with 2 (SEEDS - 1) = 8 degrees of freedom.
T_8 = 2.306
SPLIT = "val"


def full_trainings(setting: Setting) -> Measurement:
    """Trains CARIS+AML to the end with both numerics and seeds 0 to 4 on synthetic data, and evaluates on val.

    `fast` is bfloat16 here also where the model is too small for it to pay on a CPU. The rule was fixed before the
    first run: for oIoU and mIoU the difference of means is at most t(0.975, 8) s sqrt(2 / 5) with the pooled standard
    deviation s over seeds.
    """
    seconds: dict[str, list[float]] = {"faithful": [], "fast": []}
    scores: dict[str, list[dict[str, float]]] = {"faithful": [], "fast": []}
    before, numerics.BFLOAT16_FROM = numerics.BFLOAT16_FROM, 0
    try:
        with tempfile.TemporaryDirectory() as folder:
            for seed in range(SEEDS):
                for side in seconds:
                    begin = time.perf_counter()
                    scores[side].append(_train(setting, side, seed, Path(folder)))
                    seconds[side].append(time.perf_counter() - begin)
    finally:
        numerics.BFLOAT16_FROM = before
    passed, details = judge(scores)
    found = ", ".join(f"{name} {details[name]['difference']:+.2f}" for name in METRICS)
    bound = ", ".join(f"{name} {details[name]['bound']:.2f}" for name in METRICS)
    return Measurement(
        seconds, gate=Gate("fast less faithful, in points", found, f"at most {bound}", passed), details=details
    )


def judge(scores: Mapping[str, Sequence[Mapping[str, float]]]) -> tuple[bool, dict[str, Any]]:
    """By metric: values a seed of both sides in points, means, pooled standard deviation, difference and its bound."""
    details: dict[str, Any] = {}
    for name in METRICS:
        sides = {side: [seed[name] for seed in seeds] for side, seeds in scores.items()}
        means = {side: statistics.fmean(found) for side, found in sides.items()}
        count = len(sides["fast"])
        pooled = statistics.fmean(statistics.variance(found) for found in sides.values()) ** 0.5
        bound = T_8 * pooled * (2 / count) ** 0.5
        difference = means["fast"] - means["faithful"]
        details[name] = {**sides, "means": means, "pooled_sd": pooled, "difference": difference, "bound": bound}
    return all(abs(details[name]["difference"]) <= details[name]["bound"] for name in METRICS), details


def _train(setting: Setting, side: str, seed: int, folder: Path) -> dict[str, float]:
    config = configuration(setting, side, seed, folder / "data")
    ensure_synth(config.data.synth, folder / "data")
    run = RunDir(folder / side / config.run_id)
    train(config, run)
    return evaluated(run, config)


def configuration(setting: Setting, side: str, seed: int, data: Path) -> RunConfig:
    """A training of one side."""
    execution = {"device": setting.device, "threads": setting.threads, "validate_at": (), "data_root": str(data)}
    overrides = {"train.numerics": side, "init.vision": "scratch", "init.text": "scratch"}
    where = load_profile(setting.sizes), "caris", "inferred", "refcoco", seed
    return resolve(*where, source="synth", overrides=overrides, execution=execution)


def evaluated(run: RunDir, config: RunConfig) -> dict[str, float]:
    """oIoU and mIoU on val, in points."""
    evaluation = EvalConfig(dataset="refcoco", split=SPLIT)
    evaluate_run(run, config, evaluation)
    return values(Records.read(run.evals / f"{evaluation.eval_id}.parquet"), METRICS)
