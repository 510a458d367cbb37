"""What `train.numerics: fast` and activation checkpointing bring a training step of CARIS."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import torch

from amlrepro.bench.cost import vocabulary
from amlrepro.bench.spec import Gate, Measurement, Setting
from amlrepro.bench.stepper import Stepper
from amlrepro.config import RunConfig
from amlrepro.engine.measures import apply_measures
from amlrepro.engine.numerics import seed_torch
from amlrepro.engine.synthetic import build_step, precision_of, synthetic_batch
from amlrepro.suite.profile import bench_configs

ROUNDS, MEMORY_STEPS = 30, 3
# Where AML and Swin have their real shapes, in little: the demo's models are too small for bfloat16 to pay.
BASE: dict[str, Any] = {"model.size": "base", "data.image_size": 448, "train.batch": 1, "afm.block": 32}


def time_fast(setting: Setting) -> Measurement:
    """Seconds of a step of CARIS, `faithful` and `fast`, at the setting's sizes."""
    return _fast(setting, {}, ROUNDS)


def time_fast_base(setting: Setting) -> Measurement:
    """The same with Swin-B and BERT-base, one picture of 448 x 448."""
    return _fast(setting, BASE, 4)


def _fast(setting: Setting, changes: Mapping[str, Any], rounds: int) -> Measurement:
    """Each side steps in a process of its own: TensorFloat-32, which `fast` allows, switches the whole process."""
    config = bench_configs(setting.sizes)["CARIS"].with_changes(changes)
    sides = {side: config.with_changes({"train.numerics": side}) for side in ("faithful", "fast")}
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    with ExitStack() as stack:
        steppers = {side: stack.enter_context(Stepper(c, vocabulary(c), setting)) for side, c in sides.items()}
        for _ in range(setting.rounds or rounds):
            for side, stepper in steppers.items():
                seconds[side].append(stepper.steps(1))
    return Measurement(seconds, details={"batch": config.train.batch, "side": config.data.image_size})


def checkpointing(setting: Setting) -> Measurement:
    """Peak memory in MiB of a training without and with activation checkpointing, each in a process of its own; gate:
    loss and gradients are the same bits."""
    config = bench_configs(setting.sizes)["CARIS+AML"]
    sides = {
        side: config.with_changes({"exec.activation_checkpointing": on})
        for side, on in (("without", False), ("with", True))
    }
    memory: dict[str, list[float]] = {}
    seconds: dict[str, float] = {}
    for side, each in sides.items():
        with Stepper(each, vocabulary(each), setting) as stepper:
            seconds[side] = stepper.steps(MEMORY_STEPS)
            found = stepper.memory()
            memory[side] = [found.total - (found.before or 0.0)]
    same = _same_bits(sides["without"], sides["with"], setting.device)
    gate = Gate("bits of loss and gradients", "equal" if same else "different", "equal", same)
    return Measurement(memory, "MiB", gate, details={"seconds_per_step": seconds, "batch": config.train.batch})


def _same_bits(first: RunConfig, second: RunConfig, device: str) -> bool:
    found = []
    for config in (first, second):
        model, strategy = build_step(config, vocabulary(config), device)
        apply_measures(config, model, strategy)
        seed_torch(config.seed, "update")
        with precision_of(config, model, device).autocast():
            loss = strategy.losses(model, synthetic_batch(config, vocabulary(config), device))["loss"]
        torch.autograd.backward(loss)
        found.append([loss.detach(), *(p.grad for p in model.parameters() if p.grad is not None)])
    return all(torch.equal(a, b) for a, b in zip(*found, strict=True))
