"""Where PMME takes its features (`pmme.stage`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from amlrepro.aml.afm import Size, to_blocks
from amlrepro.aml.registry import Registry
from amlrepro.errors import UserError
from amlrepro.models.contract import Encoded, Output, RISModel
from amlrepro.sections import PMMEConfig


@dataclass
class Features:
    """vision [B, M, D_i], row by row on `grid` (h, w) with M = h * w; text [B, L, D_t]; text_mask [B, L].

    prior [B, M]: the predicted foreground of each position, where stage one predicts.
    """

    vision: Tensor
    text: Tensor
    text_mask: Tensor
    grid: Size
    prior: Tensor | None = None


# A stage may use `output` where the caller has it already, and calls `model.segment(encoded)` where it needs it.
Stage = Callable[[RISModel, Encoded, Output | None, PMMEConfig], Features]
STAGES: Registry[Stage] = Registry("pmme.stage")


def encode_whole(model: RISModel, stage: str, image: Tensor, input_ids: Tensor, attention_mask: Tensor) -> Encoded:
    """What `stage` needs of whole images [B, 3, H, W] and sentences [B, L] in AML's first pass, and no more."""
    encode = model.encode_early if stage == "early" else model.encode_stage_one
    return encode(image, input_ids, attention_mask)


@STAGES.register("early")
def early(model: RISModel, encoded: Encoded, output: Output | None, config: PMMEConfig) -> Features:
    """Encoder features before fusion: the deepest vision map and the text features."""
    vision, text = model.pmme_features(encoded)
    height, width = encoded.visual.levels[-1].shape[-2:]
    return Features(vision, text, encoded.textual.mask, (int(height), int(width)))


@STAGES.register("late")
def late(model: RISModel, encoded: Encoded, output: Output | None, config: PMMEConfig) -> Features:
    """Features after fusion, at the coarsest scale (Q17). Text is fused too, or raw where `config.late` says so; models
    whose fusion leaves text as it is have one and the same. Raises `UserError` for a model without fused features.
    """
    output = output or model.segment(encoded)
    vision, text, grid = output.fused_vision, output.fused_text, output.fused_grid
    if config.late == "raw":
        text = model.pmme_features(encoded)[1]
    if vision is None or text is None or grid is None:
        raise UserError(
            "this model gives no features after fusion",
            where="pmme.stage=late",
            expected="a model whose `segment` fills fused_vision, fused_text and fused_grid",
        )
    return Features(vision, text, encoded.textual.mask, grid)


@STAGES.register("pred")
def pred(model: RISModel, encoded: Encoded, output: Output | None, config: PMMEConfig) -> Features:
    """Early features and the foreground that stage one predicts, averaged over the area of each position (Q18)."""
    output = output or model.segment(encoded)
    features = early(model, encoded, output, config)
    features.prior = to_blocks(model.foreground(output), features.grid).flatten(1)
    return features
