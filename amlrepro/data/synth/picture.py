"""One picture from its number: scene, pixels, annotations, referents and their sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from amlrepro.data.synth.draw import Picture, render
from amlrepro.data.synth.outline import mask_polygons
from amlrepro.data.synth.partition import PicturePlan
from amlrepro.data.synth.scene import Focus, SceneObject, compose
from amlrepro.data.synth.sentences import absent, describe, several
from amlrepro.data.synth.words import CLASSES
from amlrepro.sections import SynthConfig

ATTEMPTS = 200
SEEN = 0.4  # every object shows at least this share of itself; a referent at least REFERENT_SEEN
REFERENT_SEEN = 0.55
REFERENT_AREA = 0.012  # of the picture, at least: nobody is asked for a speck in the distance
SMALLEST = 36  # pixels an object shows at least, in a picture of 112 pixels
JPEG = {"quality": 92, "subsampling": 0, "optimize": False}
# Shares of 1, 2, 3, ... refs an image and sentences a ref, after the real sets' counts.
REFS = {"unc": (0.0, 0.5, 0.5), "umd": (0.2, 0.65, 0.15)}
SENTENCES = {"place": (0.0, 0.3, 0.56, 0.14), "appearance": (0.0, 0.3, 0.56, 0.14), "relational": (0.15, 0.8, 0.05)}

MAIN_FIRST = 0.6  # lead of the crowd's class in the order of referents (1: always first)

Referents = list[tuple[int, list[str]]]


def make_picture(config: SynthConfig, plan: PicturePlan, folder: Path) -> dict[str, Any]:
    """Draw picture `plan` into `folder` and return what the annotation files say of it, as plain values.

    A function of the seed and the picture's number alone. Scenes in which too little is visible or too little can be
    said are drawn again.
    """
    for attempt in range(ATTEMPTS):
        rng = np.random.default_rng([config.seed, plan.image_id, attempt])
        picture = render(compose(rng, config.image_size, plan.kind, plan.focus), rng, config.noise)
        if not _presentable(picture, config.image_size):
            continue
        talk = _talk(picture.scene.objects, plan, rng)
        if talk is None:
            continue
        Image.fromarray(picture.pixels).save(folder / plan.file_name, format="JPEG", **JPEG)
        return {
            "width": picture.scene.width,
            "height": picture.scene.height,
            "objects": picture.scene.describe(),
            "annotations": [_annotation(o, m) for o, m in zip(picture.scene.objects, picture.masks, strict=True)],
            **talk,
        }
    raise RuntimeError(f"no presentable scene for picture {plan.image_id} in {ATTEMPTS} attempts")


def make_pictures(config: SynthConfig, plans: Iterable[PicturePlan], folder: Path) -> list[dict[str, Any]]:
    """`make_picture` for several, in order: a worker's share."""
    return [make_picture(config, plan, folder) for plan in plans]


def _presentable(picture: Picture, image_size: int) -> bool:
    least = SMALLEST * (image_size / 112) ** 2
    return all(o.visible >= SEEN for o in picture.scene.objects) and bool((picture.masks.sum((1, 2)) >= least).all())


def _annotation(item: SceneObject, mask: np.ndarray[Any, Any]) -> dict[str, Any]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    x, y = int(columns[0]), int(rows[0])
    w, h = int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y
    return {
        "category_id": CLASSES[item.name].category_id,
        "bbox": [x, y, w, h],
        "area": int(mask.sum()),
        "iscrowd": 0,
        "segmentation": mask_polygons(mask[y : y + h, x : x + w], (x, y)),
    }


def _talk(objects: tuple[SceneObject, ...], plan: PicturePlan, rng: np.random.Generator) -> dict[str, Any] | None:
    """Referents and sentences of each data set the picture belongs to; None if too little can be said."""
    out: dict[str, Any] = {}
    if plan.unc is not None:
        order = _order(objects, plan, rng)
        count = _draw(REFS["unc"], rng)
        for dataset, style in (("refcoco", "place"), ("refcoco+", "appearance")):
            out[dataset] = _refer(style, order, count, objects, rng)
            if len(out[dataset]) < 2:
                return None
        out["grefcoco"] = _generalized(out["refcoco"], objects, rng)
    if plan.umd is not None:
        order = [k for k in rng.permutation(len(objects)).tolist() if _allowed(objects[k], "any")]
        of_class = Counter(o.name for o in objects)  # RefCOCOg's referents have few rivals
        order.sort(key=lambda k: (of_class[objects[k].name] > 4, of_class[objects[k].name] == 1))
        out["refcocog"] = _refer("relational", order, _draw(REFS["umd"], rng), objects, rng)
        if not out["refcocog"]:
            return None
    return out


def _order(objects: tuple[SceneObject, ...], plan: PicturePlan, rng: np.random.Generator) -> list[int]:
    """Possible referents, mostly of the crowd's class first. testA: only persons; testB: none."""
    many = _main(objects)
    rank = {k: float(rng.random()) - MAIN_FIRST * (objects[k].name == many) for k in range(len(objects))}
    fit = [k for k, o in enumerate(objects) if _allowed(o, plan.focus)]
    return sorted(fit, key=rank.__getitem__)


def _allowed(item: SceneObject, focus: Focus) -> bool:
    """Whether an object can be referred to: enough of it is seen, and its class is asked for."""
    if item.visible < REFERENT_SEEN or item.area < REFERENT_AREA:
        return False
    return focus == "any" or (item.name == "person") == (focus == "person")


def _main(objects: tuple[SceneObject, ...]) -> str:
    return Counter(o.name for o in objects).most_common(1)[0][0]


def _refer(
    style: str, order: list[int], count: int, objects: tuple[SceneObject, ...], rng: np.random.Generator
) -> Referents:
    out: Referents = []
    for target in order:
        sentences = describe(style, target, objects, _draw(SENTENCES[style], rng), rng)
        if sentences:
            out.append((target, sentences))
        if len(out) == count:
            break
    return out


def _generalized(
    single: Referents, objects: tuple[SceneObject, ...], rng: np.random.Generator
) -> list[tuple[list[int], list[str]]]:
    """gRefCOCO's mixture: RefCOCO's sentences (60 %), sentences about several objects (29 %), about none (11 %)."""
    groups: dict[tuple[int, ...], list[str]] = {(target,): list(sentences) for target, sentences in single}
    allowed = {k for k, o in enumerate(objects) if o.visible >= SEEN}
    for _ in range(int(rng.integers(2, 6))):
        made = several(objects, allowed, rng)
        if made is not None and made[0] not in groups.setdefault(made[1], []):
            groups[made[1]].append(made[0])
    groups[()] = list(dict.fromkeys(absent(objects, rng) for _ in range(1 + int(rng.random() < 0.4))))
    return [(list(targets), sentences) for targets, sentences in groups.items() if sentences]


def _draw(shares: tuple[float, ...], rng: np.random.Generator) -> int:
    """1, 2, 3, ... with the given shares."""
    return 1 + int(rng.choice(len(shares), p=shares))
