"""AML with a projection that learns (Table 7, Q19)."""

from __future__ import annotations

import torch
from torch import Tensor

from amlrepro.aml.afm import block_grid, to_blocks
from amlrepro.aml.masking import TwoStage
from amlrepro.aml.strategies import STRATEGIES
from amlrepro.config import RunConfig
from amlrepro.data.batch import Batch
from amlrepro.data.tokens import Tokenizer
from amlrepro.models.contract import RISModel

SOFTNESS = 0.1  # of the threshold, in units of S


def straight_through(weak: Tensor, softness: Tensor) -> Tensor:
    """0 and 1 as `weak` (bool) says; backwards as if it were `softness`, its differentiable stand-in."""
    return weak.to(softness.dtype) + (softness - softness.detach())


def blend_mask(image: Tensor, blank: Tensor, fill: float) -> Tensor:
    """Eq. 15 for masks with a gradient: image [B, 3, H, W], blank [B, H/block, W/block] float, 0 or 1 -> as
    `apply_mask` gives, and differentiable in `blank`."""
    rows, columns = image.shape[-2] // blank.shape[1], image.shape[-1] // blank.shape[2]
    pixels = blank.repeat_interleave(rows, 1).repeat_interleave(columns, 2)[:, None].to(image.dtype)
    return image * (1 - pixels) + fill * pixels


@STRATEGIES.register("learnable")
class Learnable(TwoStage):
    """Algorithm 1 with two linear layers in place of the fixed matrices; they learn with the model.

    Stage one is without gradient as ever. Its features, cut off, go through the layers once more with gradient, and
    the mask of stage two counts backwards as sigmoid((tau - S_block) / 0.1) wherever the dropout would blank a weak
    block. So the layers learn what to blank, and the encoders learn nothing through them. Masks are drawn as those of
    the fixed projection: with equal matrices they are equal.
    """

    @classmethod
    def handles(cls, config: RunConfig) -> bool:
        step = config.strategy == "aml" and config.train.step == "forward_only"
        return step and config.afm.level == "image" and config.pmme.projection == "learnable"

    @classmethod
    def build(cls, config: RunConfig, model: RISModel, tokenizer: Tokenizer) -> Learnable:
        return cls(config, model, tokenizer)

    def losses(self, model: RISModel, batch: Batch) -> dict[str, Tensor]:
        """Stage one, S once more with gradient, stage two."""
        similarity = self.compare(self.features(model, batch), batch.input_ids)
        blank = self.blank(similarity, batch)
        self.record(blank, similarity, batch)
        return self.stage_two(model, batch, blend_mask(batch.image, self.soft(blank, similarity, batch), self.afm.fill))

    def soft(self, blank: Tensor, similarity: Tensor, batch: Batch) -> Tensor:
        """blank [B, H/block, W/block] bool as 0 and 1 with the gradient of S [B, h, w]."""
        size = (int(batch.image.shape[-2]), int(batch.image.shape[-1]))
        strength = torch.sigmoid((self.afm.tau - to_blocks(similarity, block_grid(size, self.afm.block))) / SOFTNESS)
        return straight_through(blank, strength * self.blank(torch.zeros_like(similarity), batch))
