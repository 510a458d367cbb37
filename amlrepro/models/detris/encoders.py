"""DETRIS's encoders: CLIP's text tower and DINOv2, each with adapters in some of its blocks."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from amlrepro.errors import UserError
from amlrepro.models.detris.adapters import DenseAligner, TextAdapter
from amlrepro.models.detris.spec import END_ID, DetrisOptions


class TextEncoder(nn.Module):
    """transformers' CLIP text tower (pre-norm, QuickGELU, causal) with text adapters (official code)."""

    def __init__(self, options: DetrisOptions, vocab_size: int) -> None:
        from transformers import CLIPTextConfig, CLIPTextModelWithProjection

        super().__init__()
        self.end_token = options.end_token
        self.adapter_scale = options.adapter_scale
        last = min(END_ID, vocab_size - 1)
        config = CLIPTextConfig(
            vocab_size=vocab_size,
            hidden_size=options.text_width,
            intermediate_size=4 * options.text_width,
            projection_dim=options.state_width,
            num_hidden_layers=options.text_layers,
            num_attention_heads=options.text_heads,
            max_position_embeddings=options.text_positions,
            hidden_act="quick_gelu",
            layer_norm_eps=1e-5,
            attention_dropout=0.0,
            bos_token_id=max(last - 1, 0),
            eos_token_id=last,
            pad_token_id=0,
        )
        self.clip: Any = CLIPTextModelWithProjection(config)
        adapters = {str(i): TextAdapter(options.text_width, options.text_bottleneck) for i in options.text_adapters}
        self.adapters = nn.ModuleDict(adapters)
        # Of no effect; kept so that an official checkpoint can be written back whole.
        self.logit_scale = nn.Parameter(torch.tensor(2.6592), requires_grad=False)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, adapters: bool = True) -> tuple[Tensor, Tensor]:
        """ids, mask [B, L] -> tokens [B, L, T] and the sentence's state [B, D].

        Attention is causal and nothing else is masked. The state is read at the end token; attention_mask only matters
        where that is found as the last real token. `adapters` False: the encoder as it was pretrained.
        """
        tower = self.clip.text_model
        x = tower.embeddings(input_ids=input_ids)
        length = int(input_ids.shape[1])
        causal = torch.full((length, length), float("-inf"), dtype=x.dtype, device=x.device).triu(1)
        causal = causal.expand(len(x), 1, -1, -1)
        for i, layer in enumerate(tower.encoder.layers):
            x = x + layer.self_attn(layer.layer_norm1(x), attention_mask=causal)[0]
            update = layer.mlp(layer.layer_norm2(x))
            if adapters and str(i) in self.adapters:
                update = update + self.adapter_scale * self.adapters[str(i)](x)
            x = x + update
        tokens: Tensor = tower.final_layer_norm(x)
        if self.end_token == "largest":
            end = input_ids.argmax(1)
        else:
            positions = torch.arange(length, device=x.device)
            end = (attention_mask.bool() * positions).argmax(1)
        state: Tensor = self.clip.text_projection(tokens[torch.arange(len(tokens), device=x.device), end])
        return tokens, state


class VisionEncoder(nn.Module):
    """DINOv2 with registers from timm's blocks; some blocks carry a dense aligner (official code).

    The position table is kept as it was trained (class row, then the grid) and resized at each pass, as officially.
    """

    def __init__(self, options: DetrisOptions) -> None:
        from timm.layers import PatchEmbed
        from timm.models.vision_transformer import Block

        super().__init__()
        width = options.vision_width
        self.patch_size = options.patch_size
        self.grid = options.position_grid
        self.taps = options.vision_taps
        self.adapter_scale = options.adapter_scale
        self.prefix_tokens = 1 + options.registers
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.registers = nn.Parameter(torch.zeros(1, options.registers, width))
        self.position = nn.Parameter(torch.zeros(1, 1 + self.grid**2, width))
        # Of no effect; kept so that an official checkpoint can be written back whole.
        self.mask_token = nn.Parameter(torch.zeros(1, width), requires_grad=False)
        self.patch: Any = PatchEmbed(None, options.patch_size, 3, width, strict_img_size=False)
        norm = partial(nn.LayerNorm, eps=1e-6)
        self.blocks: Any = nn.ModuleList(
            Block(width, options.vision_heads, qkv_bias=True, init_values=1.0, norm_layer=norm)
            for _ in range(options.vision_layers)
        )
        self.norm = norm(width)
        self.reset_parameters()
        aligner = partial(
            DenseAligner,
            width,
            options.vision_bottleneck,
            options.text_width,
            options.cross_heads,
            options.cross_dropout,
            self.prefix_tokens,
        )
        self.aligners = nn.ModuleDict({str(i): aligner() for i in options.vision_adapters})

    def reset_parameters(self) -> None:
        """Linears and tables truncated normal 0.02, biases zero: for models that train their encoders from scratch."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        for table in (self.position, self.class_token, self.registers):
            nn.init.trunc_normal_(table, std=0.02)

    def embed(self, image: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """image [B, 3, H, W] -> tokens [B, P + h w, D] (class, registers, patches row by row) and the grid (h, w).

        Raises `UserError` unless the patch size divides the sides.
        """
        height, width = int(image.shape[-2]), int(image.shape[-1])
        if height % self.patch_size or width % self.patch_size:
            raise UserError(
                "the image sides must be multiples of the patch size",
                found=f"{height} x {width}",
                expected=f"multiples of {self.patch_size}",
            )
        grid = (height // self.patch_size, width // self.patch_size)
        patches = self.patch(image) + resize_position(self.position[:, 1:], self.grid, grid)
        first = self.class_token + self.position[:, :1]
        prefix = torch.cat([first, self.registers], 1).expand(len(image), -1, -1)
        return torch.cat([prefix.to(patches.dtype), patches], 1), grid

    def forward(self, image: Tensor, text: Tensor | None) -> list[Tensor]:
        """image [B, 3, H, W], text [B, L, T] -> three maps [B, D, h, w]: after both taps, and the end's after its norm.

        text None: without aligners, the encoder as it was pretrained.
        """
        x, grid = self.embed(image)
        maps = []
        for i, block in enumerate(self.blocks):
            x = x + block.ls1(block.attn(block.norm1(x)))
            normed = block.norm2(x)
            update = block.mlp(normed)
            if text is not None and str(i) in self.aligners:
                update = update + self.adapter_scale * self.aligners[str(i)](normed, text, grid)
            x = x + block.ls2(update)
            if i in self.taps:
                maps.append(self._to_map(x, grid))
        return [*maps, self._to_map(self.norm(x), grid)]

    def _to_map(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        return tokens[:, self.prefix_tokens :].transpose(1, 2).reshape(len(tokens), -1, *grid)


def resize_position(table: Tensor, side: int, grid: tuple[int, int]) -> Tensor:
    """Patch positions [1, side^2, D] -> [1, h w, D] for a grid (h, w), exactly as the original DINOv2 resizes them.

    Bicubic with scale factors (h + 0.1) / side and (w + 0.1) / side: handing over factors instead of sizes moves the
    sampling positions, so no library's resizing to a size gives the same (official code).
    """
    if grid == (side, side):
        return table
    square = table.transpose(1, 2).reshape(1, -1, side, side).float()
    factors = ((grid[0] + 0.1) / side, (grid[1] + 0.1) / side)
    resized = F.interpolate(square, scale_factor=factors, mode="bicubic", align_corners=False)
    return resized.flatten(2).transpose(1, 2).to(table.dtype)
