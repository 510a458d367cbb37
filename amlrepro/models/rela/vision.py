"""ReLA's picture encoder: Swin with words fused in after every stage."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from amlrepro.errors import UserError
from amlrepro.models.backbones.swin_stages import SwinStages, blocks_padding_first
from amlrepro.models.rela.spec import RelaOptions

_HIDDEN = 1e4  # taken from the scores of padding words


class WordFusion(nn.Module):
    """Every position reads the words with one head; what it reads scales its own features (LAVT's PWAM)."""

    def __init__(self, width: int, text_width: int) -> None:
        super().__init__()
        self.visual = nn.Conv1d(width, width, 1)
        self.query = nn.Conv1d(width, width, 1)
        self.key = nn.Conv1d(text_width, width, 1)
        self.value = nn.Conv1d(text_width, width, 1)
        self.out = nn.Conv1d(width, width, 1)
        self.merge = nn.Conv1d(width, width, 1)
        self.norm = nn.InstanceNorm1d(width)

    def forward(self, x: Tensor, words: Tensor, mask: Tensor) -> Tensor:
        """x [B, C, N], words [B, D, L], mask [B, 1, L] with 1 on real words -> [B, C, N]."""
        query = self.norm(self.query(x)).transpose(1, 2)
        scores = query.shape[-1] ** -0.5 * (query @ (self.key(words) * mask)) + (_HIDDEN * mask - _HIDDEN)
        read = scores.softmax(-1) @ (self.value(words) * mask).transpose(1, 2)
        language = self.norm(self.out(read.transpose(1, 2)))
        return F.gelu(self.merge(F.gelu(self.visual(x)) * language))


def gate(width: int) -> nn.Sequential:
    """What scales fused features on their way into the next stage.

    Both layers start at zero, as officially, and then neither ever gets a gradient: unless a checkpoint says otherwise,
    words reach the outputs of the stages but never the next stage.
    """
    first, second = (nn.Linear(width, width, bias=False) for _ in range(2))
    for layer in (first, second):
        nn.init.zeros_(layer.weight)
    return nn.Sequential(first, nn.ReLU(), second, nn.Tanh())


class VisionEncoder(SwinStages):
    """timm's Swin with word fusion; an output is the norm of a stage's fused features."""

    def __init__(self, options: RelaOptions, image_size: int) -> None:
        super().__init__(options, image_size)
        self.multiple = options.size_multiple
        self.fusions = nn.ModuleList(WordFusion(width, options.text_width) for width in options.stage_widths)
        self.gates = nn.ModuleList(gate(width) for width in options.stage_widths[:-1])

    def forward(self, image: Tensor, words: Tensor, mask: Tensor) -> tuple[list[Tensor], Tensor]:
        """image [B, 3, H, W], words [B, L, D], mask [B, L] -> one fused map a stage, [B, C_i, H_i, W_i], finest first,
        and the last stage's features before fusion, [B, H_n W_n, C_n]."""
        height, width = int(image.shape[-2]), int(image.shape[-1])
        if height % self.multiple or width % self.multiple:
            expected = f"multiples of {self.multiple}"
            raise UserError("the image sides do not fit the model", found=f"{height} x {width}", expected=expected)
        self.fit(height, width)
        words, mask = words.transpose(1, 2), mask[:, None].to(words.dtype)
        x = self.swin.patch_embed(image)
        levels: list[Tensor] = []
        for i, stage in enumerate(self.swin.layers):
            x = blocks_padding_first(stage, stage.downsample(x))
            tokens = x.flatten(1, 2).transpose(1, 2)
            fused = self.fusions[i](tokens, words, mask).transpose(1, 2).reshape(x.shape)
            levels.append(self.norms[i](fused).permute(0, 3, 1, 2))
            if i < len(self.gates):
                x = x + self.gates[i](fused) * fused
        return levels, x.flatten(1, 2)
