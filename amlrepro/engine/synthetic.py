"""Training steps on noise of a configuration's sizes: what is timed or probed where no data set is needed."""

from __future__ import annotations

from collections.abc import Callable

import torch

from amlrepro.aml.strategies import Strategy, build_strategy
from amlrepro.config import RunConfig
from amlrepro.data.batch import Batch
from amlrepro.data.tokens import SPECIAL, Tokenizer
from amlrepro.engine.measures import apply_measures
from amlrepro.engine.numerics import Precision, choose_precision, flush_denormals
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


def precision_of(config: RunConfig, model: RISModel, device: str) -> Precision:
    """How a configuration's model is trained on a device."""
    flush_denormals(device)
    official = get_spec(config.model.name).protocol.precision
    return choose_precision(device, config.train.numerics, official, sum(p.numel() for p in model.parameters()))


def step_function(config: RunConfig, vocab_size: int, device: str) -> Callable[[], None]:
    """One optimiser step of the configuration's own model, strategy, optimiser and precision, as a call without
    arguments that returns when the device has done it."""
    model, strategy = build_step(config, vocab_size, device)
    optimizer = build_optimizer(model, strategy, config.train)
    batch = synthetic_batch(config, vocab_size, device)
    precision = precision_of(config, model, device)
    apply_measures(config, model, strategy)
    scaler = precision.scaler

    def step() -> None:
        with precision.autocast():
            loss = strategy.losses(model, batch)["loss"]
        torch.autograd.backward(scaler.scale(loss))
        scaler.unscale_(optimizer)
        clip_gradients(optimizer, config.train.clip)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        if device == "cuda":
            torch.cuda.synchronize()

    return step
