"""timm's Swin blocks with what `train.numerics: fast` allows: equal to rounding, equal random numbers, quicker."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

Branch = Callable[[Tensor], Tensor]


def quicken(swin: Any) -> None:
    """Have every block of a timm `SwinTransformer` computed by `_forward`; parameters and their names stay."""
    for stage in swin.layers:
        for block in stage.blocks:
            block.forward = partial(_forward, block)


def _forward(block: Any, x: Tensor) -> Tensor:
    """A block on x [B, H, W, C]. Without gradient its windows go through PyTorch's fused attention; with gradient not,
    since Swin's bias learns, and there fused attention was measured to be slower."""
    block.attn.fused_attn = not torch.is_grad_enabled()
    x = add_branch(x, lambda rows: block._attn(block.norm1(rows)), block.drop_path1)
    return add_branch(x, lambda rows: block.mlp(block.norm2(rows)), block.drop_path2)


def add_branch(x: Tensor, branch: Branch, drop: Any) -> Tensor:
    """x + drop(branch(x)) for x [B, ...] and timm's `DropPath`, or anything else that is a function.

    On the CPU the branch is computed for the samples that keep it alone. Which ones is drawn as timm draws it. On a GPU
    choosing samples would wait for the device in every block, so that all of them are computed.
    """
    rate = getattr(drop, "drop_prob", 0.0)
    if x.device.type != "cpu" or not getattr(drop, "training", False) or not 0.0 < rate < 1.0:
        out: Tensor = x + drop(branch(x))
        return out
    # Drawn in the type that the branch would have: the generator goes on by as much as in timm's own.
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    keep = x.new_empty(len(x), dtype=dtype).bernoulli_(1.0 - rate)
    rows = keep.nonzero().flatten()
    if len(rows) == 0:  # one sample, times zero: with several processes every parameter must have a gradient
        return x.index_add(0, rows.new_zeros(1), branch(x[:1]).to(x.dtype) * 0.0)
    kept = x if len(rows) == len(x) else x[rows]
    scaled = branch(kept) / (1.0 - rate if drop.scale_by_keep else 1.0)
    return x + scaled if len(rows) == len(x) else x.index_add(0, rows, scaled.to(x.dtype))
