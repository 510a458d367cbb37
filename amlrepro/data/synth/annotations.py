"""The official files: instances.json, refs(<owner>).p, grefs(unc).json, and the scene file."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from amlrepro.data.synth.partition import PicturePlan
from amlrepro.data.synth.words import CLASSES
from amlrepro.files import write_bytes, write_text

OWNERS = {"refcoco": "unc", "refcoco+": "unc", "refcocog": "umd", "grefcoco": "unc"}
ANN_IDS = 20  # annotation ids an image
Described = list[tuple[PicturePlan, dict[str, Any]]]


def write_annotations(root: Path, described: Described) -> dict[str, dict[str, dict[str, int]]]:
    """Write all annotation files under `root`; returns refs, sentences and images for each data set and split."""
    counts = {}
    instances: dict[tuple[int, ...], str] = {}  # by image ids: three of the four data sets share theirs
    for dataset, owner in OWNERS.items():
        members = [(plan, found) for plan, found in described if dataset in found]
        # Through JSON, so that no two refs share a string: equal refs then pickle to equal bytes.
        refs = json.loads(json.dumps(list(_refs(dataset, owner, members))))
        if dataset == "grefcoco":
            write_text(root / dataset / f"grefs({owner}).json", json.dumps(refs))
        else:
            write_bytes(root / dataset / f"refs({owner}).p", pickle.dumps(refs, protocol=2))
        images = tuple(plan.image_id for plan, _ in members)
        if images not in instances:
            instances[images] = json.dumps(_instances(members))
        write_text(root / dataset / "instances.json", instances[images])
        counts[dataset] = _count(refs)
    lines = (json.dumps(_scene_line(plan, found)) + "\n" for plan, found in described)
    write_text(root / "scenes.jsonl", "".join(lines))
    return counts


def annotation_id(image_id: int, index: int) -> int:
    """Id of an image's object `index`, the same in all data sets."""
    return image_id * ANN_IDS + index + 1


def _instances(members: Described) -> dict[str, Any]:
    images, annotations = [], []
    for plan, found in members:
        images.append(
            {
                "id": plan.image_id,
                "file_name": plan.file_name,
                "width": found["width"],
                "height": found["height"],
                "license": 1,
                "coco_url": "",
                "flickr_url": "",
                "date_captured": "",
            }
        )
        for index, annotation in enumerate(found["annotations"]):
            ids = {"id": annotation_id(plan.image_id, index), "image_id": plan.image_id}
            annotations.append({**ids, **annotation})
    return {
        "info": {"description": "Synthetic scenes in the format of REFER", "version": "1.0"},
        "licenses": [{"id": 1, "name": "Generated picture, no rights reserved", "url": ""}],
        "images": images,
        "annotations": annotations,
        "categories": [
            {"id": c.category_id, "name": c.category, "supercategory": c.supercategory} for c in CLASSES.values()
        ],
    }


def _refs(dataset: str, owner: str, members: Described) -> Iterator[dict[str, Any]]:
    next_sentence = 0
    ref_id = 0
    for plan, found in members:
        for targets, texts in found[dataset]:
            indices = [targets] if isinstance(targets, int) else list(targets)
            sentences = [_sentence(next_sentence + k, text) for k, text in enumerate(texts)]
            next_sentence += len(texts)
            ann_ids = [annotation_id(plan.image_id, k) for k in indices]
            categories = [found["annotations"][k]["category_id"] for k in indices]
            ref = {
                "ref_id": ref_id,
                "image_id": plan.image_id,
                "split": plan.umd if owner == "umd" else plan.unc,
                "sent_ids": [s["sent_id"] for s in sentences],
                "sentences": sentences,
            }
            if dataset == "grefcoco":
                ref |= {"ann_id": ann_ids or [-1], "category_id": categories or [-1], "no_target": not indices}
                ref["file_name"] = plan.file_name
            else:
                ref |= {"ann_id": ann_ids[0], "category_id": categories[0]}
                ref["file_name"] = plan.file_name.replace(".jpg", f"_{indices[0] + 1}.jpg")
            yield ref
            ref_id += 1


def _sentence(sent_id: int, text: str) -> dict[str, Any]:
    """`raw` is as a person might type it: now and then with a capital letter or a full stop."""
    raw = text.capitalize() if sent_id % 5 == 0 else text
    return {"sent_id": sent_id, "raw": raw + "." * (sent_id % 10 == 0), "sent": text, "tokens": text.split()}


def _scene_line(plan: PicturePlan, found: dict[str, Any]) -> dict[str, Any]:
    objects = [{"ann_id": annotation_id(plan.image_id, k), **described} for k, described in enumerate(found["objects"])]
    return {"image_id": plan.image_id, "width": found["width"], "height": found["height"], "objects": objects}


def _count(refs: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    out: dict[str, dict[str, int]] = {}
    for split in dict.fromkeys(ref["split"] for ref in refs):
        chosen = [ref for ref in refs if ref["split"] == split]
        out[split] = {
            "refs": len(chosen),
            "sentences": sum(len(ref["sentences"]) for ref in chosen),
            "images": len({ref["image_id"] for ref in chosen}),
        }
    return out
