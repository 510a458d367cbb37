"""Every synthetic sentence is true of its targets and of nothing else.

The checker below is written apart from the generator: it reads the words, takes places from the boxes in
instances.json and looks from scenes.jsonl, and applies plain meanings without the generator's margins.
"""

from __future__ import annotations

import json
import pickle
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle

from amlrepro.data.synth import ensure_synth
from amlrepro.sections import SynthConfig

OWNERS = {"refcoco": "unc", "refcoco+": "unc", "refcocog": "umd"}
NOUNS = {
    **dict.fromkeys(["person", "guy", "people"], "person"),
    **dict.fromkeys(["dog", "puppy", "dogs"], "dog"),
    **dict.fromkeys(["cup", "mug", "cups"], "cup"),
    **{form: name for name in ("car", "boat", "umbrella", "ball", "kite") for form in (name, name + "s")},
    "things": None,
}
LOOKS = {
    **{c: ("color", c) for c in ("red", "orange", "yellow", "green", "blue", "purple", "white", "black")},
    **{w: ("pattern", p) for w, p in (("striped", "striped"), ("stripes", "striped"), ("dotted", "dotted"))},
    "dots": ("pattern", "dotted"),
    "plain": ("pattern", "plain"),
    **{w: ("size", s) for w, s in (("small", "small"), ("little", "small"), ("big", "big"), ("large", "big"))},
}
PLACES = {
    **{w: w for w in ("left", "right", "top", "bottom", "middle")},
    "leftmost": "left",
    "rightmost": "right",
    "upper": "top",
    "lower": "bottom",
    "center": "middle",
}
RANKS = {"second": 2, "third": 3}
SILENT = {"the", "a", "an", "in", "on", "at", "from", "with", "wearing", "far", "side", "corner", "all", "both"}
NUMBERS = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6}
LINKS = ("to the left of", "left of", "to the right of", "right of", "above", "below", "under", "next to", "near")
PLACE_WORDS = set(PLACES) | set(RANKS) | {"far", "side", "corner", "above", "below", "under", "near", "next", "from"}

Item = dict[str, Any]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = SynthConfig(train_images=30, eval_images=10, seed=3)
    return ensure_synth(config, tmp_path_factory.mktemp("synth") / "data", workers=1)


def scenes(root: Path) -> dict[int, list[Item]]:
    """Objects of each image: looks from the scene file, places from the annotations' boxes."""
    found = {}
    boxes: dict[int, tuple[float, float]] = {}
    for dataset in ("refcoco", "refcocog"):
        instances = json.loads((root / dataset / "instances.json").read_text())
        sizes = {i["id"]: (i["width"], i["height"]) for i in instances["images"]}
        for a in instances["annotations"]:
            (x, y, w, h), (width, height) = a["bbox"], sizes[a["image_id"]]
            boxes[a["id"]] = ((x + w / 2) / width, (y + h / 2) / height)
    for line in (root / "scenes.jsonl").read_text().splitlines():
        scene = json.loads(line)
        found[scene["image_id"]] = [{**o, "at": boxes[o["ann_id"]]} for o in scene["objects"]]
    return found


def select(words: list[str], items: list[Item]) -> set[int]:
    """Annotation ids that a noun phrase with an optional place describes."""
    name: str | None = "missing"
    looks, places, rank, count = {}, [], 1, None
    for word in words:
        if word in NOUNS:
            name = NOUNS[word]
        elif word in LOOKS:
            key, value = LOOKS[word]
            assert key not in looks, words
            looks[key] = value
        elif word in PLACES:
            places.append(PLACES[word])
        elif word in RANKS:
            rank = RANKS[word]
        elif word in NUMBERS:
            count = NUMBERS[word]
        else:
            assert word in SILENT, f"{word!r} in {' '.join(words)!r}"
    assert name != "missing", words
    fit = [i for i in items if name in (None, i["class"]) and all(i[k] == v for k, v in looks.items())]
    assert count is None or len(fit) == count, words
    return {i["ann_id"] for i in located(fit, places, rank)}


def located(fit: list[Item], places: list[str], rank: int) -> list[Item]:
    distance = {
        "left": lambda i: i["at"][0],
        "right": lambda i: 1 - i["at"][0],
        "top": lambda i: i["at"][1],
        "bottom": lambda i: 1 - i["at"][1],
    }
    if not places or not fit:
        return fit
    if places == ["middle"]:
        return [i for i in fit if abs(i["at"][0] - 0.5) < 1 / 6 and abs(i["at"][1] - 0.5) < 1 / 4]
    if len(places) == 2:
        return [i for i in fit if all(distance[p](i) < 0.5 for p in places)]
    (place,) = places
    ordered = sorted(fit, key=distance[place])
    assert rank > 1 or distance[place](ordered[0]) < 0.5
    return [ordered[rank - 1]]


def stands(link: str, item: Item, anchor: Item) -> bool:
    dx, dy = item["at"][0] - anchor["at"][0], item["at"][1] - anchor["at"][1]
    if "left" in link:
        return bool(dx < -0.05)
    if "right" in link:
        return bool(dx > 0.05)
    if link in ("next to", "near"):
        return bool(np.hypot(dx, dy) < 0.4)
    return bool(dy < -0.05) if link == "above" else bool(dy > 0.05)


