"""Where PMME takes its features (`pmme.stage`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from amlrepro.aml.afm import Size
from amlrepro.aml.registry import Registry
from amlrepro.models.contract import Encoded, Output, RISModel


@dataclass
class Features:
    """vision [B, M, D_i], row by row on `grid` (h, w) with M = h * w; text [B, L, D_t]; text_mask [B, L]."""

    vision: Tensor
    text: Tensor
    text_mask: Tensor
    grid: Size


# A stage may use `output` where the caller has it already, and calls `model.segment(encoded)` where it needs it.
Stage = Callable[[RISModel, Encoded, Output | None], Features]
STAGES: Registry[Stage] = Registry("pmme.stage")


@STAGES.register("early")
def early(model: RISModel, encoded: Encoded, output: Output | None = None) -> Features:
    """Encoder features before fusion: the deepest vision map and the text features."""
    vision, text = model.pmme_features(encoded)
    height, width = encoded.visual.levels[-1].shape[-2:]
    return Features(vision, text, encoded.textual.mask, (int(height), int(width)))
