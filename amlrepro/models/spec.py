"""What the suite knows of a model without importing torch: its name, sizes, protocol and how to build it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel

from amlrepro.config import RunConfig


@dataclass(frozen=True)
class Protocol:
    """How a model's own code feeds, trains and scores it.

    mean, std: normalisation of RGB in [0, 1]. resize: `stretch` to a square. vision_text_free: vision is computed
    without language, so an image is encoded once for all its sentences. stage_one_mode: mode of AML's first pass
    (Q06). validate: zero-based rule giving the epochs after which val is scored (`horizon` -> whole epochs trained).
    size_multiple: input sizes must be a multiple of this for exact parity with the official code.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resize: Literal["stretch"]
    vision_text_free: bool
    stage_one_mode: Literal["train", "eval"]
    validate: Callable[[int], tuple[int, ...]]
    precision: Literal["fp16", "bf16", "float32"]  # autocast of the official code on CUDA


@dataclass(frozen=True)
class ModelSpec:
    """A model as the suite sees it.

    options: strict schema of `model.options`. sizes: named option sets. train: overrides of `TrainConfig` that are the
    method's own protocol. build: import path `module:function` of `build(config: RunConfig, vocab_size: int) ->
    RISModel`, imported only where torch may be. official: import path of `load(path_or_state_dict) -> RISModel`.
    """

    name: str
    title: str
    protocol: Protocol
    options: type[BaseModel]
    sizes: Mapping[str, Mapping[str, Any]]
    build: str
    official: str | None = None
    train: Mapping[str, Any] = field(default_factory=dict)

    def resolve_options(self, config: RunConfig) -> BaseModel:
        """The size's options with the configuration's overrides, checked."""
        from amlrepro.config import parse_strict
        from amlrepro.errors import unknown_name

        if config.model.size not in self.sizes:
            raise unknown_name("model size", config.model.size, self.sizes, f"model {self.name}")
        values = {**self.sizes[config.model.size], **config.model.options}
        return parse_strict(self.options, values, f"model.options of {self.name}")
