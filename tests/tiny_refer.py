"""Coloured rectangles in the official REFER format, and the configuration of a small CARIS that trains on them."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from amlrepro.config import RunConfig, parse_config
from amlrepro.models.registry import get_spec
from amlrepro.schema import nest

COLOURS = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (50, 70, 230), "yellow": (230, 220, 60)}
SIZES = ((60, 80), (72, 56))  # height, width of the pictures in turn


def make_refer(root: Path, train: int = 12, val: int = 3) -> Path:
    """Write refcoco/ (unc; one picture with two refs of two sentences each, for every counted image) and train2014/."""
    rng = np.random.Generator(np.random.PCG64(7))
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    refs: list[dict[str, Any]] = []
    folder = root / "train2014"
    folder.mkdir(parents=True)
    for number in range(train + val):
        image_id, (height, width) = number + 1, SIZES[number % 2]
        pixels = rng.integers(90, 130, (height, width, 3)).astype(np.uint8)
        name = f"COCO_train2014_{image_id:012d}.jpg"
        colours = rng.permutation(list(COLOURS))[:2]
        for side, colour in zip(("left", "right"), colours, strict=True):
            x = int(rng.integers(2, width // 2 - 22)) + (width // 2 if side == "right" else 0)
            y, w, h = int(rng.integers(2, height - 30)), int(rng.integers(12, 20)), int(rng.integers(14, 26))
            pixels[y : y + h, x : x + w] = COLOURS[str(colour)]
            identity = len(annotations) + 1
            annotations.append(
                {
                    "id": identity,
                    "image_id": image_id,
                    "category_id": 1,
                    "bbox": [x, y, w, h],
                    "area": w * h,
                    "iscrowd": 0,
                    "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
                }
            )
            refs.append(_ref(identity, image_id, [f"{colour} box", f"the box on the {side}"], number < train))
        Image.fromarray(pixels).save(folder / name, quality=95)
        images.append({"id": image_id, "file_name": name, "height": height, "width": width})
    (root / "refcoco").mkdir()
    tables = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "box"}]}
    (root / "refcoco" / "instances.json").write_text(json.dumps(tables))
    (root / "refcoco" / "refs(unc).p").write_bytes(pickle.dumps(refs, protocol=2))
    return root


def make_grefs(root: Path) -> Path:
    """Add grefcoco/ to what `make_refer` wrote: each box, both boxes of a picture together, and what is not there."""
    source = root / "refcoco"
    single = pickle.loads((source / "refs(unc).p").read_bytes())
    refs = [{**ref, "ann_id": [ref["ann_id"]], "category_id": [1]} for ref in single]
    for left, right in zip(single[::2], single[1::2], strict=True):
        for ann_ids, text in (([left["ann_id"], right["ann_id"]], "both boxes"), ([-1], "the giraffe")):
            ref = _ref(len(refs) + 1, left["image_id"], [text], left["split"] == "train")
            refs.append({**ref, "ann_id": ann_ids, "category_id": [1] if ann_ids != [-1] else [-1]})
    (root / "grefcoco").mkdir()
    (root / "grefcoco" / "grefs(unc).json").write_text(json.dumps(refs))
    (root / "grefcoco" / "instances.json").write_text((source / "instances.json").read_text())
    return root


def _ref(identity: int, image_id: int, texts: list[str], train: bool) -> dict[str, Any]:
    sentences = [
        {"sent_id": 10 * identity + i, "raw": text, "sent": text, "tokens": text.split()}
        for i, text in enumerate(texts)
    ]
    return {
        "ref_id": identity,
        "ann_id": identity,
        "image_id": image_id,
        "category_id": 1,
        "split": "train" if train else "val",
        "sent_ids": [s["sent_id"] for s in sentences],
        "sentences": sentences,
        "file_name": "",
    }


def tiny_config(root: Path, **changes: Any) -> RunConfig:
    """CARIS of size smoke on `root`, CPU, one thread, deterministic, 3 epochs of 6 updates of 4 refs."""
    values = {
        "model.size": "smoke",
        "init.vision": "scratch",
        "init.text": "scratch",
        "data.vocabulary": "words",
        "data.image_size": 112,
        "data.max_tokens": 8,
        "train.horizon": 3,
        "train.batch": 4,
        "train.lr": 1e-3,
        "train.encoder_lr": 1.0,
        "train.warmup": 2,
        "pmme.dim": 32,
        "afm.block": 16,
        "exec.device": "cpu",
        "exec.threads": 1,
        "exec.deterministic": True,
        "exec.data_root": str(root),
        "exec.log_every": 4,
        "exec.validate_at": (1, 3),
        **changes,
    }
    return parse_config(nest(values))


def method_config(root: Path, name: str, **changes: Any) -> RunConfig:
    """`tiny_config` for another model, fed and trained by its own protocol, but for the rate and the length."""
    spec = get_spec(name)
    protocol = spec.protocol
    own = {f"train.{key}": value for key, value in spec.train.items()}
    values = {
        "model.name": name,
        "data.train": "grefcoco" if protocol.multi_target else "refcoco",
        "data.text": protocol.text,
        "data.sampling": protocol.sampling,
        **own,
        "train.horizon": 2,
        "train.batch": 4,
        "train.epoch_refs": 8,
        "train.lr": 1e-3,
        "exec.validate_at": (1, 2),
        **changes,
    }
    return tiny_config(root, **values)


AML = {"afm.tau": 0.6}
