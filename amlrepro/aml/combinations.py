"""Which settings of the method exclude each other. Torch-free: planning asks before anything is built."""

from __future__ import annotations

from typing import NamedTuple

from amlrepro.config import RunConfig
from amlrepro.models.spec import Protocol


class Conflict(NamedTuple):
    """key: the setting that cannot stay; reason: why, as half a sentence; expected: what it may be."""

    key: str
    reason: str
    expected: str


def find_conflict(config: RunConfig, protocol: Protocol, title: str) -> Conflict | None:
    """Why these settings cannot train a model of this protocol, called `title`; None when they can.

    Settings without effect (`RunConfig.inactive`) never conflict.
    """
    rules = (
        [_of_step, _of_block]
        if "pmme" in config.inactive
        else [_of_step, _of_level, _of_projection, _of_stage, _of_block]
    )
    return next((conflict for rule in rules if (conflict := rule(config, protocol, title))), None)


def _of_step(config: RunConfig, protocol: Protocol, title: str) -> Conflict | None:
    if config.strategy == "plain" or config.train.step != "joint":
        return None
    if config.strategy != "aml":
        return Conflict("train.step", f"the joint step is AML's, not that of {config.strategy} masks", "forward_only")
    if not protocol.vision_text_free:
        reason = f"the joint step needs vision that is free of text, and {title}'s reads the sentence"
        return Conflict("train.step", reason, "forward_only")
    if config.pmme.mode == "eval" and config.afm.level == "image":
        return Conflict("pmme.mode", "the joint step takes S from its own training pass", "train or protocol")
    return None


def _of_level(config: RunConfig, protocol: Protocol, title: str) -> Conflict | None:
    if config.afm.level == "image":
        return None
    if config.strategy == "random":
        return Conflict("afm.level", "random masks blank the picture, so they match masks of the picture", "image")
    if not protocol.hides_positions:
        reason = f"feature-level masks hide positions of the deepest map from attention, and {title} has no such one"
        return Conflict("afm.level", reason, "image")
    if config.train.step == "joint":
        return Conflict("train.step", "the joint step masks the picture, feature-level masks do not", "forward_only")
    if config.pmme.stage != "early":
        reason = "feature-level masks act in the decoder, so S must come from before it"
        return Conflict("pmme.stage", reason, "early")
    if config.pmme.projection == "learnable":
        reason = "a projection learns through blanked pictures, and feature-level masks blank none"
        return Conflict("pmme.projection", reason, "gaussian or text_linear")
    return None


def _of_projection(config: RunConfig, protocol: Protocol, title: str) -> Conflict | None:
    pmme = config.pmme
    if pmme.projection != "learnable":
        return None
    if config.strategy == "random":
        return Conflict("pmme.projection", "random masks leave a projection nothing to learn from", "gaussian")
    if config.train.step == "joint":
        return Conflict(
            "train.step", "the joint step gives S no gradient, so a projection cannot learn", "forward_only"
        )
    if config.afm.dropout == "released":
        reason = "by the released rule S does not decide over its own block, so a projection cannot learn"
        return Conflict("afm.dropout", reason, "block or pixel")
    if pmme.stage == "pred" and pmme.pred == "probability":
        return Conflict("pmme.projection", "S is the predicted probability itself, without a projection", "gaussian")
    return None


def _of_stage(config: RunConfig, protocol: Protocol, title: str) -> Conflict | None:
    if config.pmme.stage == "early" or config.pmme.features == "default":
        return None
    reason = f"stage {config.pmme.stage} runs the whole model, whose own features are the default ones"
    return Conflict("pmme.features", reason, "default")


def _of_block(config: RunConfig, protocol: Protocol, title: str) -> Conflict | None:
    side, block = config.data.image_size, config.afm.block
    if not {"afm", "afm.block"}.isdisjoint(config.inactive) or side % block == 0:
        return None
    fitting = [size for size in range(1, side + 1) if side % size == 0]
    near = sorted(sorted(fitting, key=lambda size: abs(size - block))[:2])
    fill = f"do not fill an input of {side} x {side}, those of {' or '.join(map(str, near))} do (Q13)"
    return Conflict("afm.block", f"blocks of {block} x {block} pixels {fill}", f"a side that divides {side}")
