"""Optimiser, learning-rate schedule and gradient clipping."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from amlrepro.models.contract import RISModel
from amlrepro.sections import TrainConfig


def lr_factor(t: int, total: int, train: TrainConfig) -> float:
    """Factor on every group's base rate at update `t` (zero-based) of a schedule of `total` updates.

    Linear warm-up over `train.warmup` updates W from ratio r: 1 - (1 - t/W)(1 - r) for 1 <= t <= W. Then `poly`:
    (1 - t/total)^power, with t counted from the start of training, warm-up included, so there is a small step down
    at W + 1; `step`: `drop_factor` for each of `drops` that has passed; `constant`: 1. With `first_step_full` update 0
    runs at the full rate, a quirk of CARIS's scheduler that its published training contains.
    """
    if t == 0 and (train.first_step_full or train.warmup == 0):
        return 1.0
    if t <= train.warmup:
        return 1.0 - (1.0 - t / train.warmup) * (1.0 - train.warmup_ratio)
    if train.schedule == "poly":
        return float(max(0.0, 1.0 - t / total) ** train.power)
    if train.schedule == "step":
        unit = 1 if train.drop_unit == "update" else total // train.horizon
        return float(train.drop_factor ** sum(t >= drop * unit for drop in train.drops))
    return 1.0


def build_optimizer(model: RISModel, strategy: nn.Module, train: TrainConfig) -> torch.optim.Optimizer:
    """AdamW (or Adam) over the model's parameter groups and what the training strategy owns.

    Groups of role "encoder" run at `encoder_lr` times the rate; groups without decay have weight decay 0. Parameters of
    the strategy get the full rate and the decay. Groups carry `name`, `param_names` and `base_lr`.
    """
    settings: list[dict[str, Any]] = [
        {
            "params": [(f"model.{name}", p) for name, p in group.parameters if p.requires_grad],
            "lr": train.lr * (train.encoder_lr if group.role == "encoder" else 1.0),
            "weight_decay": train.weight_decay if group.decay else 0.0,
            "name": group.name,
        }
        for group in model.parameter_groups()
    ]
    owned = [(f"strategy.{name}", p) for name, p in strategy.named_parameters() if p.requires_grad]
    settings.append({"params": owned, "lr": train.lr, "weight_decay": train.weight_decay, "name": "strategy"})
    kind = torch.optim.AdamW if train.optimizer == "adamw" else torch.optim.Adam
    optimizer = kind([group for group in settings if group["params"]], lr=train.lr, fused=True)
    for group in optimizer.param_groups:
        group["base_lr"] = group["lr"]
    return optimizer


def set_rate(optimizer: torch.optim.Optimizer, factor: float) -> float:
    """Set every group's rate to `factor` times its base rate; returns the largest."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
    return float(max(group["lr"] for group in optimizer.param_groups))


def clip_gradients(optimizer: torch.optim.Optimizer, limit: float | None) -> Tensor:
    """Scale all gradients so that their total L2 norm is at most `limit`; returns the norm before (scalar tensor).

    The many small tensors are handled together (`foreach`), also on the CPU. With `limit` None it only measures.
    """
    gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    norm = nn.utils.get_total_norm(gradients, foreach=True)
    if limit is not None:
        torch._foreach_mul_(gradients, torch.clamp(limit / (norm + 1e-6), max=1.0))
    return norm
