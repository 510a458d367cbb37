"""What follows DETRIS's encoders: neck, decoder and the text-conditioned head (official code)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from amlrepro.models.detris.adapters import ConvNormReLU
from amlrepro.models.detris.spec import DetrisOptions


class TransposedConvNormReLU(nn.Module):
    """The neck's entry for the deepest map: a 1x1 transposed convolution, which keeps official weights as they are."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(inner, outer, 1, bias=False)
        self.bn = nn.BatchNorm2d(outer)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class ChannelGate(nn.Module):
    """Attention to a single key: its softmax is 1, so every position reads the same value vector.

    Queries and keys keep their parameters (official checkpoints have them, untrained) but are not computed.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads)

    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        """x [B, C, h, w], text [B, C] -> x scaled channel by channel."""
        width = self.attn.embed_dim
        value = F.linear(text, self.attn.in_proj_weight[2 * width :], self.attn.in_proj_bias[2 * width :])
        gate: Tensor = self.attn.out_proj(value)
        return x * gate[:, :, None, None]


class Neck(nn.Module):
    """Three vision maps, gated by the sentence's state and merged (official code)."""

    def __init__(self, options: DetrisOptions) -> None:
        super().__init__()
        inner, width = options.vision_width, options.width
        self.lateral = nn.ModuleList(
            [ConvNormReLU(inner, width), ConvNormReLU(inner, width), TransposedConvNormReLU(inner, width)]
        )
        self.text = nn.Linear(options.state_width, width)
        self.gates = nn.ModuleList(ChannelGate(width, options.decoder_heads) for _ in range(3))
        self.merge = ConvNormReLU(3 * width, width)
        self.coord = nn.ModuleList([ConvNormReLU(width + 2, width, 3), ConvNormReLU(width, width, 3)])

    def forward(self, maps: list[Tensor], state: Tensor) -> Tensor:
        """maps: three [B, D, h, w]; state [B, S] -> [B, C, h, w]."""
        text = self.text(state)
        gated = [gate(lateral(v), text) for lateral, gate, v in zip(self.lateral, self.gates, maps, strict=True)]
        x: Tensor = self.merge(torch.cat(gated, 1))
        height, width = int(x.shape[-2]), int(x.shape[-1])
        columns = torch.linspace(-1, 1, width, dtype=x.dtype, device=x.device).expand(height, width)
        rows = torch.linspace(-1, 1, height, dtype=x.dtype, device=x.device)[:, None].expand(height, width)
        place = torch.stack([columns, rows]).expand(len(x), -1, -1, -1)
        out: Tensor = self.coord[1](self.coord[0](torch.cat([x, place], 1)))
        return x + out


def positions(length: int, channels: int, device: torch.device) -> Tensor:
    """Sine code [length, channels] of positions 0 to length - 1: even channels sine, odd ones cosine."""
    rate = torch.exp(torch.arange(0, channels, 2, dtype=torch.float32, device=device) * -(math.log(10000.0) / channels))
    angle = torch.arange(length, dtype=torch.float32, device=device)[:, None] * rate
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1)


def grid_positions(height: int, width: int, channels: int, device: torch.device) -> Tensor:
    """[h w, channels], row-major: the first half of the channels codes the column, the second the row."""
    half = channels // 2
    columns = positions(width, half, device).expand(height, width, half)
    rows = positions(height, half, device)[:, None].expand(height, width, half)
    return torch.cat([columns, rows], -1).flatten(0, 1)


class DecoderLayer(nn.Module):
    """Pre-norm self-attention, attention to the words and MLP; each result is normed again (official code)."""

    def __init__(self, options: DetrisOptions) -> None:
        super().__init__()
        width, heads, drop = options.width, options.decoder_heads, options.decoder_dropout
        self.self_attn_norm = nn.LayerNorm(width)
        self.cross_attn_norm = nn.LayerNorm(width)
        self.self_attn = nn.MultiheadAttention(width, heads, dropout=drop, batch_first=True)
        self.cross_attn = nn.MultiheadAttention(width, heads, dropout=drop, batch_first=True)
        self.fc1 = nn.Linear(width, options.decoder_mlp)
        self.ffn_norm = nn.LayerNorm(options.decoder_mlp)
        self.fc2 = nn.Linear(options.decoder_mlp, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)
        self.dropout = nn.Dropout(drop)

    def forward(self, z: Tensor, text: Tensor, padding: Tensor, place: Tensor, text_place: Tensor) -> Tensor:
        """z [B, N, C], text [B, L, C], padding [B, L] True where ignored; place [N, C], text_place [L, C]."""
        a = self.norm1(z)
        query = a + place
        z = z + self.dropout(self.self_attn_norm(self.self_attn(query, query, a, need_weights=False)[0]))
        query = self.norm2(z) + place
        read = self.cross_attn(query, text + text_place, text, key_padding_mask=padding, need_weights=False)[0]
        z = z + self.dropout(self.cross_attn_norm(read))
        hidden = self.ffn_norm(self.dropout(F.relu(self.fc1(self.norm3(z)))))
        out: Tensor = z + self.dropout(self.fc2(hidden))
        return out


class Decoder(nn.Module):
    """The layers over the neck's map, and a last norm."""

    def __init__(self, options: DetrisOptions) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(options) for _ in range(options.decoder_layers))
        self.norm = nn.LayerNorm(options.width)

    def forward(self, x: Tensor, text: Tensor, padding: Tensor) -> Tensor:
        """x [B, C, h, w], text [B, L, C], padding [B, L] bool -> [B, C, h, w]."""
        channels, height, width = (int(n) for n in x.shape[1:])
        place = grid_positions(height, width, channels, x.device)
        text_place = positions(int(text.shape[1]), channels, x.device)
        z = x.flatten(2).transpose(1, 2)
        for layer in self.layers:
            z = layer(z, text, padding, place, text_place)
        out: Tensor = self.norm(z).transpose(1, 2).reshape(x.shape)
        return out


class Head(nn.Module):
    """One logit map, by a 3x3 kernel that is made from the sentence's state (official code)."""

    def __init__(self, options: DetrisOptions) -> None:
        super().__init__()
        width, self.channels = options.width, options.width // 2
        self.conv1 = ConvNormReLU(width, width, 3)
        self.conv2 = ConvNormReLU(width, self.channels, 3)
        self.conv3 = nn.Conv2d(self.channels, self.channels, 1)
        self.kernel = nn.Linear(options.state_width, 9 * self.channels + 1)

    def forward(self, x: Tensor, state: Tensor) -> Tensor:
        """x [B, C, h, w], state [B, S] -> logits [B, 1, 4 h, 4 w]."""
        for block in (self.conv1, self.conv2):
            x = block(F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False))
        x = self.conv3(x)
        batch, channels = len(x), self.channels
        made = self.kernel(state)
        kernel, bias = made[:, :-1].reshape(batch, channels, 3, 3), made[:, -1]
        maps = F.conv2d(x.flatten(0, 1)[None], kernel, bias, padding=1, groups=batch)
        return maps.transpose(0, 1)
