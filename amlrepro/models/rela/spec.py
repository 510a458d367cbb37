"""What the suite knows of ReLA: sizes, protocol, training settings. Torch-free."""

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

FEATURES = ("default", "fused")
PERIOD = 5_000  # updates between two evaluations, which an epoch stands for here


class RelaOptions(Strict):
    """Sizes of ReLA; the defaults are the official Swin-B (window 12) + BERT-base.

    Vision: Swin with one entry of `depths` and `heads` a stage, words fused in after each. trained_text_layers: how
    many of BERT's layers learn, from the first; the others and the embeddings keep their pretrained values. None: all
    of BERT learns, which small models from scratch need. Pixel decoder: `pixel_layers` layers of deformable attention
    on all stages but the first, which joins in the last step. Region decoder: `layers` layers over `region_grid`
    squared regions.
    """

    embed_dim: Positive = 128
    depths: IntTuple = (2, 2, 18, 2)
    heads: IntTuple = (4, 8, 16, 32)
    window: Positive = 12
    patch_size: Positive = 4
    drop_path: Rate = 0.3
    text_width: Positive = 768
    text_layers: Positive = 12
    text_heads: Positive = 12
    text_mlp: Positive = 3072
    text_positions: Positive = 512
    text_dropout: Rate = 0.1
    trained_text_layers: Annotated[int, Field(ge=0)] | None = 10
    width: Positive = 256
    pixel_layers: Positive = 6
    pixel_heads: Positive = 8
    points: Positive = 4
    pixel_mlp: Positive = 1024
    groups: Positive = 32
    region_grid: Positive = 10
    layers: Positive = 9
    decoder_heads: Positive = 8
    mlp: Positive = 2048

    @model_validator(mode="after")
    def _consistent(self) -> RelaOptions:
        if len(self.depths) != len(self.heads) or len(self.depths) < 2:
            raise ValueError("depths and heads need one entry for each of at least two stages")
        for stage, heads in enumerate(self.heads):
            if (self.embed_dim * 2**stage) % heads:
                raise ValueError(f"stage {stage}: width {self.embed_dim * 2**stage} is no multiple of {heads} heads")
        for name, divisor in (
            ("groups", self.groups),
            ("pixel_heads", self.pixel_heads),
            ("decoder_heads", self.decoder_heads),
            ("4", 4),
        ):
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
    def regions(self) -> int:
        """Number of regions, row by row over the picture."""
        return self.region_grid**2

    @property
    def size_multiple(self) -> int:
        """Input sides must be multiples of this, the stride of the deepest map."""
        return self.patch_size << (len(self.depths) - 1)


def validate_after(horizon: int) -> tuple[int, ...]:
    """Epochs after which val is scored: each, that is every 5,000 updates."""
    return tuple(range(1, horizon + 1))


def needed_weights(config: RunConfig) -> dict[str, NeededWeights]:
    """The public files of the encoders that start pretrained; raises `UserError` for sizes that have none."""
    out = {}
    if config.init.vision == "pretrained":
        options = SPEC.resolve_options(config)
        assert isinstance(options, RelaOptions)
        out["vision"] = needed_swin(options.embed_dim, options.depths, options.window)
    if config.init.text == "pretrained":
        out["text"] = needed_bert()
    return out


SIZES: dict[str, dict[str, Any]] = {
    "base": {},
    "tiny": {"embed_dim": 96, "depths": (2, 2, 6, 2), "heads": (3, 6, 12, 24), "window": 7},
    "micro": {
        "embed_dim": 16,
        "depths": (2, 2, 2, 2),
        "heads": (1, 2, 4, 8),
        "window": 3,
        "text_width": 48,
        "text_layers": 3,
        "text_heads": 4,
        "text_mlp": 32,
        "text_positions": 32,
        "trained_text_layers": 2,
        "width": 32,
        "pixel_layers": 2,
        "pixel_heads": 4,
        "pixel_mlp": 48,
        "groups": 8,
        "region_grid": 4,
        "layers": 4,
        "decoder_heads": 4,
        "mlp": 64,
    },
    "demo": {
        "embed_dim": 16,
        "depths": (1, 1, 2),
        "heads": (1, 2, 4),
        "window": 7,
        "drop_path": 0.0,
        "text_width": 64,
        "text_layers": 2,
        "text_heads": 4,
        "text_mlp": 128,
        "text_positions": 64,
        "text_dropout": 0.0,
        "trained_text_layers": None,
        "width": 48,
        "pixel_layers": 1,
        "pixel_heads": 4,
        "pixel_mlp": 96,
        "groups": 8,
        "region_grid": 7,
        "layers": 2,
        "decoder_heads": 4,
        "mlp": 96,
    },
    "smoke": {
        "embed_dim": 8,
        "depths": (2, 2, 2),
        "heads": (1, 2, 4),
        "window": 7,
        "drop_path": 0.1,
        "text_width": 16,
        "text_layers": 1,
        "text_heads": 2,
        "text_mlp": 32,
        "text_positions": 64,
        "trained_text_layers": None,
        "width": 16,
        "pixel_layers": 1,
        "pixel_heads": 2,
        "points": 2,
        "pixel_mlp": 32,
        "groups": 4,
        "region_grid": 4,
        "layers": 2,
        "decoder_heads": 2,
        "mlp": 32,
    },
}


def _train(batch: int) -> dict[str, Any]:
    """150,000 updates. An epoch is 5,000 of them, whatever part of the data they visit."""
    return {
        "optimizer": "adamw",
        "lr": 1e-5,
        "encoder_lr": 1.0,
        "weight_decay": 0.05,
        "schedule": "step",
        "drops": (110_000, 140_000),
        "drop_unit": "update",
        "warmup": 0,
        "clip": 0.01,
        "horizon": 30,
        "batch": batch,
        "epoch_refs": PERIOD * batch,
    }


SPEC = ModelSpec(
    name="rela",
    title="ReLA",
    protocol=Protocol(
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        resize="stretch",
        vision_text_free=False,
        global_loss=True,
        stage_one_mode="eval",
        validate=validate_after,
        precision="fp16",
        image_size=480,
        decision="argmax of two channels; the no-target head decides whether there is a target",
        text="raw",
        multi_target=True,
        sampling="expression",
        rasterize="input",
        best_by="ciou",  # its own code scores val and chooses nothing
        validate_precision="float32",
    ),
    options=RelaOptions,
    sizes=SIZES,
    build="amlrepro.models.rela.model:build",
    official="amlrepro.models.rela.official:load",
    official_input={"pixels": False},
    pretrained="amlrepro.models.rela.spec:needed_weights",
    train=_train(16),  # Q16: its own settings at the paper's batch size
    train_presets={"rela_paper": _train(16), "rela_official": _train(48)},
    pmme_features=FEATURES,
)
