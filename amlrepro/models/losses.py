"""Means over the pixels or samples of a batch that may lie in several processes.

Training with several processes averages their gradients. A mean taken in each process alone would make that average
another function than the loss of the whole batch wherever its denominator differs between processes, as the sum of
class weights does. The losses here are divided by the denominator of all processes and multiplied by their number, so
that the average over processes of values and gradients is that of the batch in one process.

Every process must call them equally often. In a single process they are PyTorch's own, to the bit.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor


def processes() -> int:
    """How many processes train together: 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def cross_entropy(logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Class-weighted cross-entropy sum(w_t ce) / sum(w_t) of logits [B, K, ...] and target [B, ...] int64, or of
    probabilities [B, K, ...], where PyTorch divides by the number of positions; weight [K]."""
    if processes() == 1:
        return F.cross_entropy(logits, target, weight)
    total = F.cross_entropy(logits, target, weight, reduction="sum")
    if target.is_floating_point():
        return mean_over_processes(total, target.numel() // target.shape[1])
    return mean_over_processes(total, target.numel() if weight is None else weight.double()[target].sum())


def binary_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean binary cross-entropy of logits and target in [0, 1], of one shape."""
    if processes() == 1:
        return F.binary_cross_entropy_with_logits(logits, target)
    total = F.binary_cross_entropy_with_logits(logits, target, reduction="sum")
    return mean_over_processes(total, target.numel())


def mean_over_processes(total: Tensor, count: Tensor | float) -> Tensor:
    """`total` (scalar sum of this process's terms) over the count of all processes, times their number.

    count: of this process's terms, or the sum of their weights.
    """
    everywhere = torch.as_tensor(count, dtype=torch.float64, device=total.device).detach().clone()
    dist.all_reduce(everywhere)
    return total * (processes() / everywhere).to(total.dtype)
