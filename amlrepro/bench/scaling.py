"""How the cost of training grows with batch, resolution and data: three sizes each, taken in turn, and the exponent."""

from __future__ import annotations

import math
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from amlrepro.bench.cost import vocabulary
from amlrepro.bench.spec import Measurement, Setting
from amlrepro.bench.stepper import Stepper
from amlrepro.bench.timing import alternate
from amlrepro.config import RunConfig
from amlrepro.metrics.spread import quartiles
from amlrepro.suite.profile import bench_configs

ROUNDS, STEPS = 5, 2
BATCHES = {"smoke": (2, 4, 8), "demo": (4, 8, 16), "paper": (4, 8, 16)}
SIDES = {"smoke": (48, 64, 80), "demo": (80, 112, 160), "paper": (320, 448, 640)}
PICTURES = {"smoke": (4, 8, 16), "demo": (30, 60, 120), "paper": (100, 200, 400)}


def batch(setting: Setting) -> Measurement:
    """Seconds a step of CARIS+AML by the size of its batch."""
    config = _config(setting)
    return _steps(setting, {n: config.with_changes({"train.batch": n}) for n in _sizes(BATCHES, setting)}, "batch")


def resolution(setting: Setting) -> Measurement:
    """Seconds a step of CARIS+AML by the side of its square input in pixels."""
    config, sides = _config(setting), _sizes(SIDES, setting)
    return _steps(setting, {n: config.with_changes({"data.image_size": n}) for n in sides}, "side")


def data(setting: Setting) -> Measurement:
    """Seconds an epoch over all refs of CARIS+AML by the number of pictures of a synthetic training split, loading
    included: pictures are decoded at the first visit."""
    from amlrepro.data.synth import ensure_synth
    from amlrepro.engine.history import Journal
    from amlrepro.engine.session import Session
    from amlrepro.rundir import RunDir

    config = _config(setting)
    sessions: dict[int, Session] = {}
    with tempfile.TemporaryDirectory() as folder:
        for pictures in _sizes(PICTURES, setting):
            changes = {
                "data.source": "synth",
                "data.vocabulary": "words",
                "data.synth.train_images": pictures,
                "data.synth.image_size": config.data.image_size,
                "data.synth.eval_images": 2,
                "train.epoch_refs": None,
                "exec.validate_at": (),
                "exec.device": setting.device,
                "exec.threads": setting.threads,
            }
            sized = config.with_changes(changes)
            root = Path(folder) / f"data{pictures}"
            ensure_synth(sized.data.synth, root, workers=1)
            run = RunDir(Path(folder) / f"run{pictures}")
            sessions[pictures] = Session(sized.with_changes({"exec.data_root": str(root)}), run, Journal(run, None))
        calls = {str(n): _epoch(session) for n, session in sessions.items()}
        refs = [session.data.n_refs for session in sessions.values()]
        seconds = alternate(calls, setting.rounds or 3)
    return _growth(refs, seconds, {"refs": refs, "pictures": list(sessions)})


def _epoch(session: Any) -> Callable[[], None]:
    def epoch() -> None:
        for each in session.data.batches(0, session.steps_per_epoch):
            loss, _, _ = session.update(each)
        loss.item()  # waits for the device

    return epoch


def _config(setting: Setting) -> RunConfig:
    return bench_configs(setting.sizes)["CARIS+AML"]


def _sizes(table: Mapping[str, tuple[int, ...]], setting: Setting) -> tuple[int, ...]:
    return table.get(setting.sizes, table["paper"])


def _steps(setting: Setting, configs: Mapping[int, RunConfig], name: str) -> Measurement:
    """Every size in a process of its own, in turn: seconds a step, and each one's peak memory."""
    with ExitStack() as stack:
        steppers = {n: stack.enter_context(Stepper(c, vocabulary(c), setting)) for n, c in configs.items()}
        memory = {n: stepper.memory() for n, stepper in steppers.items()}
        seconds: dict[str, list[float]] = {str(n): [] for n in configs}
        for _ in range(setting.rounds or ROUNDS):
            for n, stepper in steppers.items():
                seconds[str(n)].append(stepper.steps(STEPS))
    peaks = [each.allocator or each.total for each in memory.values()]
    return _growth(list(configs), seconds, {name: list(configs), "memory_mb": peaks})


def _growth(sizes: Sequence[int], seconds: Mapping[str, list[float]], details: dict[str, Any]) -> Measurement:
    """The exponent of growth in every round, and medians by size."""
    rounds = zip(*seconds.values(), strict=True)
    details["seconds"] = [quartiles(values)["median"] for values in seconds.values()]
    details["shown"] = "; ".join(f"{n}: {took:.2g} s" for n, took in zip(sizes, details["seconds"], strict=True))
    return Measurement(seconds, values=[exponent(sizes, each) for each in rounds], details=details)


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """k of cost = c * size^k by least squares on logarithms; 1 is linear growth."""
    return statistics.linear_regression([math.log(n) for n in sizes], [math.log(cost) for cost in costs]).slope
