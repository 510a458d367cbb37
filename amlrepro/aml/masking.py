"""Strategies that learn from masked images, except those with random masks."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from amlrepro.aml.afm import apply_mask, block_grid, drop
from amlrepro.aml.draws import sample_generators
from amlrepro.aml.pmme import PMME, select_tokens
from amlrepro.aml.projection import build_projection
from amlrepro.aml.stages import STAGES, Features, encode_whole
from amlrepro.aml.stats import MaskStatistics
from amlrepro.aml.strategies import STRATEGIES, Strategy, in_mode, with_parts
from amlrepro.config import RunConfig
from amlrepro.data.batch import Batch
from amlrepro.data.tokens import Tokenizer
from amlrepro.models.contract import Encoded, Output, RISModel


class Similarity(Strategy):
    """What all strategies with a similarity map share: S from a model's features, statistics."""

    def __init__(self, config: RunConfig, model: RISModel, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.afm = config.afm
        self.settings = config.pmme
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
            features = self.stage(model, encoded, None, config.pmme)
        widths = features.vision.shape[-1], features.text.shape[-1]
        projection = build_projection(*widths, config.pmme, config.seed)
        return PMME(projection, config.pmme.normalize == "l2", config.pmme.scale)

    def speed_up(self) -> None:
        """Fixed projections as one product."""
        self.pmme.projection.speed_up()

    @torch.no_grad()
    def similarity(self, model: RISModel, encoded: Encoded, input_ids: Tensor, output: Output | None = None) -> Tensor:
        """S [B, h, w] of encoded samples, without gradient (Eqs. 3 to 7). input_ids [B, L]; output: what `segment` gave
        for them, if it has been called."""
        return self.compare(self.stage(model, encoded, output, self.settings), input_ids)

    def compare(self, features: Features, input_ids: Tensor) -> Tensor:
        """S [B, h, w] of features (Eqs. 3 to 7), and what a predicted foreground does to it (Q18)."""
        prior, role = features.prior, self.settings.pred
        if prior is not None and role == "probability":
            return prior.reshape(-1, *features.grid)
        selected = select_tokens(self.settings.tokens, features.text_mask, input_ids, self.end_mark)
        weight = prior if role == "weight" else None
        similarity: Tensor = self.pmme(features.vision, features.text, selected, weight)
        if prior is not None and role == "product":
            similarity = similarity * prior
        return similarity.reshape(-1, *features.grid)

    def record(self, blank: Tensor, similarity: Tensor | None, batch: Batch) -> None:
        """Count a batch's masks."""
        size = (int(batch.image.shape[-2]), int(batch.image.shape[-1]))
        self.statistics.add(blank, similarity, size, self.afm)

    def pop_stats(self) -> dict[str, float]:
        """Mask shares and the moments of S; see `MaskStatistics.pop`."""
        return self.statistics.pop()


class Masking(Similarity):
    """Strategies that blank blocks of the picture where S is low."""

    def __init__(self, config: RunConfig, model: RISModel, tokenizer: Tokenizer) -> None:
        block_grid((config.data.image_size, config.data.image_size), config.afm.block)
        super().__init__(config, model, tokenizer)

    @torch.no_grad()
    def blank(self, similarity: Tensor, batch: Batch) -> Tensor:
        """Blocks to blank [B, H/block, W/block] bool, drawn for each sample by its index."""
        size = (int(batch.image.shape[-2]), int(batch.image.shape[-1]))
        return drop(similarity, size, self.afm, sample_generators(self.seed, batch.index))


class TwoStage(Masking):
    """Algorithm 1: a forward-only pass gives the mask; the model learns on the masked image alone."""

    def __init__(self, config: RunConfig, model: RISModel, tokenizer: Tokenizer) -> None:
        super().__init__(config, model, tokenizer)
        mode = config.pmme.mode
        self.mode: Literal["train", "eval"] = model.protocol.stage_one_mode if mode == "protocol" else mode

    @torch.no_grad()
    def features(self, model: RISModel, batch: Batch) -> Features:
        """What S is made of, from the whole images; modes of the model are afterwards as before."""
        with in_mode(model, self.mode):
            inputs = batch.image, batch.input_ids, batch.attention_mask
            encoded = encode_whole(model, self.settings.stage, *inputs)
            features = self.stage(model, encoded, None, self.settings)
        torch.clear_autocast_cache()  # older releases reuse weights that were cast without gradient
        return features

    @torch.no_grad()
    def stage_one(self, model: RISModel, batch: Batch) -> Tensor:
        """S [B, h, w] of the whole images."""
        return self.compare(self.features(model, batch), batch.input_ids)

    def stage_two(self, model: RISModel, batch: Batch, image: Tensor) -> dict[str, Tensor]:
        """The loss on the masked image [B, 3, H, W] against the unchanged target (Q09)."""
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
        return self.stage_two(model, batch, apply_mask(batch.image, blank, self.afm.fill))
