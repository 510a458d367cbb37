"""Projections that bring vision and text features to one width before they are compared (Eqs. 4 and 5).

A projection maps vision [B, M, D_i] and text [B, L, D_t] to two tensors of equal last dimension. All are drawn once
from the run's seed. Fixed ones are buffers, so they are saved with a run and no optimiser sees them (Q03); the
learnable one has parameters, which its strategy gives a gradient (Q19).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from amlrepro.aml.draws import generator_for
from amlrepro.aml.registry import Registry
from amlrepro.sections import PMMEConfig


class Projection(nn.Module):
    """Base of all projections."""

    def forward(self, vision: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """vision [B, M, D_i], text [B, L, D_t] -> [B, M, D], [B, L, D]."""
        raise NotImplementedError

    def speed_up(self) -> None:
        """Take a quicker way to the same inner products, up to rounding, where there is one."""


ProjectionFactory = Callable[[int, int, PMMEConfig, int], Projection]
PROJECTIONS: Registry[ProjectionFactory] = Registry("pmme.projection")


def build_projection(vision_width: int, text_width: int, config: PMMEConfig, seed: int) -> Projection:
    """The projection `config.projection` for features of widths D_i and D_t; raises `UserError` if there is none."""
    return PROJECTIONS.get(config.projection)(vision_width, text_width, config, seed)


class GaussianPair(Projection):
    """V' = V W_i, T' = T W_t with entries of both independent N(0, 1/D_a) (Eqs. 4 and 5; reading Q02)."""

    vision: Tensor
    text: Tensor

    def __init__(self, vision_width: int, text_width: int, dim: int, generator: torch.Generator) -> None:
        super().__init__()
        for name, width in (("vision", vision_width), ("text", text_width)):
            self.register_buffer(name, torch.randn(width, dim, generator=generator) / math.sqrt(dim))
        self._product: Tensor | None = None

    def speed_up(self) -> None:
        """V' T'^T = V (W_i W_t^T) T^T: with the product [D_t, D_i] kept, the few tokens are projected in place of the
        many patches. Call it when the matrices are on their device and final."""
        self._product = self.text @ self.vision.T

    def forward(self, vision: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """vision [B, M, D_i], text [B, L, D_t] -> [B, M, D], [B, L, D], D being D_a, or D_i when sped up."""
        if self._product is not None:
            return vision, text @ self._product
        return vision @ self.vision, text @ self.text


class TextLinear(Projection):
    """The released projection: one linear layer with bias brings text to the vision width; vision stays as it is.

    Weight and bias are uniform in +-1/sqrt(D_t), the default of a linear layer. In the released code they are
    parameters that never receive a gradient; here they are buffers.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, vision_width: int, text_width: int, generator: torch.Generator) -> None:
        super().__init__()
        bound = 1 / math.sqrt(text_width)
        shapes = (("weight", (vision_width, text_width)), ("bias", (vision_width,)))
        for name, shape in shapes:
            self.register_buffer(name, torch.empty(shape).uniform_(-bound, bound, generator=generator))

    def forward(self, vision: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """vision [B, M, D_i], text [B, L, D_t] -> [B, M, D_i], [B, L, D_i]."""
        return vision, nn.functional.linear(text, self.weight, self.bias)


class LearnablePair(GaussianPair):
    """Two linear layers without bias in place of the fixed matrices; they start where those would be (Table 7)."""

    def __init__(self, vision_width: int, text_width: int, dim: int, generator: torch.Generator) -> None:
        super().__init__(vision_width, text_width, dim, generator)
        for name, drawn in list(self.named_buffers()):
            delattr(self, name)
            self.register_parameter(name, nn.Parameter(drawn))

    def speed_up(self) -> None:
        """Nothing: what learns is no fixed product."""


@PROJECTIONS.register("gaussian")
def _gaussian(vision_width: int, text_width: int, config: PMMEConfig, seed: int) -> Projection:
    return GaussianPair(vision_width, text_width, config.dim, _generator(config, seed))


@PROJECTIONS.register("learnable")
def _learnable(vision_width: int, text_width: int, config: PMMEConfig, seed: int) -> Projection:
    return LearnablePair(vision_width, text_width, config.dim, _generator(config, seed))


@PROJECTIONS.register("text_linear")
def _text_linear(vision_width: int, text_width: int, config: PMMEConfig, seed: int) -> Projection:
    return TextLinear(vision_width, text_width, _generator(config, seed))


def _generator(config: PMMEConfig, seed: int) -> torch.Generator:
    """Fused features have matrices of their own (Q17)."""
    return generator_for(seed, "late projection" if config.stage == "late" else "projection")
