"""A tiny RISModel that counts its calls; stands in for a real one in the strategies' tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amlrepro.data.batch import Batch
from amlrepro.data.tokens import Tokenizer
from amlrepro.models.contract import Encoded, Output, ParameterGroup, RISModel, Textual, Visual
from amlrepro.models.spec import Protocol


def protocol(vision_text_free: bool = True, stage_one_mode: Literal["train", "eval"] = "train") -> Protocol:
    return Protocol(
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        resize="stretch",
        vision_text_free=vision_text_free,
        stage_one_mode=stage_one_mode,
        validate=lambda horizon: (horizon,),
        precision="float32",
    )


def tokenizer() -> Tokenizer:
    """110 pieces with the special ones where BERT has them: 0 and 100 to 103."""
    pieces = [f"word{number}" for number in range(110)]
    pieces[0], pieces[100:104] = "[PAD]", ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    return Tokenizer("bert", pieces)


class FakeModel(RISModel):
    """Patches of 8 pixels -> [B, 12, H/8, W/8]; text of width 6 conditioned on the mean of vision, as in CARIS."""

    def __init__(self, stage_one_mode: Literal["train", "eval"] = "train") -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.protocol = protocol(stage_one_mode=stage_one_mode)
        self.patches = nn.Conv2d(3, 12, 8, 8)
        self.words = nn.Embedding(110, 6)
        self.prompt = nn.Linear(12, 6)
        self.dropout = nn.Dropout(0.1)
        self.frozen = nn.BatchNorm2d(12).eval()
        self.fuse = nn.Linear(6, 12)
        self.head = nn.Conv2d(12, 2, 1)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
        self.calls: Counter[str] = Counter()
        self.modes: list[tuple[str, bool, bool]] = []
        self.images: list[Tensor] = []

    def encode_image(self, image: Tensor) -> Visual:
        self.calls["vision"] += 1
        self.modes.append(("vision", self.training, torch.is_grad_enabled()))
        self.images.append(image.detach().clone())
        return Visual([self.dropout(self.frozen(self.patches(image)))])

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor, visual: Visual) -> Textual:
        self.calls["text"] += 1
        self.modes.append(("text", self.training, torch.is_grad_enabled()))
        prompt = self.prompt(visual.levels[-1].mean((2, 3)))
        return Textual(self.dropout(self.words(input_ids) + prompt[:, None]), attention_mask)

    def segment(self, encoded: Encoded, attention_bias: Tensor | None = None) -> Output:
        self.calls["decoder"] += 1
        text = self.fuse(encoded.textual.tokens.mean(1))[:, :, None, None]
        return Output(self.head(encoded.visual.levels[-1] * text), encoded.input_size)

    def loss(self, output: Output, target: Tensor, no_target: Tensor | None = None) -> dict[str, Tensor]:
        logits = F.interpolate(output.logits, output.input_size, mode="bilinear", align_corners=False)
        value = F.cross_entropy(logits, target)
        return {"loss": value, "cross_entropy": value}

    def predict(self, output: Output, size: Sequence[int]) -> Tensor:
        return F.interpolate(output.logits, tuple(size), mode="bilinear").argmax(1).bool()

    def parameter_groups(self) -> list[ParameterGroup]:
        return [ParameterGroup("all", list(self.named_parameters()), "rest", True)]


def batch(size: int = 64, n: int = 4, tokens: int = 8, start: int = 0, update: int = 0) -> Batch:
    """Sentences of 2, 3, 4, ... tokens with marks 101 and 102; sample i depends on start + i only."""
    images, ids, masks, targets = [], [], [], []
    for position in range(start, start + n):
        generator = torch.Generator().manual_seed(100 + position)
        images.append(torch.randn(3, size, size, generator=generator))
        words = torch.randint(1, 100, (tokens,), generator=generator)
        length = 2 + position % (tokens - 1)
        words[0], words[length - 1] = 101, 102
        mask = (torch.arange(tokens) < length).long()
        ids.append(words * mask)
        masks.append(mask)
        targets.append((torch.rand(size, size, generator=generator) < 0.3).long())
    stack = torch.stack
    return Batch(stack(images), stack(ids), stack(masks), stack(targets), torch.arange(start, start + n), update)
