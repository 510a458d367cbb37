"""Side-by-side timing of training steps: the two sides alternate (A B A B ...) in one process, after a warm-up.

Feeds Table 9 (time and memory overhead of stage one). Times are wall-clock seconds of one optimiser step on synthetic
tensors already in memory; the answer is a ratio with its spread, because machines differ and are noisy.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from amlrepro.aml.strategies import Strategy, build_strategy
from amlrepro.config import RunConfig
from amlrepro.data.batch import Batch
from amlrepro.data.tokens import SPECIAL, Tokenizer
from amlrepro.engine.optim import build_optimizer, clip_gradients
from amlrepro.models.contract import RISModel
from amlrepro.models.registry import get_spec, load_object


def synthetic_batch(config: RunConfig, vocab_size: int, device: str, update: int = 0) -> Batch:
    """Noise of the configuration's sizes: image [B, 3, H, H], tokens [B, L] with 3 to L real ones, target [B, H, H]."""
    generator = torch.Generator().manual_seed(update)
    size, length, batch = config.data.image_size, config.data.max_tokens, config.train.batch
    ids = torch.randint(5, vocab_size, (batch, length), generator=generator)
    lengths = torch.randint(3, length + 1, (batch, 1), generator=generator)
    mask = (torch.arange(length)[None] < lengths).long()
    image = torch.randn(batch, 3, size, size, generator=generator)
    target = torch.zeros(batch, size, size, dtype=torch.long)
    target[:, size // 4 : size // 2, size // 4 : size // 2] = 1
    return Batch(image, ids * mask, mask, target, torch.arange(batch) + update * batch, update).to(device)


def build_step(config: RunConfig, vocab_size: int, device: str) -> tuple[RISModel, Strategy]:
    """The configuration's own model with fresh weights, and its strategy, in training mode."""
    torch.manual_seed(config.seed)
    model: RISModel = load_object(get_spec(config.model.name).build)(config, vocab_size).to(device).train()
    words = [f"word{number}" for number in range(vocab_size - len(SPECIAL))]
    strategy = build_strategy(config, model, Tokenizer("words", [*SPECIAL, *words])).to(device).train()
    return model, strategy


def step_function(config: RunConfig, vocab_size: int, device: str) -> Callable[[], None]:
    """One optimiser step of the configuration's own model, strategy and optimiser, as a call without arguments."""
    model, strategy = build_step(config, vocab_size, device)
    optimizer = build_optimizer(model, strategy, config.train)
    batch = synthetic_batch(config, vocab_size, device)
    autocast = torch.autocast("cuda", dtype=torch.bfloat16, enabled=device == "cuda")

    def step() -> None:
        with autocast:
            loss = strategy.losses(model, batch)["loss"]
        torch.autograd.backward(loss)
        clip_gradients(optimizer, config.train.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if device == "cuda":
            torch.cuda.synchronize()

    return step


def alternate(sides: dict[str, Callable[[], None]], rounds: int, warmup: int) -> dict[str, list[float]]:
    """Seconds of every call, by side; each round calls every side once, in order."""
    for _ in range(warmup):
        for call in sides.values():
            call()
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, call in sides.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def quartiles(values: list[float]) -> dict[str, float]:
    """Median and interquartile bounds."""
    low, mid, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": mid, "q1": low, "q3": high}


def bench_pair(
    name: str, configs: dict[str, RunConfig], *, vocab_size: int, rounds: int, warmup: int
) -> dict[str, Any]:
    """Time two configurations against each other; `ratio` is second over first, taken round by round.

    Raises `ValueError` unless there are exactly two sides.
    """
    if len(configs) != 2:
        raise ValueError(f"two sides are compared, got {len(configs)}")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    calls = {side: step_function(config, vocab_size, device) for side, config in configs.items()}
    seconds = alternate(calls, rounds, warmup)
    first, second = seconds
    ratios = [b / a for a, b in zip(seconds[first], seconds[second], strict=True)]
    return {
        "name": name,
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "rounds": rounds,
        "batch": next(iter(configs.values())).train.batch,
        "seconds": {side: quartiles(values) for side, values in seconds.items()},
        "ratio": quartiles(ratios),
    }
