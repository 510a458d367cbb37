"""The seven perturbations of Table 15, on uint8 RGB pictures [H, W, 3] at their own size, before any resizing (Q35).

Colours are mixed as Pillow mixes them: in single precision, cut to whole numbers, clipped to 0..255.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from amlrepro.perturb.draws import between, uniform
from amlrepro.perturb.specs import Parameters, perturbation_spec

Picture = NDArray[np.uint8]
Units = NDArray[np.float64]

WHITE, GREY, BLACK = 255, 128, 0
LUMA = (19595, 38470, 7471)  # ITU-R 601-2 weights of red, green and blue, of 65536


def perturb(picture: Picture, name: str, severity: int | None, image_id: int) -> Picture:
    """A perturbed copy of a picture [H, W, 3].

    severity: 1 to 5, None for the paper's own. image_id: with name and severity it fixes all that is random. Raises
    `UserError` for an unknown name or severity, and for a perturbation of the network's input (`blocks.py`).
    """
    spec = perturbation_spec(name)
    parameters = spec.parameters(severity)
    if spec.stage != "picture":
        raise ValueError(f"{name} acts on the network's input, not on pictures")
    units = uniform(name, image_id, severity, _DRAWS.get(name, 0))
    return _OPERATIONS[name](picture, parameters, units)


def mix(first: Picture | int, second: Picture, factor: float) -> Picture:
    """first + factor (second - first), elementwise; factors above 1 lead beyond `second`."""
    start = np.asarray(first, dtype=np.float32)
    value = start + np.float32(factor) * (second.astype(np.float32) - start)
    pixels: Picture = np.clip(value, 0, 255).astype(np.uint8)
    return pixels


def grey_levels(picture: Picture) -> Picture:
    """Luminance [H, W], rounded to whole numbers."""
    red, green, blue = (picture[..., k].astype(np.uint32) * weight for k, weight in enumerate(LUMA))
    return ((red + green + blue + 0x8000) >> 16).astype(np.uint8)


def adjust_brightness(picture: Picture, factor: float) -> Picture:
    """Every value times `factor`."""
    return mix(BLACK, picture, factor)


def adjust_contrast(picture: Picture, factor: float) -> Picture:
    """Distances from the mean grey level (rounded, halves up) times `factor`."""
    return mix(int(grey_levels(picture).mean() + 0.5), picture, factor)


def adjust_saturation(picture: Picture, factor: float) -> Picture:
    """Distances from each pixel's own grey level times `factor`."""
    return mix(grey_levels(picture)[..., None], picture, factor)


def _haze(picture: Picture, parameters: Parameters, units: Units) -> Picture:
    return mix(picture, np.full_like(picture, WHITE), parameters["opacity"])


def _brightness(picture: Picture, parameters: Parameters, units: Units) -> Picture:
    return adjust_brightness(picture, parameters["factor"])


def _contrast(picture: Picture, parameters: Parameters, units: Units) -> Picture:
    return adjust_contrast(picture, parameters["factor"])


def _occlusion_box(picture: Picture, parameters: Parameters, units: Units) -> Picture:
    """The square lies wholly inside the picture, every such place equally likely."""
    height, width = picture.shape[:2]
    side = max(1, round(parameters["side"] * min(height, width)))
    top, left = between(units[0], 0, height - side), between(units[1], 0, width - side)
    out = picture.copy()
    out[top : top + side, left : left + side] = GREY
    return out


def _patch_masking(picture: Picture, parameters: Parameters, units: Units) -> Picture:
    """Each rectangle: height and width uniform in their range, then a place wholly inside the picture."""
    height, width = picture.shape[:2]
    low, high = parameters["smallest"], parameters["largest"]
    out = picture.copy()
    for tall, broad, down, along in units.reshape(-1, 4)[: int(parameters["count"])]:
        rows = max(1, round((low + tall * (high - low)) * height))
        columns = max(1, round((low + broad * (high - low)) * width))
        top, left = between(down, 0, height - rows), between(along, 0, width - columns)
        out[top : top + rows, left : left + columns] = BLACK
    return out


def _color_jitter(picture: Picture, parameters: Parameters, units: Units) -> Picture:
    brightness, contrast, saturation = (1 + parameters["spread"] * (2 * unit - 1) for unit in units)
    return adjust_saturation(adjust_contrast(adjust_brightness(picture, brightness), contrast), saturation)


_DRAWS: Mapping[str, int] = {"occlusion_box": 2, "patch_masking": 12, "color_jitter": 3}
_OPERATIONS: Mapping[str, Callable[[Picture, Parameters, Units], Picture]] = {
    "haze": _haze,
    "highlight": _brightness,
    "lowlight": _brightness,
    "contrast": _contrast,
    "occlusion_box": _occlusion_box,
    "patch_masking": _patch_masking,
    "color_jitter": _color_jitter,
}
