"""CARIS's pixel decoder: vision-language layers on all levels but the finest, one FPN step, two dot products."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from amlrepro.models.caris.spec import CarisOptions
from amlrepro.models.layers.convolution import ConvNorm, top_down
from amlrepro.models.layers.deformable import DeformableAttention, Shapes
from amlrepro.models.layers.mlp import MLP
from amlrepro.models.layers.multiscale import geometry, repeated
from amlrepro.models.layers.regroup import Regrouped

_SCORE_LIMIT = 50000.0  # keeps scores finite in float16


class Attention(Regrouped):
    """Multi-head attention whose heads are wider than width / heads.

    Where few tokens meet many, products can be regrouped (`Regrouped`): the projections of the many are moved to the
    few, which for 25 tokens and 4,116 positions is a fifth of the multiplications.
    """

    def __init__(self, width: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = head_dim**-0.5
        self.q_proj = nn.Linear(width, heads * head_dim)
        self.k_proj = nn.Linear(width, heads * head_dim)
        self.v_proj = nn.Linear(width, heads * head_dim)
        self.out_proj = nn.Linear(heads * head_dim, width)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
        """query [B, Q, C]; key, value [B, K, C]; bias [B, K'] is added to the scores of the first K' keys, minus
        infinity hides a key. Returns [B, Q, C]."""
        queries, keys = query.shape[1], key.shape[1]
        if not self.regrouping or not self._regrouping_pays(queries, keys):
            return self._plain(query, key, value, bias)
        return (self._few_queries if queries < keys else self._few_keys)(query, key, value, bias)

    def _plain(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
        q = self._split(self.q_proj(query) * self.scale)
        k = self.k_proj(key).unflatten(-1, (self.heads, -1)).permute(0, 2, 3, 1)
        v = self._split(self.v_proj(value))
        weights = self._weights(q @ k, bias)
        out: Tensor = self.out_proj((weights @ v).transpose(1, 2).flatten(2))
        return out

    def _regrouping_pays(self, queries: int, keys: int) -> bool:
        """Whether it takes fewer multiplications a sample."""
        inner, width = self.q_proj.weight.shape
        plain = 2 * (queries + keys) * width * inner + 2 * queries * keys * inner
        return 4 * min(queries, keys) * width * inner + 2 * queries * keys * self.heads * width < plain

    def _few_keys(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
        """(x W_q + b_q) k = x (W_q k) + b_q k, and (sum of a v) W_o = sum of a (v W_o)."""
        k, v = self._split(self.k_proj(key) * self.scale), self._split(self.v_proj(value))
        asked_for = (k @ self._by_head(self.q_proj.weight)).flatten(1, 2)  # [B, heads K, C]
        constant = (k @ self._by_head(self.q_proj.bias)[..., None]).flatten(1)[:, None]
        given = (v @ self._by_head(self.out_proj.weight.T)).flatten(1, 2)
        scores = constant + query @ asked_for.transpose(1, 2)  # [B, Q, heads K]
        weights = self._weights(scores.view(*scores.shape[:2], self.heads, -1), bias)
        out: Tensor = weights.flatten(2) @ given + self.out_proj.bias
        return out

    def _few_queries(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
        """q (x W_k + b_k) = (q W_k) x + q b_k, and sum of a (x W_v + b_v) = (sum of a x) W_v + b_v, as weights a add up
        to 1. Softmax ignores q b_k, which is there so that in training no parameter goes without a gradient."""
        q = self._split(self.q_proj(query) * self.scale)
        asking = (q @ self._by_head(self.k_proj.weight)).flatten(1, 2)  # [B, heads Q, C]
        scores = (asking @ key.transpose(1, 2)).view(*q.shape[:3], -1)
        if torch.is_grad_enabled():
            scores = scores + q @ self._by_head(self.k_proj.bias)[..., None]
        read = (self._weights(scores, bias).flatten(1, 2) @ value).view(*q.shape[:3], -1)
        v = read @ self._by_head(self.v_proj.weight).transpose(1, 2) + self._by_head(self.v_proj.bias)[:, None]
        out: Tensor = self.out_proj(v.transpose(1, 2).flatten(2))
        return out

    def _weights(self, scores: Tensor, bias: Tensor | None) -> Tensor:
        """Softmax over the keys, the last of four dimensions; the first is the batch."""
        if scores.dtype != torch.float32:  # in float32 it would never act
            scores = scores.clamp(-_SCORE_LIMIT, _SCORE_LIMIT)
        if bias is not None:
            padded = F.pad(bias, (0, scores.shape[-1] - bias.shape[-1]))
            scores = scores + padded[:, None, None, :].to(scores.dtype)
        return scores.softmax(-1)

    def _split(self, x: Tensor) -> Tensor:
        """[B, N, heads D] -> [B, heads, N, D]."""
        return x.reshape(*x.shape[:-1], self.heads, -1).transpose(1, 2)

    def _by_head(self, parameter: Tensor) -> Tensor:
        """[heads D, ...] -> [heads, D, ...]."""
        return parameter.reshape(self.heads, -1, *parameter.shape[1:])


class DecoderLayer(nn.Module):
    """Text reads vision, text reads itself, vision reads text, vision reads itself."""

    def __init__(self, options: CarisOptions) -> None:
        super().__init__()
        width, heads, head_dim = options.width, options.decoder_heads, options.head_dim
        self.v2l_cross_attn = Attention(width, heads, head_dim)
        self.lang_self_attn = Attention(width, heads, head_dim)
        self.lang_mlp = MLP(width, options.mlp)
        self.l2v_cross_attn = Attention(width, heads, head_dim)
        self.vis_mlp = MLP(width, options.mlp)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)
        self.vis_self_attn = DeformableAttention(width, heads, len(options.depths) - 1, options.points)
        self.l_norm1, self.l_norm2, self.l_norm3 = (nn.LayerNorm(width, eps=1e-5) for _ in range(3))
        self.v_norm1, self.v_norm2, self.v_norm3 = (nn.LayerNorm(width, eps=1e-5) for _ in range(3))
        self.gamma_v2l = nn.Parameter(torch.ones(1, 1, width))
        self.gamma_l2v = nn.Parameter(torch.ones(1, 1, width))

    def forward(
        self,
        vision: Tensor,
        text: Tensor,
        position: Tensor,
        text_bias: Tensor,
        reference: Tensor,
        shapes: Shapes,
        bias: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """vision [B, M, C], text with prompts [B, L + P, C], position [1, M, C] -> both anew.
        text_bias [B, L + P] hides padded text; bias [B, M'] is that of `PixelDecoder.forward`."""
        placed = vision + position
        read = self.v2l_cross_attn(text, placed, vision, bias)
        text = self.l_norm1(text + self.gamma_v2l * read)
        text = self.l_norm2(text + self.lang_self_attn(text, text, text, text_bias))
        text = self.l_norm3(text + self.lang_mlp(text))
        read = self.l2v_cross_attn(placed, text, text, text_bias)
        vision = self.v_norm2(vision + self.gamma_l2v * read)
        vision = self.v_norm1(vision + self.vis_self_attn(vision + position, vision, reference, shapes))
        vision = self.v_norm3(vision + self.vis_mlp(vision))
        return vision, text


def conv_norm(inputs: int, options: CarisOptions, kernel: int, bias: bool) -> ConvNorm:
    """Convolution and GroupNorm, initialised as the official code does."""
    layer = ConvNorm(inputs, options.width, options.groups, kernel, bias)
    nn.init.kaiming_normal_(layer.conv.weight, mode="fan_out", nonlinearity="relu")
    if layer.conv.bias is not None:
        nn.init.zeros_(layer.conv.bias)
    return layer


@dataclass
class Pictured:
    """What the decoder makes of pictures before any text. vision [U, M, C]: all levels but the finest, row by row, from
    coarse to fine; finest [U, C, h, w]; shapes: the levels of vision."""

    vision: Tensor
    finest: Tensor
    shapes: Shapes

    def select(self, rows: Tensor) -> Pictured:
        """Pictures `rows` [N]: one serves several sentences."""
        return Pictured(self.vision.index_select(0, rows), self.finest.index_select(0, rows), self.shapes)


@dataclass
class Decoded:
    """logits [B, 2, h, w]; vision [B, M, C] and text [B, L, C] after the last layer; shapes: the levels of vision."""

    logits: Tensor
    vision: Tensor
    text: Tensor
    shapes: Shapes


class PixelDecoder(Regrouped):
    """Levels run from coarse to fine here. Channel 0 of the logits is the background, channel 1 the referent."""

    def __init__(self, options: CarisOptions) -> None:
        super().__init__()
        width = options.width
        finest, *others = options.stage_widths
        self.input_convs = nn.ModuleList(conv_norm(inputs, options, 1, bias=True) for inputs in reversed(others))
        self.level_encoding = nn.Embedding(len(others), width)
        self.lang_in_linear = nn.Linear(options.text_width, width)
        self.lang_in_norm = nn.LayerNorm(width, eps=1e-5)
        self.vis_prompts = nn.Embedding(options.visual_prompts, width)
        self.layers = nn.ModuleList(DecoderLayer(options) for _ in range(options.layers))
        self.lateral_convs = nn.ModuleList([conv_norm(finest, options, 1, bias=False)])
        self.output_convs = nn.ModuleList([conv_norm(width, options, 3, bias=False)])
        self.mask_feature = nn.Sequential(
            nn.Conv2d(width, width, 1), nn.ReLU(), nn.Conv2d(width, width, 1), nn.ReLU(), nn.Conv2d(width, width, 1)
        )
        self.lang_embed = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)
        )

    def forward(self, levels: list[Tensor], tokens: Tensor, mask: Tensor, bias: Tensor | None = None) -> Decoded:
        """levels: maps [B, C_i, H_i, W_i], finest first; tokens [B, L, D]; mask [B, L]; bias [B, M_coarsest]."""
        return self.decode(self.pictured(levels), tokens, mask, bias)

    def pictured(self, levels: list[Tensor]) -> Pictured:
        """Maps [U, C_i, H_i, W_i], finest first, in the decoder's width."""
        finest, *others = levels
        maps = [conv(level) for conv, level in zip(self.input_convs, reversed(others), strict=True)]
        shapes = tuple((int(m.shape[-2]), int(m.shape[-1])) for m in maps)
        vision = torch.cat([m.flatten(2).transpose(1, 2) for m in maps], 1)
        return Pictured(vision, self.lateral_convs[0](finest), shapes)

    def decode(self, pictured: Pictured, tokens: Tensor, mask: Tensor, bias: Tensor | None = None) -> Decoded:
        """A picture a sentence; tokens [B, L, D]; mask [B, L]; bias [B, M_coarsest]."""
        vision, shapes = pictured.vision, pictured.shapes
        sizes = [height * width for height, width in shapes]
        codes, reference = geometry(shapes, vision.shape[-1], vision.device)
        position = (codes + repeated(self.level_encoding.weight, shapes))[None]
        prompts = self.vis_prompts.weight.expand(vision.shape[0], -1, -1)
        text = torch.cat([self.lang_in_norm(self.lang_in_linear(tokens)), prompts], 1)
        hidden = F.pad(mask, (0, prompts.shape[1]), value=1) == 0
        text_bias = text.new_zeros(hidden.shape).masked_fill(hidden, float("-inf"))
        for layer in self.layers:
            vision, text = layer(vision, text, position, text_bias, reference, shapes, bias)
        top = vision[:, -sizes[-1] :].transpose(1, 2).reshape(len(vision), -1, *shapes[-1])
        length = tokens.shape[1]
        heads = self.lang_embed(torch.stack([text[:, length:].mean(1), text[:, 0]], 1))
        logits = self._dot(heads, top_down(pictured.finest, top, self.output_convs[0]))
        return Decoded(logits, vision, text[:, :length], shapes)

    def _dot(self, heads: Tensor, x: Tensor) -> Tensor:
        """heads [B, 2, C] with the mask features of x [B, C, h, w]. Regrouped, the last convolution, being linear, is
        applied to the heads and not to every pixel."""
        if not self.regrouping:
            return torch.einsum("bkc,bchw->bkhw", heads, self.mask_feature(x))
        last = self.mask_feature[-1]
        assert isinstance(last, nn.Conv2d)
        assert last.bias is not None
        x = self.mask_feature[:-1](x)
        logits = (heads @ last.weight.flatten(1)) @ x.flatten(2) + (heads @ last.bias)[..., None]
        return logits.view(*heads.shape[:2], *x.shape[-2:])
