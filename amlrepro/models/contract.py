"""The contract every model fulfils (design: a model's contract). A model knows nothing of training strategies."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from amlrepro.models.spec import Protocol


@dataclass
class Visual:
    """Vision free of text. levels: feature maps, finest first, each [B, C_i, H_i, W_i]; the last is the deepest."""

    levels: list[Tensor]

    def select(self, index: Tensor) -> Visual:
        """Rows `index` [N] of every level: one encoded image serves several sentences."""
        return Visual([level.index_select(0, index) for level in self.levels])


@dataclass
class Textual:
    """Text features. tokens [B, L, D_t]; mask [B, L] 1 for real tokens; extra: what else the model's decoder needs."""

    tokens: Tensor
    mask: Tensor
    extra: dict[str, Tensor] = field(default_factory=dict)


@dataclass
class Encoded:
    """Both modalities of a batch, ready for `segment`."""

    visual: Visual
    textual: Textual
    input_size: tuple[int, int]


@dataclass
class Output:
    """What `segment` gives. logits before upsampling: [B, 2, h, w] (channel 1 the referent) or [B, 1, h, w].
    input_size: (H, W) of the network's input. fused_vision [B, M, C], fused_text [B, L, C']: features after fusion at
    the coarsest scale, row by row on fused_grid (h, w), M = h w, for the Late stage; None where a model has none.
    no_target: logits [B, 2] of a head that tells whether the expression names nothing (channel 1), where there is one.
    """

    logits: Tensor
    input_size: tuple[int, int]
    fused_vision: Tensor | None = None
    fused_text: Tensor | None = None
    no_target: Tensor | None = None
    fused_grid: tuple[int, int] | None = None


@dataclass
class ParameterGroup:
    """Parameters that share a learning-rate factor and a decay, by role."""

    name: str
    parameters: list[tuple[str, nn.Parameter]]
    role: Literal["encoder", "rest"]
    decay: bool


class RISModel(nn.Module, ABC):
    """A referring-segmentation model."""

    protocol: Protocol

    @abstractmethod
    def encode_image(self, image: Tensor) -> Visual:
        """image [B, 3, H, W] -> visual features without text."""

    @abstractmethod
    def encode_text(self, input_ids: Tensor, attention_mask: Tensor, visual: Visual) -> Textual:
        """ids, mask [B, L] -> text features (CARIS: with prompts made from the image)."""

    def encode(self, image: Tensor, input_ids: Tensor, attention_mask: Tensor) -> Encoded:
        """Both encoders; models whose vision contains language override this and refuse the two above."""
        visual = self.encode_image(image)
        size = (int(image.shape[-2]), int(image.shape[-1]))
        return Encoded(visual, self.encode_text(input_ids, attention_mask, visual), size)

    def encode_stage_one(self, image: Tensor, input_ids: Tensor, attention_mask: Tensor) -> Encoded:
        """What AML's first pass encodes for `pmme_features`; models with other readings of it (Q14, Q15) override."""
        return self.encode(image, input_ids, attention_mask)

    def encode_early(self, image: Tensor, input_ids: Tensor, attention_mask: Tensor) -> Encoded:
        """As `encode_stage_one`, for a caller that asks nothing of it but `pmme_features`: models may leave out what
        these do not read, as long as they draw the same random numbers."""
        return self.encode_stage_one(image, input_ids, attention_mask)

    def speed_up(self) -> None:
        """Take what is quicker and changes results by rounding only (`train.numerics: fast`), where there is such."""

    def repeated_layers(self) -> list[nn.Module]:
        """The layers that activation checkpointing computes again in the backward pass; none if the model has no say
        in it. They are called as modules, and whatever they give depends on their inputs and parameters alone."""
        return []

    @abstractmethod
    def segment(self, encoded: Encoded, attention_bias: Tensor | None = None) -> Output:
        """Decoder: logits before upsampling. attention_bias [B, M]: feature-level masking only (Eqs. 15', 16), for
        models whose protocol says `hides_positions`; added to every score with which the decoder's attention reads the
        M positions of the deepest map (row by row), minus infinity where a position is hidden."""

    @abstractmethod
    def loss(self, output: Output, target: Tensor, no_target: Tensor | None = None) -> dict[str, Tensor]:
        """target [B, H, W] -> {"loss": scalar, parts...}.

        no_target [B] bool: expressions that name nothing, where the data have such. It is for a head that says so;
        models without one take no notice.
        """

    def soft_loss(self, output: Output, probability: Tensor) -> Tensor | None:
        """The loss (scalar) against class probabilities [B, 2, h, w] at the logits' own size; None for a model whose
        loss is not a cross-entropy of two channels."""
        return None

    @abstractmethod
    def predict(self, output: Output, size: Sequence[int]) -> Tensor:
        """Binary masks [B, H, W] bool at `size` (H, W) by the model's own rule."""

    def foreground(self, output: Output) -> Tensor:
        """Probability [B, h, w] that a pixel is the referent, float32, at the logits' own size: softmax of two
        channels, sigmoid of one; models that mean something else by their logits override."""
        logits = output.logits.float()
        return logits.softmax(1)[:, 1] if logits.shape[1] == 2 else logits[:, 0].sigmoid()

    def score_maps(self, output: Output, size: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Z+ and Z- of Eq. 1, [B, H, W] float32 each at `size` (H, W): the logits of referent and background, upsampled
        as `predict` does it, so that its mask is where Z+ > Z-. A model of one channel has Z- = 0 everywhere."""
        logits = interpolate(output.logits.float(), size=(int(size[0]), int(size[1])), mode="bilinear")
        return logits[:, -1], logits[:, 0] if logits.shape[1] == 2 else torch.zeros_like(logits[:, 0])

    def predict_no_target(self, output: Output) -> Tensor | None:
        """Whether each expression names nothing, [B] bool, or None for a model without a head that says so."""
        return None

    @abstractmethod
    def parameter_groups(self) -> list[ParameterGroup]:
        """Every trainable parameter exactly once, by role."""

    def pmme_features(self, encoded: Encoded) -> tuple[Tensor, Tensor]:
        """Early-stage features: vision [B, M, D_i] of the deepest map (row-major) and its text [B, L, D_t]."""
        deepest = encoded.visual.levels[-1]
        return deepest.flatten(2).transpose(1, 2), encoded.textual.tokens

    def answer(self, image: Tensor, rows: Tensor, input_ids: Tensor, attention_mask: Tensor) -> Output:
        """Output for N sentences about U images: image [U, 3, H, W]; rows [N], the image of each; ids, mask [N, L].

        The same as `forward(image[rows], ...)` to rounding; vision that is free of text is encoded once an image.
        Models with further parts of this kind override it.
        """
        if not self.protocol.vision_text_free:
            alone: Output = self(image.index_select(0, rows), input_ids, attention_mask)
            return alone
        visual = self.encode_image(image).select(rows)
        size = (int(image.shape[-2]), int(image.shape[-1]))
        return self.segment(Encoded(visual, self.encode_text(input_ids, attention_mask, visual), size))

    def forward(self, image: Tensor, input_ids: Tensor, attention_mask: Tensor) -> Output:
        return self.segment(self.encode(image, input_ids, attention_mask))
