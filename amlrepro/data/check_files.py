"""The slow half of `data check`: every picture is decoded and every mask is measured. Torch-free."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from amlrepro.data.images import find_image_folder, image_path, open_image
from amlrepro.data.masks import mask_area
from amlrepro.data.prefetch import ahead
from amlrepro.data.refer import Annotation, ImageInfo, Ref, ReferData
from amlrepro.errors import UserError

if TYPE_CHECKING:
    from amlrepro.data.check import CheckReport, Progress

TOLERANCE = 1.0  # pixels by which a polygon or box may pass the picture's edge: annotators' rounding


def check_images(
    root: Path, image_root: Path | None, loaded: list[ReferData], report: CheckReport, progress: Progress | None
) -> None:
    """Decode every picture that a ref uses; report missing, unreadable and wrongly sized ones."""
    try:
        folder = find_image_folder(root, image_root)
    except UserError as error:
        report.add("problem", "images", "images", error.what, [str(error.expected)])
        return
    report.image_folder = str(folder)
    infos = {
        data.images[ref.image_id].file_name: data.images[ref.image_id]
        for data in loaded
        for ref in data.refs
        if ref.image_id in data.images
    }
    present = {p.name for p in folder.iterdir()}
    missing = sorted(name for name in infos if name not in present)
    there = [info for name, info in infos.items() if name in present]
    threads = min(8, os.cpu_count() or 1)
    results = ahead(lambda info: _picture_fault(folder, info), there, threads if len(there) > 1 else 0)
    unreadable: list[str] = []
    resized: list[str] = []
    for done, (info, fault) in enumerate(zip(there, results, strict=True), 1):
        if fault is not None:
            (unreadable if fault[0] == "unreadable" else resized).append(f"{info.file_name}: {fault[1]}")
        if progress:
            progress("images", done, len(there))
    for kind, items, text in (
        ("missing images", missing, f"images missing of {len(infos):,}"),
        ("unreadable images", unreadable, "images cannot be decoded"),
        ("image sizes", resized, "images differ in size from the image table"),
    ):
        if items:
            report.add("problem", kind, "images", f"{len(items):,} {text}", items)


def _picture_fault(folder: Path, info: ImageInfo) -> tuple[str, str] | None:
    try:
        picture: Image.Image = open_image(image_path(folder, info))
    except UserError as error:
        return "unreadable", str(error.found)
    if picture.size != (info.width, info.height):
        return "size", f"{picture.width} x {picture.height}, expected {info.width} x {info.height}"
    return None


def check_masks(data: ReferData, report: CheckReport, progress: Progress | None) -> None:
    """Measure every referred object's mask; report broken and empty ones, and those outside their picture."""
    from amlrepro.data.check import label

    objects = _objects(data)
    boxes_only = [a.ann_id for a, _, _ in objects if a.segmentation is None]
    broken, empty, outside = [], [], []
    for done, (annotation, info, ref) in enumerate(objects, 1):
        name = f"annotation {annotation.ann_id} (ref {ref.ref_id}, {info.file_name})"
        if annotation.segmentation is not None:
            try:
                if mask_area(annotation, info.height, info.width) == 0:
                    empty.append(name)
            except UserError as error:
                broken.append(f"{name}: {error.found or error.what}")
        if _is_outside(annotation, info):
            outside.append(name)
        if progress:
            progress(f"masks of {label(data)}", done, len(objects))
    for kind, items, text in (
        ("masks", boxes_only, "referred objects have no segmentation, only a box"),
        ("broken masks", broken, "masks cannot be made"),
        ("empty masks", empty, "masks are empty"),
        ("masks outside", outside, "masks reach outside their image"),
    ):
        if items:
            report.add("problem", kind, label(data), f"{len(items):,} {text}", items)


def _objects(data: ReferData) -> list[tuple[Annotation, ImageInfo, Ref]]:
    out: dict[int, tuple[Annotation, ImageInfo, Ref]] = {}
    for ref in data.refs:
        info = data.images.get(ref.image_id)
        for ann_id in ref.ann_ids:
            annotation = data.annotations.get(ann_id)
            if annotation is not None and info is not None:
                out.setdefault(ann_id, (annotation, info, ref))
    return list(out.values())


def _is_outside(annotation: Annotation, info: ImageInfo) -> bool:
    xs: list[float]
    ys: list[float]
    if isinstance(annotation.segmentation, tuple):
        xs = [x for polygon in annotation.segmentation for x in polygon[::2]]
        ys = [y for polygon in annotation.segmentation for y in polygon[1::2]]
    else:
        x, y, w, h = annotation.bbox
        xs, ys = [x, x + w], [y, y + h]
    if not xs or not ys:
        return False
    low = min(xs) < -TOLERANCE or min(ys) < -TOLERANCE
    return low or max(xs) > info.width + TOLERANCE or max(ys) > info.height + TOLERANCE
