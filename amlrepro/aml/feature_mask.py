"""Masking in feature space (Table 18; Eqs. 15' and 16, Q21)."""

from __future__ import annotations

import torch
from torch import Tensor

from amlrepro.aml.masking import Similarity
from amlrepro.aml.strategies import STRATEGIES, with_parts
from amlrepro.config import RunConfig
from amlrepro.data.batch import Batch
from amlrepro.data.tokens import Tokenizer
from amlrepro.models.contract import RISModel


def hidden_positions(similarity: Tensor, tau: float) -> Tensor:
    """Eq. 16: True where S <= tau. S [B, h, w] -> bool [B, h, w].

    A sample whose positions would all go keeps them all: nothing of its deepest map would be left to read (Q21).
    """
    weak = similarity <= tau
    return weak & ~weak.flatten(1).all(1)[:, None, None]


@STRATEGIES.register("feature")
class FeatureMask(Similarity):
    """One pass on whole pictures, in which the decoder's attention cannot read weak positions of the deepest map.

    S comes from the encoder features of the same pass, without gradient. The same positions are hidden from every
    query and in every layer; finer maps stay visible; there is no dropout rho. Outside training nothing is hidden.
    """

    fallbacks: Tensor

    def __init__(self, config: RunConfig, model: RISModel, tokenizer: Tokenizer) -> None:
        super().__init__(config, model, tokenizer)
        self.register_buffer("fallbacks", torch.zeros(2, dtype=torch.float64, device=next(model.parameters()).device))

    @classmethod
    def handles(cls, config: RunConfig) -> bool:
        return config.strategy == "aml" and config.afm.level == "feature"

    @classmethod
    def build(cls, config: RunConfig, model: RISModel, tokenizer: Tokenizer) -> FeatureMask:
        return cls(config, model, tokenizer)

    def losses(self, model: RISModel, batch: Batch) -> dict[str, Tensor]:
        """One forward pass with weak positions hidden."""
        encoded = model.encode(batch.image, batch.input_ids, batch.attention_mask)
        similarity = self.similarity(model, encoded, batch.input_ids)
        hidden = hidden_positions(similarity, self.afm.tau)
        self.record(hidden, similarity, batch)
        spared = (similarity <= self.afm.tau).flatten(1).all(1)
        self.fallbacks += torch.stack([spared.sum(), torch.full_like(spared.sum(), len(spared))])
        bias = torch.zeros_like(similarity).masked_fill(hidden, float("-inf")).flatten(1)
        parts = model.loss(model.segment(encoded, attention_bias=bias), batch.target, batch.no_target)
        return with_parts(parts["loss"], parts)

    def sums(self) -> list[Tensor]:
        """Those of the masks, and `fallbacks`."""
        return [*super().sums(), self.fallbacks]

    def pop_stats(self) -> dict[str, float]:
        """As of all masks (`MaskStatistics.pop`), blocks being positions here, and spared: the share of samples whose
        positions were all weak, so that none was hidden."""
        spared, samples = self.fallbacks.tolist()
        self.fallbacks.zero_()
        return {**super().pop_stats(), "spared": spared / samples} if samples else {}
