"""The perturbations by name, with their strengths. Imports nothing heavy, so that plans and reports may read it.

Each of the seven of Table 15 has five levels of growing strength; level 3 is the paper's own strength. Factors and the
side of the box are the paper's; the rectangles' size range and what lies beyond level 3 are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from amlrepro.errors import UserError, unknown_name

Stage = Literal["picture", "input"]
Parameters = Mapping[str, float]
PAPER_LEVEL = 3
LEVELS = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class PerturbationSpec:
    """One perturbation.

    stage: on the RGB picture before resizing, or on the network's input after normalisation. severities: parameters by
    severity, None for the paper's. random: it draws places, sizes or factors. definition: in one sentence, with the
    paper's parameters.
    """

    name: str
    title: str
    stage: Stage
    severities: Mapping[int | None, Parameters]
    random: bool
    definition: str

    def parameters(self, severity: int | None = None) -> Parameters:
        """Parameters of a severity, None for the paper's; raises `UserError` where there is no such severity."""
        if severity in self.severities:
            return self.severities[severity]
        levels = ", ".join(str(level) for level in self.severities if level is not None)
        raise UserError(
            f"{self.title} has no severity {severity}",
            where=f"perturbation {self.name}",
            expected=f"one of {levels}, or none for the paper's own" if levels else "none: it has one strength only",
        )


def _levels(name: str, *values: float) -> dict[int | None, Parameters]:
    """One parameter at the five levels and, under None, at the paper's."""
    levels: dict[int | None, Parameters] = {level: {name: v} for level, v in zip(LEVELS, values, strict=True)}
    return {None: levels[PAPER_LEVEL], **levels}


def _rectangles(*sides: tuple[float, float]) -> dict[int | None, Parameters]:
    """Three rectangles whose heights and widths are between these shares of the picture's."""
    levels: dict[int | None, Parameters] = {
        level: {"count": 3, "smallest": low, "largest": high} for level, (low, high) in zip(LEVELS, sides, strict=True)
    }
    return {None: levels[PAPER_LEVEL], **levels}


_HAZE = "a white layer over the picture at 50 % opacity"
_HIGHLIGHT = "brightness x 1.5, clipped at 255"
_LOWLIGHT = "brightness x 0.45"
_CONTRAST = "contrast x 1.8 about the picture's mean grey level, clipped (the pivot is our reading)"
_BOX = "one grey (128) square at a random place, its side 20 % of the picture's shorter side (the grey is our reading)"
_PATCHES = (
    "three black rectangles at random places, heights and widths 10 to 30 % of the picture's; they may overlap "
    "(sizes and overlap are our reading)"
)
_JITTER = "brightness, contrast and saturation, in this order (our reading), each by a factor uniform in [0.6, 1.4]"
_OCCLUSION = "of the blocks of the network's input, at random, set to zero after normalisation"

PERTURBATIONS: Mapping[str, PerturbationSpec] = {
    spec.name: spec
    for spec in (
        PerturbationSpec("haze", "Haze", "picture", _levels("opacity", 0.2, 0.35, 0.5, 0.65, 0.8), False, _HAZE),
        PerturbationSpec(
            "highlight", "Highlight", "picture", _levels("factor", 1.2, 1.35, 1.5, 1.75, 2.0), False, _HIGHLIGHT
        ),
        PerturbationSpec(
            "lowlight", "Lowlight", "picture", _levels("factor", 0.75, 0.6, 0.45, 0.3, 0.15), False, _LOWLIGHT
        ),
        PerturbationSpec(
            "contrast", "Contrast", "picture", _levels("factor", 1.2, 1.5, 1.8, 2.2, 2.6), False, _CONTRAST
        ),
        PerturbationSpec(
            "occlusion_box", "Occlusion box", "picture", _levels("side", 0.1, 0.15, 0.2, 0.3, 0.4), True, _BOX
        ),
        PerturbationSpec(
            "patch_masking",
            "Patch masking",
            "picture",
            _rectangles((0.05, 0.15), (0.075, 0.225), (0.1, 0.3), (0.15, 0.4), (0.2, 0.5)),
            True,
            _PATCHES,
        ),
        PerturbationSpec(
            "color_jitter", "Color jitter", "picture", _levels("spread", 0.2, 0.3, 0.4, 0.55, 0.7), True, _JITTER
        ),
        PerturbationSpec("occlude_30", "30 % occlusion", "input", {None: {"share": 0.3}}, True, f"30 % {_OCCLUSION}"),
        PerturbationSpec("occlude_50", "50 % occlusion", "input", {None: {"share": 0.5}}, True, f"50 % {_OCCLUSION}"),
    )
}

# Table 15's, in the order of Figure 7.
SEVEN: tuple[str, ...] = (
    "haze",
    "highlight",
    "lowlight",
    "contrast",
    "occlusion_box",
    "patch_masking",
    "color_jitter",
)


def perturbation_spec(name: str) -> PerturbationSpec:
    """The perturbation called `name`; raises `UserError` with the nearest names."""
    if name not in PERTURBATIONS:
        raise unknown_name("perturbation", name, PERTURBATIONS)
    return PERTURBATIONS[name]


def check_perturbation(name: str | None, severity: int | None) -> None:
    """Raise `UserError` unless there is this perturbation at this severity (both None: none)."""
    if name is not None:
        perturbation_spec(name).parameters(severity)
    elif severity is not None:
        raise UserError("a severity needs a perturbation", found=f"severity {severity}", expected=", ".join(SEVEN))
