"""ReLA's region decoder: regions read the picture, the words and one another; three heads."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from amlrepro.models.layers.mlp import MLP
from amlrepro.models.layers.multiscale import geometry
from amlrepro.models.rela.spec import RelaOptions

_LANGUAGE_SHARE = 0.1  # fixed in the official code, whatever its configuration says


class Attention(nn.Module):
    """Multi-head attention with its residual and norm. mask: True hides a key."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm = nn.LayerNorm(width, eps=1e-5)
        nn.init.xavier_uniform_(self.attn.out_proj.weight)

    def forward(self, x: Tensor, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """x, query [B, Q, C], key, value [B, K, C], mask [B * heads, Q, K] bool -> [B, Q, C]."""
        read = self.attn(query, key, value, attn_mask=mask, need_weights=False)[0]
        out: Tensor = self.norm(x + read)
        return out


class RegionLayer(nn.Module):
    """A region reads the picture where its own mask lies (RIA), then all regions (RLA), then itself."""

    def __init__(self, options: RelaOptions) -> None:
        super().__init__()
        width, heads = options.width, options.decoder_heads
        self.cross = Attention(width, heads)
        self.among = Attention(width, heads)
        self.ffn = MLP(width, options.mlp)
        self.ffn_norm = nn.LayerNorm(width, eps=1e-5)
        for layer in (self.ffn.fc1, self.ffn.fc2):
            nn.init.xavier_uniform_(layer.weight)

    def relate(self, x: Tensor, position: Tensor) -> Tensor:
        """What follows the reading of picture and words: x [B, Q, C], position [Q, C] -> [B, Q, C]."""
        placed = x + position
        x = self.among(x, placed, placed, x)
        out: Tensor = self.ffn_norm(x + self.ffn(x))
        return out


class RegionDecoder(nn.Module):
    """Target mask, minimap and no-target logits from `regions` learned queries, row by row over the picture."""

    def __init__(self, options: RelaOptions) -> None:
        super().__init__()
        width, regions = options.width, options.regions
        self.heads = options.decoder_heads
        self.content = nn.Embedding(regions, width)
        self.position = nn.Embedding(regions, width)
        self.level = nn.Embedding(len(options.depths) - 1, width)
        self.lang_proj = nn.Linear(options.text_width, width, bias=False)
        nn.init.zeros_(self.lang_proj.weight)
        self.lang_gate = nn.Parameter(torch.tensor(0.0))
        self.lang_attn = Attention(width, options.decoder_heads)
        self.layers = nn.ModuleList(RegionLayer(options) for _ in range(options.layers))
        self.norm = nn.LayerNorm(width, eps=1e-5)
        self.minimap = nn.Linear(width, 2)
        self.no_target = MLP(width, width, 2)
        self.mask = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)
        )

    def forward(self, maps: list[Tensor], features: Tensor, words: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """maps: [B, C, h_i, w_i], coarsest first; features [B, C, H, W]; words [B, L, D], padding too.

        Returns logits of the target mask [B, 2, H, W], of the minimap [B, Q, 2] and of no target [B, 2].
        """
        tokens, places = self._sources(maps)
        small = [F.interpolate(features.detach(), size=m.shape[-2:], mode="bilinear") for m in maps]
        position = self.position.weight
        x = self.content.weight.expand(len(features), -1, -1)
        for i, layer in enumerate(self.layers):
            assert isinstance(layer, RegionLayer)
            scale = i % len(maps)
            source, mask = tokens[scale], self.hidden(x, small[scale])
            x = layer.cross(x, x + position, source + places[scale], source, mask)
            if i == 0:
                projected = self.lang_proj(words)
                x = x + _LANGUAGE_SHARE * self.lang_gate.sigmoid() * self.lang_attn(x, x, projected, projected)
            x = layer.relate(x, position)
        x = self.norm(x)
        minimap = self.minimap(x)
        # The weighted sum of region masks: the weights first, so that no region's mask is made.
        kernels = minimap.transpose(1, 2) @ self.mask(x)
        logits = torch.einsum("bkc,bchw->bkhw", kernels, features.to(kernels.dtype))
        return logits, minimap, self.no_target(x).mean(1)

    def _sources(self, maps: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Tokens [B, h w, C] with their level's code, and sine codes [h w, C], of each map."""
        tokens, places = [], []
        for i, values in enumerate(maps):
            shape = (int(values.shape[-2]), int(values.shape[-1]))
            tokens.append(values.flatten(2).transpose(1, 2) + self.level.weight[i])
            places.append(geometry((shape,), values.shape[1], values.device)[0])
        return tokens, places

    @torch.no_grad()
    def hidden(self, x: Tensor, small: Tensor) -> Tensor:
        """Where each region's own mask is below one half: True hides [B * heads, Q, h w], the same for all heads.

        x [B, Q, C], small [B, C, h, w]: mask features at the layer's scale; resizing them resizes the masks, which are
        linear in them. A region that would see nothing sees everything.
        """
        masks = self.mask(self.norm(x))
        below: Tensor = masks @ small.flatten(2).to(masks.dtype) < 0
        below = below & ~below.all(-1, keepdim=True)
        return below.repeat_interleave(self.heads, 0)
