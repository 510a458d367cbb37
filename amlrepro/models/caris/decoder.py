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
from amlrepro.models.layers.multiscale import geometry

_SCORE_LIMIT = 50000.0  # keeps scores finite in float16


class Attention(nn.Module):
    """Multi-head attention whose heads are wider than width / heads."""

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
        q = (self.q_proj(query) * self.scale).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k = self.k_proj(key).unflatten(-1, (self.heads, -1)).permute(0, 2, 3, 1)
        v = self.v_proj(value).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        scores = q @ k
        if scores.dtype != torch.float32:  # in float32 it would never act
            scores = scores.clamp(-_SCORE_LIMIT, _SCORE_LIMIT)
        if bias is not None:
            padded = F.pad(bias, (0, scores.shape[-1] - bias.shape[-1]))
            scores = scores + padded[:, None, None, :].to(scores.dtype)
        out: Tensor = self.out_proj((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))
        return out


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
class Decoded:
    """logits [B, 2, h, w]; vision [B, M, C] and text [B, L, C] after the last layer; shapes: the levels of vision."""

    logits: Tensor
    vision: Tensor
    text: Tensor
    shapes: Shapes


class PixelDecoder(nn.Module):
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
        finest, *others = levels
        maps = [conv(level) for conv, level in zip(self.input_convs, reversed(others), strict=True)]
        shapes = tuple((int(m.shape[-2]), int(m.shape[-1])) for m in maps)
        sizes = [height * width for height, width in shapes]
        vision = torch.cat([m.flatten(2).transpose(1, 2) for m in maps], 1)
        codes, reference = geometry(shapes, vision.shape[-1], vision.device)
        counts = torch.tensor(sizes, device=vision.device)
        position = (codes + self.level_encoding.weight.repeat_interleave(counts, 0, output_size=sum(sizes)))[None]
        prompts = self.vis_prompts.weight.expand(vision.shape[0], -1, -1)
        text = torch.cat([self.lang_in_norm(self.lang_in_linear(tokens)), prompts], 1)
        hidden = F.pad(mask, (0, prompts.shape[1]), value=1) == 0
        text_bias = text.new_zeros(hidden.shape).masked_fill(hidden, float("-inf"))
        for layer in self.layers:
            vision, text = layer(vision, text, position, text_bias, reference, shapes, bias)
        feature = self._mask_feature(finest, vision[:, -sizes[-1] :], shapes[-1])
        length = tokens.shape[1]
        heads = self.lang_embed(torch.stack([text[:, length:].mean(1), text[:, 0]], 1))
        logits = torch.einsum("bkc,bchw->bkhw", heads, feature)
        return Decoded(logits, vision, text[:, :length], shapes)

    def _mask_feature(self, finest: Tensor, tokens: Tensor, shape: tuple[int, int]) -> Tensor:
        """FPN step: the finest map and the finest decoded level -> [B, C, h, w]."""
        top = tokens.transpose(1, 2).reshape(tokens.shape[0], -1, *shape)
        out: Tensor = self.mask_feature(top_down(finest, top, self.lateral_convs[0], self.output_convs[0]))
        return out
