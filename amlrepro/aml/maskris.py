"""MaskRIS, to compare with: random blocks and words go, and the model teaches itself (official code)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from amlrepro.aml.afm import apply_mask, block_grid
from amlrepro.aml.draws import sample_generators, uniform
from amlrepro.aml.random_mask import random_blocks
from amlrepro.aml.stats import MaskStatistics
from amlrepro.aml.strategies import STRATEGIES, Strategy, with_parts
from amlrepro.config import RunConfig
from amlrepro.data.batch import Batch
from amlrepro.data.tokens import Tokenizer
from amlrepro.errors import UserError
from amlrepro.models.contract import Output, RISModel

MASKED, REPLACED = 0.8, 0.1  # of the selected tokens: become [MASK], become any piece; the others stay


def corrupt_words(
    input_ids: Tensor, share: float, tokenizer: Tokenizer, generators: Sequence[torch.Generator]
) -> Tensor:
    """input_ids [B, L] with about `share` of the ordinary tokens selected, each by its own draw.

    Of the selected ones 80 % become [MASK], 10 % a piece drawn from the whole vocabulary, 10 % stay. Special pieces
    and padding are never selected; a drawn piece may be one.
    """
    selection, piece = uniform(generators, (2, input_ids.shape[1]), input_ids.device).unbind(1)
    special = (tokenizer.pad_id, tokenizer.unk_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id)
    ordinary = ~torch.isin(input_ids, torch.tensor(special, device=input_ids.device))
    assert tokenizer.mask_id is not None
    masked = ordinary & (selection < MASKED * share)
    replaced = ordinary & ~masked & (selection < (MASKED + REPLACED) * share)
    drawn = (piece * tokenizer.vocab_size).long()
    return torch.where(replaced, drawn, input_ids).masked_fill(masked, tokenizer.mask_id)


@STRATEGIES.register("maskris")
class MaskRIS(Strategy):
    """Two passes with gradient, each loss times one half, one update.

    The first learns from the ground truth. The second sees a share `maskris.keep` of the blocks and words that are
    partly masked; its target is what the first one says of each pixel, as probabilities and without gradient.
    """

    def __init__(self, config: RunConfig, model: RISModel, tokenizer: Tokenizer) -> None:
        super().__init__()
        size = config.data.image_size
        self.grid = block_grid((size, size), config.afm.block)
        self.kept = int(config.maskris.keep * self.grid[0] * self.grid[1])
        self.words = config.maskris.words
        self.tokenizer = tokenizer
        self.afm = config.afm
        self.seed = config.seed
        self.statistics = MaskStatistics().to(next(model.parameters()).device)

    @classmethod
    def handles(cls, config: RunConfig) -> bool:
        return config.strategy == "maskris"

    @classmethod
    def build(cls, config: RunConfig, model: RISModel, tokenizer: Tokenizer) -> MaskRIS:
        """Raises `UserError` for a vocabulary without [MASK] and a model that cannot learn from probabilities."""
        if tokenizer.mask_id is None:
            raise UserError(
                "MaskRIS masks words, and this vocabulary has no piece for a masked word",
                where="data.vocabulary",
                found=tokenizer.kind,
                expected="bert or words",
            )
        nothing = torch.zeros(1, 2, 1, 1, device=next(model.parameters()).device)
        if model.soft_loss(Output(nothing, (1, 1)), nothing) is None:
            raise UserError(
                "MaskRIS needs a model that learns two classes by cross-entropy",
                where="afm.source=maskris",
                found=f"{config.model.name}, whose loss is another",
                expected="caris, or a model with `soft_loss`",
            )
        return cls(config, model, tokenizer)

    def losses(self, model: RISModel, batch: Batch) -> dict[str, Tensor]:
        """Half the loss on the whole sample and half the loss on the masked one; both are among the parts."""
        output = model(batch.image, batch.input_ids, batch.attention_mask)
        whole = model.loss(output, batch.target, batch.no_target)["loss"]
        said = output.logits.detach().float().softmax(1)

        size = (int(batch.image.shape[-2]), int(batch.image.shape[-1]))
        count = torch.full((len(batch.image),), self.kept, device=batch.image.device)
        blank = ~random_blocks(count, self.grid, sample_generators(self.seed, batch.index, "maskris blocks"))
        self.statistics.add(blank, None, size, self.afm)
        generators = sample_generators(self.seed, batch.index, "maskris words")
        words = corrupt_words(batch.input_ids, self.words, self.tokenizer, generators)
        masked = model.soft_loss(
            model(apply_mask(batch.image, blank, self.afm.fill), words, batch.attention_mask), said
        )
        assert masked is not None
        return with_parts(0.5 * whole + 0.5 * masked, {"loss_whole": whole, "loss_masked": masked})

    def pop_stats(self) -> dict[str, float]:
        """Mask shares; see `MaskStatistics.pop`."""
        return self.statistics.pop()
