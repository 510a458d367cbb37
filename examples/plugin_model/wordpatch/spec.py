"""What amlrepro's planner knows of the model; torch is not imported here."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from amlrepro.models.spec import ModelSpec, Protocol
from amlrepro.schema import Strict

HEADS = 4


class Options(Strict):
    """Sizes, set by `model.options`: channels, and image pixels a side of one position of the deepest map."""

    width: Annotated[int, Field(ge=HEADS)] = 128
    stride: Annotated[int, Field(ge=4)] = 16

    @model_validator(mode="after")
    def _consistent(self) -> Options:
        if self.width % HEADS:
            raise ValueError(f"width {self.width} is no multiple of {HEADS} heads")
        if self.stride & (self.stride - 1):
            raise ValueError(f"stride {self.stride} is no power of two")
        return self


def last_epoch(horizon: int) -> tuple[int, ...]:
    """Val is scored once, at the end."""
    return (horizon,)


SPEC = ModelSpec(
    name="wordpatch",  # the entry point's name
    title="WordPatch",  # as tables print it
    protocol=Protocol(
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        resize="stretch",
        vision_text_free=True,  # an image is encoded once for all its sentences
        stage_one_mode="eval",  # no dropout in AML's first pass
        validate=last_epoch,
        precision="bf16",
    ),
    options=Options,
    sizes={"base": {}, "demo": {"width": 48, "stride": 8}, "smoke": {"width": 16, "stride": 8}},
    build="wordpatch.model:build",
    train={"lr": 1e-3, "encoder_lr": 1.0, "warmup": 100},
)
