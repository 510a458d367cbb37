"""Phrases in words: one meaning, several ways to say it, from a closed vocabulary."""

from __future__ import annotations

import numpy as np

from amlrepro.data.synth.meaning import CORNERS, Noun, Phrase, Place
from amlrepro.data.synth.words import CLASSES, ORDINALS, PATTERN_NOUNS, SIZE_WORDS

RELATION_WORDS: dict[str, tuple[str, ...]] = {
    "left of": ("to the left of", "left of"),
    "right of": ("to the right of", "right of"),
    "above": ("above",),
    "below": ("below", "under"),
    "next to": ("next to", "near"),
}


def pick(rng: np.random.Generator, *options: tuple[str, float]) -> str:
    """One of the weighted options; the weights need not sum to one."""
    total = sum(weight for _, weight in options)
    point = float(rng.random()) * total
    for text, weight in options:
        point -= weight
        if point < 0:
            return text
    return options[-1][0]


def one_of(rng: np.random.Generator, options: tuple[str, ...], first: float) -> str:
    """The first option with probability `first`, else one of the others."""
    if len(options) == 1 or rng.random() < first:
        return options[0]
    return options[1 + int(rng.integers(len(options) - 1))]


def noun_words(noun: Noun, rng: np.random.Generator, tails: float = 0.3, plural: bool = False) -> str:
    """ "big striped red car", or with probability `tails` "big red car with stripes".

    A person's colour is that of the clothes, so it always follows: "big person in striped red".
    """
    size = one_of(rng, SIZE_WORDS[noun.size], 0.6) if noun.size else ""
    head = _head(noun, rng, plural)
    front, tail = [noun.pattern or "", noun.color or ""], ""
    if noun.name == "person" and noun.color:
        clothes = pick(rng, ("in", 0.7), ("wearing", 0.3))
        tail, front = " ".join(filter(None, [clothes, *front])), []
    elif noun.pattern in PATTERN_NOUNS and rng.random() < tails:
        tail, front = f"with {PATTERN_NOUNS[noun.pattern]}", [noun.color or ""]
    return " ".join(filter(None, [size, *front, head, tail]))


def placed_words(noun: str, place: Place, rng: np.random.Generator) -> str:
    """A noun's words with a place: "left car", "car on the left", "second car from left"."""
    where = place.where
    the = pick(rng, ("", 0.55), ("the ", 0.45))
    if place.rank > 1:
        return f"{ORDINALS[place.rank - 1]} {noun} from {the}{where}"
    if where in CORNERS:
        return pick(rng, (f"{where} {noun}", 0.5), (f"{noun} in {the}{where}", 0.3), (f"{noun} {where} corner", 0.2))
    if where == "middle":
        word = pick(rng, ("middle", 0.7), ("center", 0.3))
        return pick(rng, (f"{word} {noun}", 0.55), (f"{noun} in {the}{word}", 0.45))
    if where in ("left", "right"):
        tail = pick(rng, (f"on {the}{where}", 0.65), (f"on {the}far {where}", 0.2), (f"on {where} side", 0.15))
        return pick(rng, (f"{where} {noun}", 0.55), (f"{where}most {noun}", 0.1), (f"{noun} {tail}", 0.35))
    upper = {"top": "upper", "bottom": "lower"}[where]
    return pick(rng, (f"{where} {noun}", 0.55), (f"{upper} {noun}", 0.1), (f"{noun} at {the}{where}", 0.35))


def phrase_words(phrase: Phrase, rng: np.random.Generator, tails: float = 0.3) -> str:
    """A phrase without its article."""
    noun = noun_words(phrase.noun, rng, tails)
    if phrase.place is not None:
        return placed_words(noun, phrase.place, rng)
    if phrase.relation is None or phrase.anchor is None:
        return noun
    link = one_of(rng, RELATION_WORDS[phrase.relation], 0.7)
    that = pick(rng, ("", 0.75), ("that is ", 0.17), ("which is ", 0.08))
    return f"{noun} {that}{link} {with_article(noun_words(phrase.anchor, rng, tails), rng)}"


def with_article(text: str, rng: np.random.Generator, definite: float = 0.75) -> str:
    """ "the ..." with probability `definite`, else "a ..." or "an ..."."""
    if rng.random() < definite:
        return f"the {text}"
    return f"an {text}" if text[0] in "aeiou" else f"a {text}"


def _head(noun: Noun, rng: np.random.Generator, plural: bool) -> str:
    if noun.name is None:
        return "things" if plural else "thing"
    words = CLASSES[noun.name]
    return words.plural if plural else one_of(rng, words.singular, 0.75)
