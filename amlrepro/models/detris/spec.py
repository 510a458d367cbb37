"""What the suite knows of DETRIS: sizes, protocol, training settings. Torch-free."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from amlrepro.config import RunConfig
from amlrepro.errors import UserError
from amlrepro.models.backbones.locate import NeededWeights
from amlrepro.models.spec import ModelSpec, Protocol
from amlrepro.schema import Strict
from amlrepro.sections import IntTuple

Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(ge=0, lt=1)]

END_ID = 49407  # CLIP's end token, its largest id
FEATURES = ("default", "frozen")
_DINOV2 = {(768, 12): ("b", "base"), (1024, 24): ("l", "large")}  # by width and layers


class DetrisOptions(Strict):
    """Sizes of DETRIS; the defaults are the official base model (DINOv2-B/14 with registers, text of CLIP ViT-B/16).

    Vision: a ViT with `registers` register tokens whose stored position table is `position_grid` squared; features are
    taken after the blocks `vision_taps` and at the end; blocks `vision_adapters` (counted from 0) carry a dense aligner
    of bottleneck `vision_bottleneck`. Text likewise. Neck and decoder work at `width`, which must be the text width,
    because the decoder reads the text as it is. adapter_scale: factor on every adapter's output.
    frozen: encoders without their adapters are not trained; small models from scratch must train them.
    end_token: where the sentence's state is read, at the `largest` id (CLIP's end token) or the `last` real token
    (other vocabularies). threshold: probability above which a pixel belongs to the mask.
    """

    patch_size: Positive = 14
    vision_width: Positive = 768
    vision_layers: Positive = 12
    vision_heads: Positive = 12
    registers: Annotated[int, Field(ge=0)] = 4
    position_grid: Positive = 37
    vision_taps: IntTuple = (4, 8)
    vision_adapters: IntTuple = (1, 3, 5, 7, 9, 11)
    vision_bottleneck: Positive = 128
    cross_heads: Positive = 8
    cross_dropout: Rate = 0.1
    text_width: Positive = 512
    text_layers: Positive = 12
    text_heads: Positive = 8
    text_positions: Positive = 77
    text_adapters: IntTuple = (1, 3, 5, 7, 9, 11)
    text_bottleneck: Positive = 64
    state_width: Positive = 512
    width: Positive = 512
    decoder_layers: Positive = 3
    decoder_heads: Positive = 8
    decoder_mlp: Positive = 512
    decoder_dropout: Rate = 0.1
    adapter_scale: float = 0.2
    frozen: bool = True
    end_token: Literal["largest", "last"] = "largest"
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.35

    @model_validator(mode="after")
    def _consistent(self) -> DetrisOptions:
        divisors = (
            ("vision_width", self.vision_width, "vision_heads", self.vision_heads),
            ("text_width", self.text_width, "text_heads", self.text_heads),
            ("vision_bottleneck", self.vision_bottleneck, "16", 16),
            ("vision_bottleneck", self.vision_bottleneck, "cross_heads", self.cross_heads),
            ("text_bottleneck", self.text_bottleneck, "16", 16),
            ("width", self.width, "4", 4),
            ("width", self.width, "decoder_heads", self.decoder_heads),
        )
        for name, value, other, divisor in divisors:
            if value % divisor:
                raise ValueError(f"{name} {value} is no multiple of {other} ({divisor})")
        if self.width != self.text_width:
            raise ValueError(f"width {self.width} must equal text_width {self.text_width}: the decoder reads the text")
        if len(self.vision_taps) != 2:
            raise ValueError("vision_taps names two blocks; the third map is the last block's")
        for name, blocks, layers in (
            ("vision_taps", self.vision_taps, self.vision_layers),
            ("vision_adapters", self.vision_adapters, self.vision_layers),
            ("text_adapters", self.text_adapters, self.text_layers),
        ):
            if any(not 0 <= block < layers for block in blocks):
                raise ValueError(f"{name} names a block outside 0 to {layers - 1}")
        return self


def validate_after(horizon: int) -> tuple[int, ...]:
    """Whole epochs trained when val is scored: after each (official code)."""
    return tuple(range(1, horizon + 1))


def needed_weights(config: RunConfig) -> dict[str, NeededWeights]:
    """The public files of the encoders that start pretrained; raises `UserError` for sizes that have none."""
    out = {}
    if config.init.vision == "pretrained":
        options = SPEC.resolve_options(config)
        assert isinstance(options, DetrisOptions)
        out["vision"] = needed_dinov2(options)
    if config.init.text == "pretrained":
        out["text"] = needed_clip()
    return out


def needed_dinov2(options: DetrisOptions) -> NeededWeights:
    """The DINOv2 with registers of this size; raises `UserError` for sizes that no public file has."""
    size = _DINOV2.get((options.vision_width, options.vision_layers))
    if size is None or options.registers != 4 or options.patch_size != 14:
        raise UserError(
            "there are no public DINOv2 weights of this size",
            found=f"width {options.vision_width}, {options.vision_layers} layers, {options.registers} registers",
            expected="the sizes base or large",
            hint="set init.vision=scratch and model.options.frozen=false",
        )
    letter, word = size
    return NeededWeights(
        name=f"dinov2_vit{letter}14_reg4",
        setting="exec.vision_weights",
        variable="AMLRIS_DINOV2",
        files=(f"dinov2_vit{letter}14_reg4_pretrain.pth",),
        repositories=(f"facebook/dinov2-with-registers-{word}", f"timm/vit_{word}_patch14_reg4_dinov2.lvd142m"),
        get=f"download dinov2_vit{letter}14_reg4_pretrain.pth from facebookresearch/dinov2's page, "
        f"or facebook/dinov2-with-registers-{word} from the Hugging Face hub",
    )


def needed_clip() -> NeededWeights:
    """The CLIP whose text tower DETRIS reads sentences with."""
    return NeededWeights(
        name="clip-vit-base-patch16",
        setting="exec.text_weights",
        variable="AMLRIS_CLIP",
        files=(),
        repositories=("openai/clip-vit-base-patch16",),
        get="download openai/clip-vit-base-patch16 from the Hugging Face hub (model.safetensors, merges.txt)",
    )


SIZES: dict[str, dict[str, Any]] = {
    "base": {},
    "large": {
        "vision_width": 1024,
        "vision_layers": 24,
        "vision_heads": 16,
        "vision_taps": (8, 16),
        "vision_adapters": (2, 6, 10, 14, 18, 22),
    },
    "micro": {
        "vision_width": 48,
        "vision_layers": 4,
        "vision_heads": 3,
        "position_grid": 5,
        "vision_taps": (1, 2),
        "vision_adapters": (1, 3),
        "vision_bottleneck": 16,
        "cross_heads": 2,
        "text_width": 32,
        "text_layers": 3,
        "text_heads": 4,
        "text_positions": 24,
        "text_adapters": (1, 2),
        "text_bottleneck": 16,
        "state_width": 32,
        "width": 32,
        "decoder_layers": 2,
        "decoder_heads": 4,
        "decoder_mlp": 48,
    },
    "demo": {
        "vision_width": 64,
        "vision_layers": 4,
        "vision_heads": 4,
        "position_grid": 8,
        "vision_taps": (1, 2),
        "vision_adapters": (1, 2, 3),
        "vision_bottleneck": 32,
        "cross_heads": 4,
        "cross_dropout": 0.0,
        "text_width": 64,
        "text_layers": 2,
        "text_heads": 4,
        "text_positions": 64,
        "text_adapters": (1,),
        "text_bottleneck": 32,
        "state_width": 64,
        "width": 64,
        "decoder_layers": 2,
        "decoder_heads": 4,
        "decoder_mlp": 128,
        "decoder_dropout": 0.0,
        "adapter_scale": 1.0,
        "frozen": False,
        "end_token": "last",
    },
    "smoke": {
        "vision_width": 32,
        "vision_layers": 3,
        "vision_heads": 2,
        "registers": 1,
        "position_grid": 8,
        "vision_taps": (0, 1),
        "vision_adapters": (1, 2),
        "vision_bottleneck": 16,
        "cross_heads": 2,
        "text_width": 16,
        "text_layers": 1,
        "text_heads": 2,
        "text_positions": 64,
        "text_adapters": (0,),
        "text_bottleneck": 16,
        "state_width": 16,
        "width": 16,
        "decoder_layers": 1,
        "decoder_heads": 2,
        "decoder_mlp": 32,
        "frozen": False,
        "end_token": "last",
    },
}

# Its own optimiser; length and batch are the paper's, so the second drop never comes (Q16).
_ADAM: dict[str, Any] = {
    "optimizer": "adam",
    "lr": 1e-4,
    "encoder_lr": 1.0,
    "weight_decay": 0.0,
    "schedule": "step",
    "drops": (35, 55),
    "warmup": 0,
    "clip": None,
}

SPEC = ModelSpec(
    name="detris",
    title="DETRIS",
    protocol=Protocol(
        mean=(0.48145466, 0.4578275, 0.40821073),
        std=(0.26862954, 0.26130258, 0.27577711),
        resize="affine",
        vision_text_free=False,
        global_loss=True,
        stage_one_mode="eval",
        validate=validate_after,
        precision="fp16",
        border=(123, 117, 104),  # the mean colour, rounded as an 8-bit picture holds it
        image_size=448,
        scoring="original",
        decision="sigmoid above the threshold (0.35 officially), warped back to the picture",
        best_by="miou",
        validate_sentences="first",
        validate_precision="float32",
        soft_target=True,
        vocabulary="clip",
        word_limits={"": 17, "refcocog": 22, "refcocog(google)": 17},
    ),
    options=DetrisOptions,
    sizes=SIZES,
    build="amlrepro.models.detris.model:build",
    official="amlrepro.models.detris.official:load",
    pretrained="amlrepro.models.detris.spec:needed_weights",
    train={**_ADAM, "horizon": 50, "batch": 16},
    train_presets={
        "detris_paper": {**_ADAM, "horizon": 50, "batch": 16},
        "detris_official": {**_ADAM, "horizon": 65, "batch": 32},
        "detris_official_google": {**_ADAM, "drops": (35,), "horizon": 50, "batch": 32},
    },
    pmme_features=FEATURES,
)
