"""Composition of a scene: which objects, with which looks, and where. Geometry is in pixels of the final picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from amlrepro.data.synth.words import CLASSES, COLORS, PATTERNS

Kind = Literal["crowd", "varied"]  # many objects of one class (RefCOCO) or few of each (RefCOCOg)
Focus = Literal["person", "other", "any"]

ASPECTS = ((1.0, 0.3), (8 / 7, 0.2), (4 / 3, 0.5))  # long side over short side, and how often
PERSON_SHARE = 0.5  # of crowds are of persons where both are allowed, as in the real sets
PERSON_WEIGHT = 2.0  # of persons against any other class in varied scenes
# Objects of a crowd's class, and how often. In the real sets, too, a third of the referents have one rival and a fifth
# have seven and more, most of them small and far away: those beyond FOREGROUND are drawn so here.
CROWDS = ((2, 0.2), (3, 0.2), (4, 0.15), (5, 0.12), (6, 0.1), (8, 0.11), (10, 0.12))
FOREGROUND = 4
VARIETIES = ((2, 1, 1), (3, 1), (2, 2), (2, 1, 1, 1), (2, 2, 1), (3, 1, 1))
PATTERN_SHARES = (0.5, 0.28, 0.22)
OVERLAPS = (0.08, 0.35)  # share of the smaller box that may be covered: mostly, and for every third object
# Square root of the box area in short sides.
FAR = (0.13, 0.16)
SMALL = (0.22, 0.27)
BIG = (0.37, 0.47)
HUGE = (0.52, 0.62)


Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class SceneObject:
    """One object. `box` is x, y, width, height before occlusion.

    Of what is visible: x, y is the centre of its box, 0 to 1 from the left and the top; visible is its share of the
    whole object, area its share of the picture.
    """

    name: str
    color: str
    pattern: str
    size: str
    box: Box
    angle: float = 0.0
    flip: bool = False
    x: float = 0.0
    y: float = 0.0
    visible: float = 0.0
    area: float = 0.0


@dataclass(frozen=True)
class Scene:
    """A picture's objects, painted in order: later ones hide earlier ones."""

    width: int
    height: int
    objects: tuple[SceneObject, ...]

    def describe(self) -> list[dict[str, Any]]:
        """The objects as plain values, for the scene file."""
        return [
            {
                "class": o.name,
                "color": o.color,
                "pattern": o.pattern,
                "size": o.size,
                "x": round(o.x, 4),
                "y": round(o.y, 4),
                "visible": round(o.visible, 3),
                "area": round(o.area, 4),
            }
            for o in self.objects
        ]


@dataclass(frozen=True)
class _Look:
    name: str
    color: str
    pattern: str
    size: str
    far: bool = False


def compose(rng: np.random.Generator, image_size: int, kind: Kind, focus: Focus) -> Scene:
    """Draw a scene whose short side is `image_size` pixels.

    kind `crowd`: two to ten objects of one class and one or two others (on average 3.9 others of the referent's class,
    as in RefCOCO); `varied`: a few objects of each of several classes (1.6 others, as in RefCOCOg).
    focus: whether the crowd is of persons.
    """
    ratio = _choose(rng, ASPECTS)
    long = round(image_size * ratio)
    width, height = (long, image_size) if rng.random() < 0.65 else (image_size, long)
    looks = _crowd(rng, focus) if kind == "crowd" else _looks(rng, _variety(rng))
    objects = []
    for look, box in zip(looks, _place(rng, looks, width, height), strict=True):
        angle = float(rng.uniform(-8, 8)) if look.name not in ("ball", "car") else 0.0
        flip = bool(rng.random() < 0.5)
        objects.append(SceneObject(look.name, look.color, look.pattern, look.size, box, angle, flip))
    return Scene(width, height, tuple(objects))


def _choose(rng: np.random.Generator, weighted: tuple[tuple[float, float], ...]) -> float:
    return float(rng.choice([value for value, _ in weighted], p=[share for _, share in weighted]))


def _crowd(rng: np.random.Generator, focus: Focus) -> list[_Look]:
    """A crowd's looks, the far ones first (so that they are painted behind): these share one colour."""
    others = [name for name in CLASSES if name != "person"]
    person = focus == "person" or (focus == "any" and rng.random() < PERSON_SHARE)
    main = "person" if person else str(rng.choice(others))
    count = round(_choose(rng, CROWDS))
    rest = [name for name in CLASSES if name != main]
    extra = 1 if count >= FOREGROUND or rng.random() < 0.5 else 2
    near = [main] * min(count, FOREGROUND) + [str(name) for name in rng.choice(rest, size=extra)]
    distant = count - min(count, FOREGROUND)
    if not distant:
        return _looks(rng, near)
    color = str(rng.choice(list(COLORS)))
    far = [_Look(main, color, "plain", "small", far=True)] * distant
    return far + _looks(rng, near, {main: {color}})


def _variety(rng: np.random.Generator) -> list[str]:
    pick = VARIETIES[int(rng.integers(len(VARIETIES)))]
    weights = np.array([PERSON_WEIGHT if name == "person" else 1.0 for name in CLASSES])
    names = rng.choice(list(CLASSES), size=len(pick), replace=False, p=weights / weights.sum())
    return [str(name) for name, count in zip(names, pick, strict=True) for _ in range(count)]


def _looks(rng: np.random.Generator, names: list[str], used: dict[str, set[str]] | None = None) -> list[_Look]:
    """Colour, pattern and size of each object, in random order; colours within a class mostly differ.

    used: colours that a class has already.
    """
    taken = {name: set(colors) for name, colors in (used or {}).items()}
    out = []
    for name in rng.permutation(names).tolist():
        seen = taken.setdefault(name, set())
        free = [c for c in COLORS if c not in seen]
        color = str(rng.choice(free if free and (not seen or rng.random() < 0.8) else list(COLORS)))
        seen.add(color)
        pattern = str(rng.choice(PATTERNS, p=PATTERN_SHARES))
        out.append(_Look(name, color, pattern, "big" if rng.random() < 0.6 else "small"))
    return out


def _place(rng: np.random.Generator, looks: list[_Look], width: int, height: int) -> list[Box]:
    """Boxes that overlap little: each is the best of a dozen random places; every third object may hide more."""
    side = min(width, height)
    near = sum(not look.far for look in looks)
    room = {2: 1.3, 3: 1.25, 4: 1.12}.get(near, 1.0)
    boxes: list[Box] = []
    for look in looks:
        low, high = FAR if look.far else SMALL if look.size == "small" else BIG
        if look.size == "big" and near <= 3 and rng.random() < 0.2:
            low, high = HUGE
        scale = side * (1.0 if look.far else room) * float(rng.uniform(low, high))
        aspect = CLASSES[look.name].aspect
        w, h = min(scale * aspect**0.5, 0.8 * width), min(scale / aspect**0.5, 0.9 * height)
        lowest = 0.45 * height if look.far else height - h - 1
        tolerated = OVERLAPS[rng.random() < 0.33]
        best, best_overlap = (0.0, 0.0, w, h), 9.0
        for _ in range(14):
            box = (float(rng.uniform(1, width - w - 1)), float(rng.uniform(1, lowest)), w, h)
            overlap = max((_overlap(box, other) for other in boxes), default=0.0)
            if overlap < best_overlap:
                best, best_overlap = box, overlap
            if overlap <= tolerated:
                break
        boxes.append(best)
    return boxes


def _overlap(a: Box, b: Box) -> float:
    """Shared area over the smaller box's area."""
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return w * h / min(a[2] * a[3], b[2] * b[3]) if w > 0 and h > 0 else 0.0
