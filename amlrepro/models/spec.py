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

    mean, std: normalisation of RGB in [0, 1]. resize: `stretch` to a square, or `affine`: aspect kept, centred,
    `border` (8-bit RGB) around. vision_text_free: vision is computed without language, so an image is encoded once for
    all its sentences. stage_one_mode: mode of AML's first pass (Q06). validate: rule giving the epochs after which val
    is scored (`horizon` -> whole epochs trained). best_by: the metric on val by which `best` is chosen, at the
    resolution `scoring`, over all sentences or each object's first (validate_sentences), in the precision of training
    or in float32 (validate_precision). precision: autocast of the official code on CUDA. image_size: side of the
    network's input. scoring: resolution of the published numbers. decision: how logits become a mask, as results are
    labelled. soft_target: training masks keep the fractions that their interpolation gives, float32 in [0, 1].
    vocabulary: tokeniser of the pretrained text encoder. word_limits: most tokens of a sentence, marks included, by
    data set; `name(owner)` goes before `name`, "" stands for all others. text: the field of a sentence that is read.
    multi_target: expressions may name several objects or none. sampling: an epoch goes over refs, drawing one sentence
    each, or over all expressions. rasterize: polygons become masks at the picture's size, to be resized, or are scaled
    to the network's input and drawn there. hides_positions: `segment` can hide positions of the deepest map from the
    decoder's attention, which feature-level masking needs. global_loss: `loss` divides by what all processes of a
    training hold together (`models/losses.py`); otherwise it is taken for a mean over the samples it is given.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resize: Literal["stretch", "affine"]
    vision_text_free: bool
    stage_one_mode: Literal["train", "eval"]
    validate: Callable[[int], tuple[int, ...]]
    precision: Literal["fp16", "bf16", "float32"]
    border: tuple[int, int, int] = (0, 0, 0)
    image_size: int = 448
    scoring: Literal["resized", "original"] = "resized"
    decision: str = "argmax of two channels"
    soft_target: bool = False
    vocabulary: Literal["bert", "clip"] = "bert"
    word_limits: Mapping[str, int] = field(default_factory=lambda: {"": 20})
    text: Literal["sent", "raw"] = "sent"
    multi_target: bool = False
    sampling: Literal["ref", "expression"] = "ref"
    rasterize: Literal["picture", "input"] = "picture"
    best_by: str = "oiou"
    validate_sentences: Literal["all", "first"] = "all"
    validate_precision: Literal["training", "float32"] = "training"
    hides_positions: bool = False
    global_loss: bool = False

    def max_tokens(self, dataset: str, split_by: str | None = None) -> int:
        """The word limit of a data set, marks included."""
        names = (f"{dataset}({split_by})", dataset, "")
        return next(self.word_limits[name] for name in names if name in self.word_limits)


@dataclass(frozen=True)
class ModelSpec:
    """A model as the suite sees it.

    options: strict schema of `model.options`. sizes: named option sets. train: overrides of `TrainConfig` that are the
    method's own protocol; train_presets: other published ones, by name. pmme_features: readings of its early features
    that `pmme.features` may name. build: import path `module:function` of `build(config: RunConfig, vocab_size: int) ->
    RISModel`, imported only where torch may be. pretrained: import path of a torch-free function from the
    configuration to the public weights (`NeededWeights`) that it reads, under `vision` and `text`. official: import
    path of `load(path_or_state_dict) -> RISModel`. official_input: keywords of `official` under which the model takes
    pictures as our loaders give them, normalised by the protocol.
    """

    name: str
    title: str
    protocol: Protocol
    options: type[BaseModel]
    sizes: Mapping[str, Mapping[str, Any]]
    build: str
    official: str | None = None
    official_input: Mapping[str, Any] = field(default_factory=dict)
    pretrained: str | None = None
    train: Mapping[str, Any] = field(default_factory=dict)
    train_presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    pmme_features: tuple[str, ...] = ("default",)

    def resolve_options(self, config: RunConfig) -> BaseModel:
        """The size's options with the configuration's overrides, checked."""
        from amlrepro.errors import unknown_name
        from amlrepro.schema import parse_strict

        if config.model.size not in self.sizes:
            raise unknown_name("model size", config.model.size, self.sizes, f"model {self.name}")
        if config.pmme.features not in self.pmme_features:
            raise unknown_name("reading", config.pmme.features, self.pmme_features, f"pmme.features of {self.name}")
        values = {**self.sizes[config.model.size], **config.model.options}
        return parse_strict(self.options, values, f"model.options of {self.name}")
