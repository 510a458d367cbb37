"""Patches of the image look at the words of the sentence; a linear layer says which patches belong to the referent."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amlrepro.config import RunConfig
from amlrepro.models.contract import Encoded, Output, ParameterGroup, RISModel, Textual, Visual
from wordpatch.spec import HEADS, SPEC, Options


class WordPatch(RISModel):
    """Convolutions for vision, an embedding and a GRU for words, attention from patches to words between them."""

    protocol = SPEC.protocol

    def __init__(self, options: Options, vocabulary: int, class_weights: Sequence[float]) -> None:
        super().__init__()
        self.options = options  # `amlris weights convert` writes them beside the weights
        width = options.width
        layers: list[nn.Module] = [nn.Conv2d(3, width, 4, stride=4)]
        for _ in range(options.stride.bit_length() - 3):  # each halves the map, from a quarter of the image's side
            layers += [nn.GroupNorm(4, width), nn.ReLU(), nn.Conv2d(width, width, 3, stride=2, padding=1)]
        layers += [nn.GroupNorm(4, width), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1), nn.GroupNorm(4, width)]
        self.vision = nn.Sequential(*layers)
        self.words = nn.Embedding(vocabulary, width)
        self.sentence = nn.GRU(width, width // 2, batch_first=True, bidirectional=True)
        self.norm = nn.LayerNorm(width)
        self.place = nn.Conv2d(2, width, 1)
        self.attention = nn.MultiheadAttention(width, HEADS, batch_first=True)
        self.mix = nn.Sequential(nn.GroupNorm(4, width), nn.Conv2d(width, width, 3, padding=1), nn.ReLU())
        self.classify = nn.Conv2d(width, 2, 1)
        self.register_buffer("class_weights", torch.tensor(tuple(class_weights)), persistent=False)

    def encode_image(self, image: Tensor) -> Visual:
        """image [B, 3, H, W] -> one map [B, C, H / stride, W / stride]; with several, the deepest comes last."""
        return Visual([self.vision(image)])

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor, visual: Visual) -> Textual:
        """ids, mask [B, L] -> [B, L, C]."""
        return Textual(self.norm(self.sentence(self.words(input_ids))[0]), attention_mask)

    def segment(self, encoded: Encoded, attention_bias: Tensor | None = None) -> Output:
        """Logits [B, 2, h, w] before upsampling; channel 1 is the referent."""
        features = encoded.visual.levels[-1]
        height, width = features.shape[-2:]
        rows = torch.linspace(-1, 1, height, device=features.device).view(1, 1, -1, 1).expand(1, 1, height, width)
        columns = torch.linspace(-1, 1, width, device=features.device).view(1, 1, 1, -1).expand(1, 1, height, width)
        placed = features + self.place(torch.cat([rows, columns], 1))
        text = encoded.textual
        seen, _ = self.attention(
            placed.flatten(2).transpose(1, 2), text.tokens, text.tokens, key_padding_mask=text.mask == 0
        )
        mixed = self.mix(placed * seen.transpose(1, 2).unflatten(2, (height, width)))
        return Output(self.classify(mixed), encoded.input_size)

    def loss(self, output: Output, target: Tensor, no_target: Tensor | None = None) -> dict[str, Tensor]:
        """Cross-entropy at the target's size [B, H, W]; further entries would be logged as parts of the loss."""
        logits = F.interpolate(output.logits, target.shape[-2:], mode="bilinear", align_corners=False)
        return {"loss": F.cross_entropy(logits, target, weight=self.class_weights.to(logits.dtype))}

    def predict(self, output: Output, size: Sequence[int]) -> Tensor:
        """Masks [B, H, W] bool at `size` (height, width)."""
        return F.interpolate(output.logits, tuple(size), mode="bilinear", align_corners=False).argmax(1).bool()

    def parameter_groups(self) -> list[ParameterGroup]:
        """Every trainable parameter once; `encoder` groups learn at `train.encoder_lr` times the rate."""
        named = list(self.named_parameters())
        matrices = [(name, parameter) for name, parameter in named if parameter.ndim > 1]
        vectors = [(name, parameter) for name, parameter in named if parameter.ndim <= 1]
        return [ParameterGroup("matrices", matrices, "rest", True), ParameterGroup("vectors", vectors, "rest", False)]


def build(config: RunConfig, vocab_size: int) -> WordPatch:
    """The model a run's configuration describes."""
    options = SPEC.resolve_options(config)
    assert isinstance(options, Options)
    return WordPatch(options, vocab_size, config.train.class_weights)
