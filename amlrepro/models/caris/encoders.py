"""CARIS's encoders: Swin with a norm on every stage's output, BERT, and the language prompts between them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from amlrepro.models.backbones.bert import build_bert
from amlrepro.models.backbones.swin_stages import SwinStages
from amlrepro.models.caris.spec import CarisOptions


class VisualEncoder(SwinStages):
    """timm's Swin; each stage's output, before the next stage's downsampling, through its own LayerNorm."""

    def forward(self, image: Tensor, deepest_only: bool = False) -> list[Tensor]:
        """image [B, 3, H, W] -> one map a stage, [B, C_i, H / (p 2^i), W / (p 2^i)], finest first, or the last one."""
        self.fit(int(image.shape[-2]), int(image.shape[-1]))
        x = self.swin.patch_embed(image)
        levels = []
        for stage, norm in zip(self.swin.layers, self.norms, strict=True):
            x = stage(x)
            if not deepest_only or norm is self.norms[-1]:
                levels.append(norm(x).permute(0, 3, 1, 2))
        return levels


class TextEncoder(nn.Module):
    """transformers' BERT without pooler; prompts join after the embedding layer."""

    def __init__(self, options: CarisOptions, vocab_size: int) -> None:
        super().__init__()
        self.bert = build_bert(options, vocab_size)

    def forward(self, input_ids: Tensor, mask: Tensor, prompts: Tensor) -> Tensor:
        """ids, mask [B, L]; prompts [B, P, D] -> [B, L + P, D]. Every token sees the prompts."""
        x = torch.cat([self.bert.embeddings(input_ids=input_ids), prompts], 1)
        visible = F.pad(mask, (0, prompts.shape[1]), value=1)
        bias = (1 - visible[:, None, None, :].to(x.dtype)) * -10000.0
        for layer in self.bert.encoder.layer:
            x = layer(x, attention_mask=bias)
            if isinstance(x, tuple):  # transformers 4 returns a tuple, 5 the tensor
                x = x[0]
        return x


class LanguagePrompts(nn.Module):
    """Prompts for the text encoder from the deepest map, pooled to k x k for each of the levels."""

    def __init__(self, options: CarisOptions) -> None:
        super().__init__()
        width, text = options.stage_widths[-1], options.text_width
        self.levels = options.prompt_levels
        self.in_linears = nn.ModuleList(nn.Linear(width, text) for _ in self.levels)
        self.out_linears = nn.ModuleList(nn.Linear(text, text) for _ in self.levels)
        self.table = nn.Parameter(torch.empty(options.language_prompts, text))
        self.norm = nn.LayerNorm(text, eps=1e-5)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Linears truncated normal 0.02 with zero bias; the table standard normal."""
        for layer in (*self.in_linears, *self.out_linears):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
        nn.init.normal_(self.table)

    def forward(self, deepest: Tensor) -> Tensor:
        """deepest [B, C, H, W] -> [B, sum of k^2, D]."""
        parts = []
        for k, inner, outer in zip(self.levels, self.in_linears, self.out_linears, strict=True):
            pooled = F.adaptive_avg_pool2d(deepest, k).flatten(2).transpose(1, 2)
            parts.append(outer(F.relu(inner(pooled))))
        out: Tensor = self.norm(torch.cat(parts, 1) + self.table)
        return out
