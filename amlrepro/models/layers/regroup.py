"""Products taken in the order that costs less: the same sums up to rounding."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

When = Literal["never", "inference", "always"]


class Regrouped(nn.Module):
    """A module that knows a cheaper order for some of its products. `regroup` says when it takes that: by default where
    no gradient is wanted, so that training keeps the official code's order."""

    regroup: When = "inference"

    @property
    def regrouping(self) -> bool:
        """Whether it takes the cheaper order now."""
        return self.regroup == "always" or (self.regroup == "inference" and not torch.is_grad_enabled())


def set_regrouping(model: nn.Module, when: When) -> None:
    """Say for all parts of a model when they take their cheaper order."""
    for module in model.modules():
        if isinstance(module, Regrouped):
            module.regroup = when
