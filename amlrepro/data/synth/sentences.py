"""Sentences of the four styles. Each is clearly true of its targets and of nothing else in the scene."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from amlrepro.data.synth.meaning import (
    CORNERS,
    RELATIONS,
    SIDES,
    Noun,
    Objects,
    Phrase,
    Place,
    depth,
    describes,
    matches,
    related,
)
from amlrepro.data.synth.scene import SceneObject
from amlrepro.data.synth.wording import noun_words, phrase_words, pick, with_article
from amlrepro.data.synth.words import CLASSES, COLORS, NUMBERS, PATTERNS

TRIES = 24  # draws a sentence; an object of which nothing clear can be said is not referred to
Generator = np.random.Generator


@dataclass(frozen=True)
class Style:
    """How a data set's people write. draw: what to say (None: nothing this time); article: share of sentences that
    begin with one, and share of "the" among these; tails: share of "with stripes" and "in red" for adjectives."""

    draw: Callable[[int, Objects, Generator], Phrase | None]
    article: tuple[float, float]
    tails: float


def describe(style: str, target: int, objects: Objects, count: int, rng: Generator, article: bool = True) -> list[str]:
    """Up to `count` different sentences about object `target` in a style: `place`, `appearance` or `relational`."""
    chosen = STYLES[style]
    out: list[str] = []
    for _ in range(TRIES * count):
        phrase = chosen.draw(target, objects, rng)
        if phrase is None or not describes(phrase, target, objects):
            continue
        text = phrase_words(phrase, rng, chosen.tails)
        if article and rng.random() < chosen.article[0]:
            text = with_article(text, rng, chosen.article[1])
        if text not in out:
            out.append(text)
        if len(out) == count:
            break
    return out


def _noun(item: SceneObject, rng: Generator, color: float, pattern: float, size: float) -> Noun:
    """The object's class with each attribute named with the given probability."""
    return Noun(
        item.name,
        item.color if rng.random() < color else None,
        item.pattern if rng.random() < (pattern if item.pattern != "plain" else pattern / 4) else None,
        item.size if rng.random() < size else None,
    )


def _place_phrase(target: int, objects: Objects, rng: Generator) -> Phrase | None:
    item = objects[target]
    if rng.random() < 0.2:
        return Phrase(_noun(item, rng, 0.75, 0.35, 0.3))
    noun = _noun(item, rng, 0.3, 0.12, 0.16)
    kind = pick(rng, ("side", 0.62), ("corner", 0.14), ("middle", 0.12), ("rank", 0.12))
    if kind == "side":
        near = [side for side in SIDES if depth(side, item) < 0.5]
        return Phrase(noun, Place(str(rng.choice(near)))) if near else None
    if kind == "corner":
        near = [c for c in CORNERS if all(depth(side, item) < 0.5 for side in c.split())]
        return Phrase(noun, Place(near[0])) if near else None
    if kind == "middle":
        return Phrase(noun, Place("middle"))
    return Phrase(Noun(item.name), Place(str(rng.choice(["left", "right"])), int(rng.choice([2, 2, 3]))))


def _appearance_phrase(target: int, objects: Objects, rng: Generator) -> Phrase | None:
    return Phrase(_noun(objects[target], rng, 0.85, 0.5, 0.4))


def _relational_phrase(target: int, objects: Objects, rng: Generator) -> Phrase | None:
    noun = _noun(objects[target], rng, 0.7, 0.28, 0.22)
    if rng.random() < 0.12:
        return Phrase(noun)
    other = objects[int(rng.choice([k for k in range(len(objects)) if k != target]))]
    true = [relation for relation in RELATIONS if related(relation, objects[target], other)]
    return Phrase(noun, None, str(rng.choice(true)), _noun(other, rng, 0.55, 0.2, 0.12)) if true else None


STYLES: dict[str, Style] = {
    "place": Style(_place_phrase, (0.12, 1.0), 0.2),
    "appearance": Style(_appearance_phrase, (0.28, 0.75), 0.5),
    "relational": Style(_relational_phrase, (1.0, 0.7), 0.45),
}


def several(objects: Objects, allowed: set[int], rng: Generator) -> tuple[str, tuple[int, ...]] | None:
    """A sentence about two or more objects (all of them in `allowed`) and their indices; None if none was found."""
    for _ in range(TRIES):
        made = _pair(objects, rng) if rng.random() < 0.5 else _all_of(objects, rng)
        if made is not None and set(made[1]) <= allowed:
            return made
    return None


def _pair(objects: Objects, rng: Generator) -> tuple[str, tuple[int, ...]] | None:
    """ "the left dog and the blue cup" """
    first, second = (int(k) for k in rng.choice(len(objects), size=2, replace=False))
    texts = []
    for target in (first, second):
        style = pick(rng, ("place", 0.5), ("appearance", 0.5))
        made = describe(style, target, objects, 1, rng, article=False)
        if not made:
            return None
        texts.append(made[0])
    the = pick(rng, ("", 0.4), ("the ", 0.6))
    return f"{the}{texts[0]} and {the}{texts[1]}", tuple(sorted((first, second)))


def _all_of(objects: Objects, rng: Generator) -> tuple[str, tuple[int, ...]] | None:
    """ "all red cars", "the two cars", "all blue things" """
    item = objects[int(rng.integers(len(objects)))]
    noun = _noun(item, rng, 0.3, 0.2, 0.2)
    if rng.random() < 0.2:
        noun = Noun(None, item.color)
    found = matches(Phrase(noun), objects)
    if found is None or len(found) < 2:
        return None
    words = noun_words(noun, rng, 0.3, plural=True)
    counted = NUMBERS.get(len(found), "all")
    start = pick(rng, ("all", 0.4), ("all the", 0.25), (f"the {counted}" if counted != "all" else "all", 0.35))
    if len(found) == 2 and rng.random() < 0.3:
        start = "both"
    return f"{start} {words}", found


def absent(objects: Objects, rng: Generator) -> str:
    """A plausible sentence that describes nothing in the scene: a class that is there with looks that are not."""
    while True:
        item = objects[int(rng.integers(len(objects)))]
        name = item.name if rng.random() < 0.75 else str(rng.choice(list(CLASSES)))
        pattern = str(rng.choice(PATTERNS)) if rng.random() < 0.25 else None
        noun = Noun(name, str(rng.choice(list(COLORS))), pattern)
        if any(noun.fits(other) for other in objects):
            continue
        place = Place(str(rng.choice(SIDES))) if rng.random() < 0.4 else None
        text = phrase_words(Phrase(noun, place), rng)
        return with_article(text, rng, 1.0) if rng.random() < 0.4 else text
