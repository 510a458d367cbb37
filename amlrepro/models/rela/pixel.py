"""ReLA's pixel decoder: deformable attention among the coarser maps, one step down to the finest."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from amlrepro.models.layers.convolution import ConvNorm, top_down
from amlrepro.models.layers.deformable import DeformableAttention, Shapes
from amlrepro.models.layers.mlp import MLP
from amlrepro.models.layers.multiscale import geometry, repeated
from amlrepro.models.rela.spec import RelaOptions


class PixelLayer(nn.Module):
    """Every position reads all levels; norms come after."""

    def __init__(self, options: RelaOptions) -> None:
        super().__init__()
        width = options.width
        self.attn = DeformableAttention(width, options.pixel_heads, len(options.depths) - 1, options.points)
        self.ffn = MLP(width, options.pixel_mlp)
        self.attn_norm = nn.LayerNorm(width, eps=1e-5)
        self.ffn_norm = nn.LayerNorm(width, eps=1e-5)
        for layer in (self.ffn.fc1, self.ffn.fc2):
            nn.init.xavier_uniform_(layer.weight)

    def forward(self, x: Tensor, position: Tensor, reference: Tensor, shapes: Shapes) -> Tensor:
        """x [B, M, C], position [1, M, C], reference [M, 2] -> [B, M, C]."""
        x = self.attn_norm(x + self.attn(x + position, x, reference, shapes))
        out: Tensor = self.ffn_norm(x + self.ffn(x))
        return out


class PixelDecoder(nn.Module):
    """Always in float32, under autocast too. Levels run from coarse to fine here."""

    def __init__(self, options: RelaOptions) -> None:
        super().__init__()
        width, groups = options.width, options.groups
        finest, *others = options.stage_widths
        self.inputs = nn.ModuleList(ConvNorm(inputs, width, groups, 1, bias=True) for inputs in reversed(others))
        self.level = nn.Parameter(torch.empty(len(others), width))
        self.layers = nn.ModuleList(PixelLayer(options) for _ in range(options.pixel_layers))
        self.lateral = ConvNorm(finest, width, groups, 1, bias=False)
        self.smooth = ConvNorm(width, width, groups, 3, bias=False)
        self.mask_features = nn.Conv2d(width, width, 1)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """As Mask2Former: Xavier for the inputs, Kaiming uniform of fan-in for the last step, normal level codes."""
        for layer in self.inputs:
            assert isinstance(layer, ConvNorm)
            assert layer.conv.bias is not None
            nn.init.xavier_uniform_(layer.conv.weight)
            nn.init.zeros_(layer.conv.bias)
        for conv in (self.lateral.conv, self.smooth.conv, self.mask_features):
            nn.init.kaiming_uniform_(conv.weight, a=1)
        assert self.mask_features.bias is not None
        nn.init.zeros_(self.mask_features.bias)
        nn.init.normal_(self.level)

    def forward(self, levels: list[Tensor]) -> tuple[list[Tensor], Tensor]:
        """levels: maps [B, C_i, H_i, W_i], finest first -> all but the finest decoded, [B, C, H_i, W_i], coarsest
        first, and the mask features [B, C, H_0, W_0]."""
        with torch.autocast(levels[0].device.type, enabled=False):
            finest, *others = (level.float() for level in levels)
            maps = [entry(level) for entry, level in zip(self.inputs, reversed(others), strict=True)]
            shapes = tuple((int(m.shape[-2]), int(m.shape[-1])) for m in maps)
            sizes = [height * width for height, width in shapes]
            x = torch.cat([m.flatten(2).transpose(1, 2) for m in maps], 1)
            codes, reference = geometry(shapes, x.shape[-1], x.device)
            position = (codes + repeated(self.level, shapes))[None]
            for layer in self.layers:
                x = layer(x, position, reference, shapes)
            parts = torch.split(x.transpose(1, 2), sizes, -1)
            decoded = [part.reshape(*part.shape[:2], *shape) for part, shape in zip(parts, shapes, strict=True)]
            return decoded, self.mask_features(top_down(self.lateral(finest), decoded[-1], self.smooth))