def meant(sentence: str, items: list[Item]) -> set[int]:
    """Annotation ids a whole sentence describes."""
    if " and " in sentence:
        first, second = sentence.split(" and ")
        return meant(first, items) | meant(second, items)
    plain = sentence.replace(" that is ", " ").replace(" which is ", " ")
    for link in LINKS:
        if f" {link} " in f" {plain} " and not plain.endswith(link):
            noun, anchor_words = plain.split(f" {link} ")
            (anchor_id,) = select(anchor_words.split(), items)
            (anchor,) = (i for i in items if i["ann_id"] == anchor_id)
            chosen = select(noun.split(), items) - {anchor_id}
            return {i["ann_id"] for i in items if i["ann_id"] in chosen and stands(link, i, anchor)}
    return select(plain.split(), items)


@pytest.mark.parametrize(("dataset", "owner"), OWNERS.items())
def test_single_targets(root: Path, dataset: str, owner: str) -> None:
    items = scenes(root)
    refs = pickle.loads((root / dataset / f"refs({owner}).p").read_bytes())
    wrong = [
        (s["sent"], r["ann_id"])
        for r in refs
        for s in r["sentences"]
        if meant(s["sent"], items[r["image_id"]]) != {r["ann_id"]}
    ]
    assert len(refs) >= 80
    assert not wrong


def test_generalized_targets(root: Path) -> None:
    items = scenes(root)
    refs = json.loads((root / "grefcoco" / "grefs(unc).json").read_text())
    kinds: Counter[str] = Counter()
    for ref in refs:
        targets = set() if ref["ann_id"] == [-1] else set(ref["ann_id"])
        assert ref["no_target"] == (not targets)
        for sentence in ref["sentences"]:
            assert meant(sentence["sent"], items[ref["image_id"]]) == targets, sentence["sent"]
            kinds["none" if not targets else "one" if len(targets) == 1 else "several"] += 1
    # shares printed for gRefCOCO: 80,022 and 32,202 of 278,232 sentences
    assert kinds["several"] / kinds.total() == pytest.approx(0.288, abs=0.05)
    assert kinds["none"] / kinds.total() == pytest.approx(0.116, abs=0.03)


def test_refcoco_plus_names_no_place(root: Path) -> None:
    refs = pickle.loads((root / "refcoco+" / "refs(unc).p").read_bytes())
    words = {word for r in refs for s in r["sentences"] for word in s["tokens"]}
    assert not words & PLACE_WORDS
    refs = pickle.loads((root / "refcoco" / "refs(unc).p").read_bytes())
    sentences = [set(s["tokens"]) for r in refs for s in r["sentences"]]
    assert sum(bool(s & PLACE_WORDS) for s in sentences) / len(sentences) > 0.6


def test_a_persons_color_is_that_of_the_clothes(root: Path) -> None:
    """ "guy in black", never "black guy"."""
    colors = {word for word, (kind, _) in LOOKS.items() if kind == "color"}
    refs = [r for d, o in OWNERS.items() for r in pickle.loads((root / d / f"refs({o}).p").read_bytes())]
    refs += json.loads((root / "grefcoco" / "grefs(unc).json").read_text())
    pairs = {pair for r in refs for s in r["sentences"] for pair in pairwise(s["tokens"])}
    assert not [pair for pair in pairs if pair[0] in colors and NOUNS.get(pair[1]) == "person"]
    assert ("in", "black") in pairs


def test_colors_are_in_the_picture(root: Path) -> None:
    """The colour the scene file gives a plain object is the nearest of eight to what its pixels show."""
    palette = {
        "red": (210, 30, 35),
        "orange": (245, 140, 20),
        "yellow": (245, 222, 45),
        "green": (40, 165, 60),
        "blue": (35, 80, 215),
        "purple": (140, 50, 170),
        "white": (243, 243, 243),
        "black": (25, 25, 28),
    }
    instances = json.loads((root / "refcoco" / "instances.json").read_text())
    files = {i["id"]: i["file_name"] for i in instances["images"]}
    looks = {o["ann_id"]: o for line in (root / "scenes.jsonl").open() for o in json.loads(line)["objects"]}
    checked = agreed = 0
    for a in instances["annotations"]:
        look = looks[a["id"]]
        if look["pattern"] != "plain" or look["class"] not in ("ball", "kite", "umbrella", "cup") or a["area"] < 200:
            continue
        pixels = np.asarray(Image.open(root / "images" / "train2014" / files[a["image_id"]]))
        inside = rle.decode(rle.merge(rle.frPyObjects(a["segmentation"], *pixels.shape[:2]))).astype(bool)
        shown = np.median(pixels[inside].astype(float), axis=0)
        nearest = min(palette, key=lambda name: float(np.linalg.norm(shown - palette[name])))
        checked += 1
        agreed += nearest == look["color"]
    assert checked > 20
    assert agreed / checked > 0.95
