"""What the suite knows of CARIS: sizes, protocol, training settings. Torch-free."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from amlrepro.config import RunConfig
from amlrepro.models.backbones.locate import NeededWeights, needed_bert, needed_swin
from amlrepro.models.spec import ModelSpec, Protocol
from amlrepro.schema import Strict
from amlrepro.sections import IntTuple

Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(ge=0, lt=1)]


class CarisOptions(Strict):
    """Sizes of CARIS; the defaults are the official Swin-B + BERT-base.

    Vision: Swin with one entry of `depths` and `heads` a stage; the decoder works on all stages but the first, which
    joins in the last step. Text: BERT. Decoder: `width` channels, `layers` layers, `decoder_heads` heads of `head_dim`
    in attention between tokens and of width / heads in deformable attention with `points` points a level.
    prompt_levels: the deepest map is pooled to k x k for each k; each cell is one language prompt.
    """

    embed_dim: Positive = 128
    depths: IntTuple = (2, 2, 18, 2)
    heads: IntTuple = (4, 8, 16, 32)
    window: Positive = 7
    patch_size: Positive = 4
    drop_path: Rate = 0.3
    text_width: Positive = 768
    text_layers: Positive = 12
    text_heads: Positive = 12
    text_mlp: Positive = 3072
    text_positions: Positive = 512
    text_dropout: Rate = 0.1
    width: Positive = 256
    layers: Positive = 6
    decoder_heads: Positive = 8
    head_dim: Positive = 128
    points: Positive = 4
    mlp: Positive = 1024
    groups: Positive = 32
    visual_prompts: Positive = 5
    prompt_levels: IntTuple = (1, 2)

    @model_validator(mode="after")
    def _consistent(self) -> CarisOptions:
        if len(self.depths) != len(self.heads) or len(self.depths) < 2:
            raise ValueError("depths and heads need one entry for each of at least two stages")
        for stage, heads in enumerate(self.heads):
            if (self.embed_dim * 2**stage) % heads:
                raise ValueError(f"stage {stage}: width {self.embed_dim * 2**stage} is no multiple of {heads} heads")
        for name, divisor in (("groups", self.groups), ("decoder_heads", self.decoder_heads), ("4", 4)):
            if self.width % divisor:
                raise ValueError(f"width {self.width} is no multiple of {name} ({divisor})")
        if self.text_width % self.text_heads:
            raise ValueError(f"text_width {self.text_width} is no multiple of text_heads ({self.text_heads})")
        return self

    @property
    def stage_widths(self) -> tuple[int, ...]:
        """Channels of each stage's map, finest first."""
        return tuple(self.embed_dim * 2**stage for stage in range(len(self.depths)))

    @property
    def language_prompts(self) -> int:
        """Number of prompts made from the deepest map."""
        return sum(k * k for k in self.prompt_levels)

    @property
    def size_multiple(self) -> int:
        """Input sides that are multiples of this need no padding anywhere, so agree exactly with the official code."""
        return (self.patch_size << (len(self.depths) - 1)) * self.window


def validate_after(horizon: int) -> tuple[int, ...]:
    """Whole epochs trained when val is scored: zero-based epochs 0, 10, 20, ... and the last 16."""
    return tuple(epoch + 1 for epoch in range(horizon) if epoch % 10 == 0 or epoch >= horizon - 16)


def needed_weights(config: RunConfig) -> dict[str, NeededWeights]:
    """The public files of the encoders that start pretrained; raises `UserError` for sizes that have none."""
    out = {}
    if config.init.vision == "pretrained":
        options = SPEC.resolve_options(config)
        assert isinstance(options, CarisOptions)
        out["vision"] = needed_swin(options.embed_dim, options.depths, options.window)
    if config.init.text == "pretrained":
        out["text"] = needed_bert()
    return out


_NARROW: dict[str, Any] = {"embed_dim": 96, "heads": (3, 6, 12, 24)}

SIZES: dict[str, dict[str, Any]] = {
    "base": {},
    "tiny": {**_NARROW, "depths": (2, 2, 6, 2)},
    "small": {**_NARROW, "depths": (2, 2, 18, 2)},
    "large": {"embed_dim": 192, "heads": (6, 12, 24, 48)},
    "micro": {
        "embed_dim": 16,
        "depths": (2, 2, 2, 2),
        "heads": (1, 2, 4, 8),
        "text_width": 48,
        "text_heads": 4,
        "text_mlp": 32,
        "text_positions": 32,
        "width": 32,
        "layers": 2,
        "decoder_heads": 4,
        "head_dim": 32,
        "mlp": 128,
    },
    "demo": {
        "embed_dim": 16,
        "depths": (1, 1, 2),
        "heads": (1, 2, 4),
        "drop_path": 0.0,
        "text_width": 64,
        "text_layers": 2,
        "text_heads": 4,
        "text_mlp": 128,
        "text_positions": 64,
        "text_dropout": 0.0,
        "width": 48,
        "layers": 1,
        "decoder_heads": 4,
        "head_dim": 24,
        "mlp": 96,
        "groups": 8,
    },
    "smoke": {
        "embed_dim": 8,
        "depths": (2, 2, 2),
        "heads": (1, 2, 4),
        "drop_path": 0.1,
        "text_width": 16,
        "text_layers": 1,
        "text_heads": 2,
        "text_mlp": 32,
        "text_positions": 64,
        "width": 16,
        "layers": 1,
        "decoder_heads": 2,
        "head_dim": 8,
        "points": 2,
        "mlp": 32,
        "groups": 4,
    },
}

SPEC = ModelSpec(
    name="caris",
    title="CARIS",
    protocol=Protocol(
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        resize="stretch",
        vision_text_free=True,
        global_loss=True,
        stage_one_mode="train",
        validate=validate_after,
        precision="fp16",
        hides_positions=True,
    ),
    options=CarisOptions,
    sizes=SIZES,
    build="amlrepro.models.caris.model:build",
    official="amlrepro.models.caris.official:load",
    pretrained="amlrepro.models.caris.spec:needed_weights",
)
