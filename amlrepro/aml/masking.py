"""Strategies that learn from masked images, except those with random masks."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from amlrepro.aml.afm import apply_mask, block_grid, drop
from amlrepro.aml.draws import sample_generators
from amlrepro.aml.pmme import PMME, select_tokens
from amlrepro.aml.projection import build_projection
from amlrepro.aml.stages import STAGES
from amlrepro.aml.stats import MaskStatistics
from amlrepro.aml.strategies import STRATEGIES, Strategy, in_mode, with_parts
from amlrepro.config import RunConfig
from amlrepro.data.batch import Batch
from amlrepro.data.tokens import Tokenizer
from amlrepro.models.contract import Encoded, Output, RISModel


class Masking(Strategy):
    """What all strategies with a similarity map share: S from a model's features, blocks to blank, statistics."""

    def __init__(self, config: RunConfig, model: RISModel, tokenizer: Tokenizer) -> None:
        super().__init__()
        block_grid((config.data.image_size, config.data.image_size), config.afm.block)
        self.afm = config.afm
        self.tokens = config.pmme.tokens
        self.end_mark = tokenizer.sep_id
        self.seed = config.seed
        self.stage = STAGES.get(config.pmme.stage)
        self.pmme = self._build_pmme(config, model)
        self.statistics = MaskStatistics()
        self.to(next(model.parameters()).device)

    def _build_pmme(self, config: RunConfig, model: RISModel) -> PMME:
        """Feature widths are measured on a blank sample, so that no model has to declare them."""
        device = next(model.parameters()).device
        size = config.data.image_size
        ids = torch.zeros(1, config.data.max_tokens, dtype=torch.int64, device=device)
        with torch.no_grad(), in_mode(model, "eval"):
            encoded = model.encode_stage_one(torch.zeros(1, 3, size, size, device=device), ids, torch.ones_like(ids))
            features = self.stage(model, encoded, None)
        widths = features.vision.shape[-1], features.text.shape[-1]
        projection = build_projection(*widths, config.pmme, config.seed)
        return PMME(projection, config.pmme.normalize == "l2", config.pmme.scale)

    @torch.no_grad()
    def similarity(self, model: RISModel, encoded: Encoded, input_ids: Tensor, output: Output | None = None) -> Tensor:
        """S [B, h, w] of encoded samples, without gradient (Eqs. 3 to 7). input_ids [B, L]."""
        features = self.stage(model, encoded, output)
        selected = select_tokens(self.tokens, features.text_mask, input_ids, self.end_mark)
        similarity: Tensor = self.pmme(features.vision, features.text, selected)
        return similarity.reshape(-1, *features.grid)

    @torch.no_grad()
    def blank(self, similarity: Tensor, batch: Batch) -> Tensor:
        """Blocks to blank [B, H/block, W/block] bool, drawn for each sample by its index."""
        size = (int(batch.image.shape[-2]), int(batch.image.shape[-1]))
        return drop(similarity, size, self.afm, sample_generators(self.seed, batch.index))

    def record(self, blank: Tensor, similarity: Tensor | None, batch: Batch) -> None:
        """Count a batch's masks."""
        size = (int(batch.image.shape[-2]), int(batch.image.shape[-1]))
        self.statistics.add(blank, similarity, size, self.afm)

    def pop_stats(self) -> dict[str, float]:
        """Mask shares and the moments of S; see `MaskStatistics.pop`."""
        return self.statistics.pop()


class TwoStage(Masking):
    """Algorithm 1: a forward-only pass gives the mask; the model learns on the masked image alone."""

    def __init__(self, config: RunConfig, model: RISModel, tokenizer: Tokenizer) -> None:
        super().__init__(config, model, tokenizer)
        mode = config.pmme.mode
        self.mode: Literal["train", "eval"] = model.protocol.stage_one_mode if mode == "protocol" else mode

    @torch.no_grad()
    def stage_one(self, model: RISModel, batch: Batch) -> Tensor:
        """S [B, h, w] of the whole images; modes of the model are afterwards as before."""
        with in_mode(model, self.mode):
            encoded = model.encode_stage_one(batch.image, batch.input_ids, batch.attention_mask)
            similarity = self.similarity(model, encoded, batch.input_ids)
        torch.clear_autocast_cache()  # older releases reuse weights that were cast without gradient
        return similarity

    def stage_two(self, model: RISModel, batch: Batch, blank: Tensor) -> dict[str, Tensor]:
        """The loss on the masked image against the unchanged target (Q09)."""
        image = apply_mask(batch.image, blank, self.afm.fill)
        parts = model.loss(model(image, batch.input_ids, batch.attention_mask), batch.target, batch.no_target)
        return with_parts(parts["loss"], parts)


@STRATEGIES.register("forward_only")
class ForwardOnly(TwoStage):
    """AML as Algorithm 1 prints it."""

    @classmethod
    def handles(cls, config: RunConfig) -> bool:
        step = config.strategy == "aml" and config.train.step == "forward_only"
        return step and config.afm.level == "image" and config.pmme.projection != "learnable"

    @classmethod
    def build(cls, config: RunConfig, model: RISModel, tokenizer: Tokenizer) -> ForwardOnly:
        return cls(config, model, tokenizer)

    def losses(self, model: RISModel, batch: Batch) -> dict[str, Tensor]:
        """Stage one, then stage two."""
        similarity = self.stage_one(model, batch)
        blank = self.blank(similarity, batch)
        self.record(blank, similarity, batch)
        return self.stage_two(model, batch, blank)
