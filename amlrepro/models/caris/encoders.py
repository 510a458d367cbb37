"""CARIS's encoders: Swin with a norm on every stage's output, BERT, and the language prompts between them."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from amlrepro.errors import UserError
from amlrepro.models.caris.spec import CarisOptions


class VisualEncoder(nn.Module):
    """timm's Swin; each stage's output, before the next stage's downsampling, through its own LayerNorm."""

    def __init__(self, options: CarisOptions, image_size: int) -> None:
        from timm.models.swin_transformer import SwinTransformer

        super().__init__()
        self.window = options.window
        self.patch_size = options.patch_size
        self.swin: Any = SwinTransformer(
            img_size=image_size,
            patch_size=options.patch_size,
            window_size=options.window,
            embed_dim=options.embed_dim,
            depths=options.depths,
            num_heads=options.heads,
            num_classes=0,
            drop_path_rate=options.drop_path,
            always_partition=True,
        )
        self.swin.norm = nn.Identity()
        self.norms = nn.ModuleList(nn.LayerNorm(width, eps=1e-5) for width in options.stage_widths)
        self._size = (image_size, image_size)

    def fit(self, height: int, width: int) -> None:
        """Prepare the shifted-window masks for an input size; they are kept until another size comes."""
        if self._size == (height, width):
            return
        if height % self.patch_size or width % self.patch_size:
            raise UserError(
                "the image sides must be multiples of the patch size",
                found=f"{height} x {width}",
                expected=f"multiples of {self.patch_size}",
            )
        with torch.inference_mode(False):
            self.swin.set_input_size(img_size=(height, width), window_size=self.window, always_partition=True)
        self._size = (height, width)

    def forward(self, image: Tensor) -> list[Tensor]:
        """image [B, 3, H, W] -> one map a stage, [B, C_i, H / (p 2^i), W / (p 2^i)], finest first."""
        self.fit(int(image.shape[-2]), int(image.shape[-1]))
        x = self.swin.patch_embed(image)
        levels = []
        for stage, norm in zip(self.swin.layers, self.norms, strict=True):
            x = stage(x)
            levels.append(norm(x).permute(0, 3, 1, 2))
        return levels


class TextEncoder(nn.Module):
    """transformers' BERT without pooler; prompts join after the embedding layer."""

    def __init__(self, options: CarisOptions, vocab_size: int) -> None:
        from transformers import BertConfig, BertModel

        super().__init__()
        config = BertConfig(
            vocab_size=vocab_size,
            hidden_size=options.text_width,
            num_hidden_layers=options.text_layers,
            num_attention_heads=options.text_heads,
            intermediate_size=options.text_mlp,
            max_position_embeddings=options.text_positions,
            hidden_dropout_prob=options.text_dropout,
            attention_probs_dropout_prob=options.text_dropout,
            attn_implementation="eager",
        )
        self.bert: Any = BertModel(config, add_pooling_layer=False)

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
        """Linears truncated normal 0.02 with zero bias; the table standard normal (caris.md 7)."""
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
