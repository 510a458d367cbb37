"""Builds REFER folders by hand, small enough to work every number out on paper."""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 40, 30


def rectangle(x0: float, y0: float, x1: float, y1: float) -> list[float]:
    """Polygon of an axis-parallel rectangle: with whole numbers it covers (x1 - x0) * (y1 - y0) pixels."""
    return [x0, y0, x1, y0, x1, y1, x0, y1]


def ref_record(
    ref_id: int, ann_id: int | list[int], image_id: int, split: str, texts: Sequence[str], **more: Any
) -> dict[str, Any]:
    """A record of refs(...).p; sentence ids are 100 * ref_id and up; raw text is capitalised."""
    sentences = [
        {"sent_id": 100 * ref_id + i, "sent": text, "raw": text.capitalize() + "!", "tokens": text.split()}
        for i, text in enumerate(texts)
    ]
    ids = [s["sent_id"] for s in sentences]
    record = {"ref_id": ref_id, "ann_id": ann_id, "image_id": image_id, "category_id": 1, "split": split}
    return {**record, "sent_ids": ids, "sentences": sentences, "file_name": f"wrong_{ann_id}.jpg", **more}


def annotation(ann_id: int, image_id: int, segmentation: Any, **more: Any) -> dict[str, Any]:
    """A row of instances.json's annotations."""
    row = {"id": ann_id, "image_id": image_id, "category_id": 1, "bbox": [0, 0, 5, 5], "area": 25.0, "iscrowd": 0}
    return {**row, "segmentation": segmentation, **more}


def picture_name(image_id: int) -> str:
    return f"COCO_train2014_{image_id:012d}.jpg"


def write_grefs(root: Path, refs: list[dict[str, Any]], annotations: list[dict[str, Any]]) -> Path:
    """As `write_refer`, in gRefCOCO's form: `ann_id` a list, refs in a JSON file."""
    write_refer(root, refs, annotations, "grefcoco")
    (root / "grefcoco" / "refs(unc).p").unlink()
    (root / "grefcoco" / "grefs(unc).json").write_text(json.dumps(refs))
    return root


def write_refer(
    root: Path,
    refs: list[dict[str, Any]],
    annotations: list[dict[str, Any]],
    folder: str = "refcoco",
    owner: str = "unc",
    layout: str = "images/train2014",
) -> Path:
    """Write refs, instances and one noise picture an image id under `root`; the pickle has Python 2's protocol."""
    target = root / folder
    target.mkdir(parents=True, exist_ok=True)
    (target / f"refs({owner}).p").write_bytes(pickle.dumps(refs, protocol=2))
    ids = sorted({r["image_id"] for r in refs} | {a["image_id"] for a in annotations})
    images = [{"id": i, "file_name": picture_name(i), "height": HEIGHT, "width": WIDTH} for i in ids]
    categories = [{"id": 1, "name": "person", "supercategory": "person"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (target / "instances.json").write_text(json.dumps(content))
    (root / layout).mkdir(parents=True, exist_ok=True)
    for i in ids:
        pixels = np.random.default_rng(i).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / layout / picture_name(i), quality=95)
    return root
