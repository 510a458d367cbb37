"""Ground-truth masks at the picture's own size. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from amlrepro.data.refer import Annotation, Ref, ReferData
from amlrepro.errors import UserError

Rule = Literal["union", "equal_to_one"]
BoolArray = NDArray[np.bool_]


def annotation_mask(annotation: Annotation, height: int, width: int, rule: Rule = "union") -> BoolArray:
    """Mask [height, width] of one object from its polygons or run-length code (compressed or not).

    rule `union` is CARIS's: a pixel in any polygon is foreground. `equal_to_one` is LAVT's and MagNet's, where a pixel
    in two polygons of the object falls out; use it only to compare with their numbers.

    Raises `UserError` when the annotation has no segmentation or one that does not fit the picture.
    """
    codes = _run_lengths(annotation, height, width)
    if rule == "union" or len(codes) == 1:
        code = codes[0] if len(codes) == 1 else coco_mask.merge(codes)
        return np.asarray(coco_mask.decode(code)).astype(bool)
    layers: NDArray[np.uint8] = coco_mask.decode(codes)
    return np.asarray(layers.sum(axis=2, dtype=np.int64) == 1)


def ref_mask(data: ReferData, ref: Ref, rule: Rule = "union") -> BoolArray:
    """Mask [h, w] of a ref at its picture's own size: the union over its objects."""
    info = data.image_of(ref)
    out = np.zeros((info.height, info.width), dtype=bool)
    for annotation in data.annotations_of(ref):
        out |= annotation_mask(annotation, info.height, info.width, rule)
    return out


def mask_area(annotation: Annotation, height: int, width: int) -> int:
    """Number of pixels of the union mask, counted on the run lengths (no decoding); raises as `annotation_mask`."""
    return int(coco_mask.area(coco_mask.merge(_run_lengths(annotation, height, width))))


def _run_lengths(annotation: Annotation, height: int, width: int) -> list[Any]:
    segmentation = annotation.segmentation
    if segmentation is None:
        raise UserError(f"annotation {annotation.ann_id} has no segmentation (only a box)")
    if isinstance(segmentation, Mapping):
        if list(segmentation.get("size", ())) != [height, width]:
            raise _broken(annotation, f"a run-length code of size {segmentation.get('size')} for {height} x {width}")
        if isinstance(segmentation.get("counts"), list):
            return [coco_mask.frPyObjects(dict(segmentation), height, width)]
        return [dict(segmentation)]
    for polygon in segmentation:
        if len(polygon) < 6 or len(polygon) % 2:
            raise _broken(annotation, f"a polygon of {len(polygon)} numbers")
    codes: list[Any] = coco_mask.frPyObjects([list(polygon) for polygon in segmentation], height, width)
    return codes


def _broken(annotation: Annotation, found: str) -> UserError:
    return UserError(f"annotation {annotation.ann_id} of image {annotation.image_id} is broken", found=found)
