"""Ground-truth masks at the picture's own size, or drawn at the network's input size. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
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
    """Mask [h, w] of a ref at its picture's own size: the union over its objects, empty if it names none."""
    info = data.image_of(ref)
    out = np.zeros((info.height, info.width), dtype=bool)
    for annotation in data.annotations_of(ref):
        out |= annotation_mask(annotation, info.height, info.width, rule)
    return out


def ref_mask_drawn(data: ReferData, ref: Ref, size: int) -> BoolArray:
    """Mask [size, size] of a ref as ReLA makes it: polygons are scaled to the input and drawn there (official code).

    Polygons of fewer than three points are left out, and so are crowds beside other objects. A run-length code is
    resized by nearest neighbour. Raises `UserError` when an object has no segmentation.
    """
    info = data.image_of(ref)
    out = np.zeros((size, size), dtype=bool)
    objects = data.annotations_of(ref)
    for annotation in [a for a in objects if not a.iscrowd] or objects:
        if isinstance(annotation.segmentation, tuple):
            polygons = [_scaled(p, size / info.width, size / info.height) for p in annotation.segmentation]
            polygons = [p for p in polygons if len(p) >= 6]
            if polygons:
                codes: list[Any] = coco_mask.frPyObjects(polygons, size, size)
                out |= np.asarray(coco_mask.decode(coco_mask.merge(codes))).astype(bool)
        else:
            out |= resize_mask(annotation_mask(annotation, info.height, info.width), size)
    return out


def _scaled(polygon: Sequence[float], x: float, y: float) -> list[float]:
    return [value * (y if k % 2 else x) for k, value in enumerate(polygon)]


def resize_mask(mask: BoolArray, size: int) -> BoolArray:
    """Stretch a mask [h, w] to [size, size] by nearest neighbour (PIL's rule: pixel centres)."""
    picture = Image.fromarray(mask.astype(np.uint8))
    return np.asarray(picture.resize((size, size), Image.Resampling.NEAREST)).astype(bool)


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
