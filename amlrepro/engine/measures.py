"""Measures for speed and memory, applied to a model and its strategy once both are on their device."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from amlrepro.aml.strategies import Strategy
from amlrepro.config import RunConfig
from amlrepro.errors import UserError
from amlrepro.models.contract import RISModel


def apply_measures(config: RunConfig, model: RISModel, strategy: Strategy) -> None:
    """What `train.numerics: fast` and `exec.activation_checkpointing` ask for; names of parameters stay.

    Raises `UserError` where a model has no layers to compute again.
    """
    if config.train.numerics == "fast":
        model.speed_up()
        strategy.speed_up()
    if config.exec.activation_checkpointing:
        recompute(model, config.model.name)


def recompute(model: RISModel, name: str) -> None:
    """Keep of each repeated layer its inputs alone and compute it again in the backward pass, with the random numbers
    of the first time. Without gradient, as in stage one, nothing changes."""
    layers: list[Any] = list(model.repeated_layers())
    if not layers:
        raise UserError(
            "this model does not say which of its layers can be computed again",
            where="exec.activation_checkpointing",
            found=name,
            expected="false",
        )
    for layer in layers:
        layer.forward = partial(_recomputed, layer.forward)


def _recomputed(forward: Any, *inputs: Any, **named: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*inputs, **named)
    return checkpoint(forward, *inputs, use_reentrant=False, preserve_rng_state=True, **named)
