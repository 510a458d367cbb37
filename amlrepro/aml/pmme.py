"""Patch-max matching evaluation (PMME): how sharply each patch prefers one token of the expression (Eqs. 3 to 7)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from amlrepro.aml.projection import Projection

TokenChoice = Literal["all", "real", "words"]


def select_tokens(choice: TokenChoice, attention_mask: Tensor, input_ids: Tensor, end_mark: int) -> Tensor:
    """Which tokens take part in softmax and maximum (Q04). attention_mask, input_ids [B, L] -> bool [B, L].

    `all` takes padding too; `real` the positions of the attention mask; `words` drops the start mark (the first real
    position) and the end mark (id `end_mark` at the last real position; a sentence cut at the maximum length has
    none). A row that `words` would leave empty keeps its real tokens.
    """
    real = attention_mask.bool()
    if choice == "all":
        return torch.ones_like(real)
    if choice == "real":
        return real
    order = real.cumsum(1)
    last = real & (order == order[:, -1:])
    words = real & (order > 1) & ~(last & (input_ids == end_mark))
    return torch.where(words.any(1, keepdim=True), words, real)


def attention(vision: Tensor, text: Tensor, selected: Tensor, scale: float = 1.0) -> Tensor:
    """A = softmax over tokens of scale * V' T'^T (Eq. 6). vision [B, M, D], text [B, L, D], selected [B, L] bool
    -> [B, M, L]; tokens that are not selected get weight 0.
    """
    logits = scale * (vision @ text.transpose(1, 2))
    return logits.masked_fill(~selected[:, None, :], float("-inf")).softmax(-1)


class PMME(nn.Module):
    """Features of both modalities -> S [B, M], the largest attention of each patch (Eqs. 3 to 7).

    S lies between 1/N and 1 for N selected tokens. Computed in float32, under autocast too: the softmax of features
    that are not normalised has logits of order 10 and would lose the ranking in half precision.
    """

    def __init__(self, projection: Projection, l2: bool, scale: float = 1.0) -> None:
        super().__init__()
        self.projection = projection
        self.l2 = l2
        self.scale = scale

    def forward(self, vision: Tensor, text: Tensor, selected: Tensor, weight: Tensor | None = None) -> Tensor:
        """vision [B, M, D_i], text [B, L, D_t], selected [B, L] bool -> S [B, M] float32.

        weight [B, M]: factors on the rows of Vn, between Eq. 3, which would undo them, and Eq. 4 (Q18).
        """
        with torch.autocast(vision.device.type, enabled=False):
            vision, text = vision.float(), text.float()
            if self.l2:
                vision, text = normalize(vision, dim=-1), normalize(text, dim=-1)
            if weight is not None:
                vision = vision * weight[..., None]
            vision, text = self.projection(vision, text)
            return attention(vision, text, selected, self.scale).amax(-1)
