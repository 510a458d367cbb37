"""Time and memory of a model's training without and with AML (Tables 9, 10), side by side on synthetic pictures.

What `amlris run table9` measures row by row with pictures that are loaded, alternating here and without loading. Tables
fall back on it, and `amlris plan` charges by it (`suite/benched.py`).
"""

from __future__ import annotations

from typing import Any

from amlrepro.bench.spec import Measurement, Setting
from amlrepro.bench.stepper import Memory, Stepper
from amlrepro.config import RunConfig
from amlrepro.metrics.spread import quartiles
from amlrepro.models.registry import get_spec
from amlrepro.suite.profile import bench_configs, step_configs

ROUNDS, STEPS = 10, 2
MEMORY_ROUNDS = 2


def vocabulary(config: RunConfig) -> int:
    """Size of the vocabulary a configuration's text encoder is built for: BERT's, CLIP's, or a small one of words."""
    return {"bert": 30522, "clip": 49408, "words": 128}[config.data.vocabulary]


def caris(setting: Setting) -> Measurement:
    """CARIS and CARIS+AML."""
    return _pair("caris", setting)


def detris(setting: Setting) -> Measurement:
    """DETRIS and DETRIS+AML."""
    return _pair("detris", setting)


def rela(setting: Setting) -> Measurement:
    """ReLA and ReLA+AML."""
    return _pair("rela", setting)


def memory(setting: Setting) -> Measurement:
    """Peak memory in MiB of CARIS's training and of CARIS+AML's, a fresh process each time, in turn."""
    configs = bench_configs(setting.sizes)
    peaks: dict[str, list[float]] = {side: [] for side in configs}
    for _ in range(MEMORY_ROUNDS):
        for side, config in configs.items():
            with Stepper(config, vocabulary(config), setting) as stepper:
                stepper.steps(STEPS)
                peaks[side].append(stepper.memory().total)
    return Measurement(peaks, "MiB", details={"of": "the GPU's driver" if setting.device == "cuda" else "resident set"})


def _pair(model: str, setting: Setting) -> Measurement:
    """Seconds a step of both, windows of some steps in turn, and the peak memory of each process.

    On a GPU memory is read when a process is warm, before the other one starts, and both stay while time is taken.
    """
    title = get_spec(model).title
    configs = step_configs(setting.sizes, {title: "baseline", f"{title}+AML": "inferred"}, model)
    steppers: dict[str, Stepper] = {}
    peaks: dict[str, Memory] = {}
    try:
        for side, config in configs.items():
            steppers[side] = Stepper(config, vocabulary(config), setting)
            peaks[side] = steppers[side].memory()
        seconds: dict[str, list[float]] = {side: [] for side in configs}
        for _ in range(setting.rounds or ROUNDS):
            for side, stepper in steppers.items():
                seconds[side].append(stepper.steps(STEPS))
    finally:
        for stepper in steppers.values():
            stepper.close()
    rows = [_row(config, seconds[side], peaks[side]) for side, config in configs.items()]
    more = 100 * (rows[1]["memory_mb"] / rows[0]["memory_mb"] - 1)
    shown = f"memory {more:+.1f} %"
    return Measurement(seconds, details={"costs": rows, "memory_overhead_pct": more, "shown": shown})


def _row(config: RunConfig, seconds: list[float], memory: Memory) -> dict[str, Any]:
    """What `suite/benched.py` reads."""
    each = quartiles(seconds)
    return {
        "model": config.model.name,
        "size": config.model.size,
        "image_size": config.data.image_size,
        "aml": config.strategy == "aml",
        "numerics": config.train.numerics,
        "batch": config.train.batch,
        "seconds_per_step": each["median"],
        "seconds_per_step_q1": each["q1"],
        "seconds_per_step_q3": each["q3"],
        "images_per_s": config.train.batch / each["median"],
        "memory_mb": memory.total,
        "allocator_mb": memory.allocator,
    }
