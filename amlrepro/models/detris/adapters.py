"""The trainable parts inside the frozen encoders: densely connected branches, text adapter, dense aligner."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ConvNormReLU(nn.Module):
    """Convolution with same padding, batch norm, ReLU; over sequences [B, C, L] (`dims` 1) or maps [B, C, H, W] (2)."""

    def __init__(self, inner: int, outer: int, kernel: int = 1, *, dims: int = 2, bias: bool = False) -> None:
        super().__init__()
        if dims == 1:
            self.conv: nn.Module = nn.Conv1d(inner, outer, kernel, padding=kernel // 2, bias=bias)
            self.bn: nn.Module = nn.BatchNorm1d(outer, eps=ADAPTER_EPS if bias else 1e-5)
        else:
            self.conv = nn.Conv2d(inner, outer, kernel, padding=kernel // 2, bias=bias)
            self.bn = nn.BatchNorm2d(outer, eps=ADAPTER_EPS if bias else 1e-5)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


ADAPTER_EPS = 1e-3  # the adapters' convolutions have a bias and this eps; neck and head neither (official code)


class DenseBranches(nn.Module):
    """Three branches with kernels 1, 3 and 5, each of which reads the input and all branches before it.

    s [B, c, ...] -> [B, c, ...]: branch 1 gives c / 2 channels, branches 2 and 3 reduce to c / 16 and give c / 4.
    """

    def __init__(self, channels: int, dims: int) -> None:
        super().__init__()

        def block(inner: int, outer: int, kernel: int) -> ConvNormReLU:
            return ConvNormReLU(inner, outer, kernel, dims=dims, bias=True)

        half, quarter, narrow = channels // 2, channels // 4, channels // 16
        self.branch1 = block(channels, half, 1)
        self.branch2 = nn.Sequential(block(channels + half, narrow, 1), block(narrow, quarter, 3))
        self.branch3 = nn.Sequential(block(channels + half + quarter, narrow, 1), block(narrow, quarter, 5))

    def forward(self, s: Tensor) -> Tensor:
        y1 = self.branch1(s)
        y2 = self.branch2(torch.cat([s, y1], 1))
        y3 = self.branch3(torch.cat([s, y1, y2], 1))
        return torch.cat([y1, y2, y3], 1)


class TextAdapter(nn.Module):
    """Dense branches over the words of a sentence (official code)."""

    def __init__(self, width: int, bottleneck: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, bottleneck)
        self.branches = DenseBranches(bottleneck, dims=1)
        self.up = nn.Linear(bottleneck, width)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, L, D] -> [B, L, D]; the start token passes the branches by."""
        z = F.relu(self.down(x))
        start, words = z[:, :1], z[:, 1:]
        mixed = self.branches(words.transpose(1, 2)).transpose(1, 2)
        out: Tensor = self.up(torch.cat([start, mixed], 1) + z)
        return out


class TextToImage(nn.Module):
    """Patches read the sentence: multi-head attention at the bottleneck's width (official code)."""

    def __init__(self, bottleneck: int, text_width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.q_in = nn.Linear(bottleneck, bottleneck)
        self.text_in = nn.Linear(text_width, bottleneck)
        self.attn = nn.MultiheadAttention(bottleneck, heads, dropout=dropout, batch_first=True)
        self.out = nn.Linear(bottleneck, bottleneck)

    def forward(self, patches: Tensor, text: Tensor) -> Tensor:
        """patches [B, N, c], text [B, L, T] -> [B, N, c]. Padded tokens take part, as in the official code."""
        memory = self.text_in(text)
        read: Tensor = self.out(self.attn(self.q_in(patches), memory, memory, need_weights=False)[0])
        return read


class DenseAligner(nn.Module):
    """Dense branches over the patch grid, then attention to the sentence (official code)."""

    def __init__(
        self, width: int, bottleneck: int, text_width: int, heads: int, dropout: float, prefix_tokens: int
    ) -> None:
        super().__init__()
        self.prefix_tokens = prefix_tokens
        self.down = nn.Linear(width, bottleneck)
        self.branches = DenseBranches(bottleneck, dims=2)
        self.cross = TextToImage(bottleneck, text_width, heads, dropout)
        self.up = nn.Linear(bottleneck, width)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Linears truncated normal 0.02 with zero bias, convolutions Kaiming normal with zero bias (official code)."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor, text: Tensor, grid: tuple[int, int]) -> Tensor:
        """x [B, P + h w, D] with P prefix tokens, text [B, L, T], grid (h, w) -> like x; prefix tokens see no text."""
        z = F.relu(self.down(x))
        prefix, patches = z[:, : self.prefix_tokens], z[:, self.prefix_tokens :]
        s = patches.transpose(1, 2).reshape(len(x), -1, *grid)
        u = (self.branches(s) + s).flatten(2).transpose(1, 2)
        out: Tensor = self.up(torch.cat([prefix, self.cross(u, text)], 1) + z)
        return out
