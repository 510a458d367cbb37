"""Composition of a scene: which objects, with which looks, and where. Geometry is in pixels of the final picture."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from amlrepro.data.synth.words import CLASSES, COLORS, PATTERNS

Kind = Literal["crowd", "varied"]  # many objects of one class (RefCOCO) or few of each (RefCOCOg)
Focus = Literal["person", "other", "any"]

ASPECTS = ((1.0, 0.3), (8 / 7, 0.2), (4 / 3, 0.5))  # long side over short side, and how often
PERSON_SHARE = 0.45  # of crowds are of persons where both are allowed
SMALL = (0.22, 0.27)  # square root of the box area, in short sides
BIG = (0.36, 0.45)
HUGE = (0.5, 0.6)
PERSON_WEIGHT = 2.5  # of persons against any other class in varied scenes


@dataclass(frozen=True)
class SceneObject:
    """One object. `box` is x, y, width, height before occlusion; x, y (0 to 1) is the centre of its visible box."""

    name: str
    color: str
    pattern: str
    size: str
    box: tuple[float, float, float, float]
    angle: float = 0.0
    flip: bool = False
    x: float = 0.0
    y: float = 0.0
    visible: float = 1.0

    def placed(self, x: float, y: float, visible: float) -> SceneObject:
        """The same object with what the rendered picture shows of it."""
        return replace(self, x=x, y=y, visible=visible)


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
            }
            for o in self.objects
        ]


def compose(rng: np.random.Generator, image_size: int, kind: Kind, focus: Focus) -> Scene:
    """Draw a scene whose short side is `image_size` pixels.

    kind `crowd`: three to six objects of one class and one or two others (the referent's class has 3.9 objects on
    average, as in RefCOCO); `varied`: one or two objects of each of several classes (1.6, as in RefCOCOg).
    focus: whether the crowd is of persons.
    """
    ratio = float(rng.choice([a for a, _ in ASPECTS], p=[p for _, p in ASPECTS]))
    long = round(image_size * ratio)
    width, height = (long, image_size) if rng.random() < 0.65 else (image_size, long)
    names = _crowd(rng, focus) if kind == "crowd" else _variety(rng)
    rng.shuffle(names)
    looks = _looks(rng, names)
    boxes = _place(rng, [(name, size) for name, (_, _, size) in zip(names, looks, strict=True)], width, height)
    objects = []
    for name, (color, pattern, size), box in zip(names, looks, boxes, strict=True):
        angle = float(rng.uniform(-8, 8)) if name not in ("ball", "car") else 0.0
        objects.append(SceneObject(name, color, pattern, size, box, angle, bool(rng.random() < 0.5)))
    return Scene(width, height, tuple(objects))


def _crowd(rng: np.random.Generator, focus: Focus) -> list[str]:
    others = [name for name in CLASSES if name != "person"]
    person = focus == "person" or (focus == "any" and rng.random() < PERSON_SHARE)
    main = "person" if person else str(rng.choice(others))
    count = int(rng.choice([3, 4, 5, 6], p=[0.25, 0.4, 0.25, 0.1]))
    rest = [name for name in CLASSES if name != main]
    extra = 1 if count >= 5 or rng.random() < 0.4 else 2
    return [main] * count + [str(name) for name in rng.choice(rest, size=extra)]


def _variety(rng: np.random.Generator) -> list[str]:
    counts = ((2, 1, 1), (2, 2, 1), (2, 1, 1, 1), (1, 1, 1, 1), (2, 2, 1, 1), (3, 1, 1))
    pick = counts[int(rng.choice(len(counts), p=[0.2, 0.2, 0.2, 0.15, 0.15, 0.1]))]
    weights = np.array([PERSON_WEIGHT if name == "person" else 1.0 for name in CLASSES])
    names = [str(n) for n in rng.choice(list(CLASSES), size=len(pick), replace=False, p=weights / weights.sum())]
    return [name for name, count in zip(names, pick, strict=True) for _ in range(count)]


def _looks(rng: np.random.Generator, names: list[str]) -> list[tuple[str, str, str]]:
    """Colour, pattern and size of each object; colours within a class mostly differ."""
    used: dict[str, set[str]] = {}
    out = []
    for name in names:
        seen = used.setdefault(name, set())
        free = [c for c in COLORS if c not in seen]
        color = str(rng.choice(free if free and (not seen or rng.random() < 0.75) else list(COLORS)))
        seen.add(color)
        pattern = str(rng.choice(PATTERNS, p=[0.5, 0.28, 0.22]))
        out.append((color, pattern, "big" if rng.random() < 0.5 else "small"))
    return out


def _place(
    rng: np.random.Generator, items: list[tuple[str, str]], width: int, height: int
) -> list[tuple[float, float, float, float]]:
    """Boxes that overlap little: each is the best of a dozen random places; every third object may hide more."""
    side = min(width, height)
    crowded = 0.92 if len(items) > 5 else 1.0
    boxes: list[tuple[float, float, float, float]] = []
    for name, size in items:
        low, high = SMALL if size == "small" else BIG
        if size == "big" and len(items) <= 4 and rng.random() < 0.2:
            low, high = HUGE
        scale = side * crowded * float(rng.uniform(low, high))
        aspect = CLASSES[name].aspect
        w, h = scale * aspect**0.5, scale / aspect**0.5
        tolerated = 0.35 if rng.random() < 0.33 else 0.08
        best, best_overlap = (0.0, 0.0, w, h), 9.0
        for _ in range(14):
            box = (float(rng.uniform(1, width - w - 1)), float(rng.uniform(1, height - h - 1)), w, h)
            overlap = max((_overlap(box, other) for other in boxes), default=0.0)
            if overlap < best_overlap:
                best, best_overlap = box, overlap
            if overlap <= tolerated:
                break
        boxes.append(best)
    return boxes


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    """Shared area over the smaller box's area."""
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return w * h / min(a[2] * a[3], b[2] * b[3]) if w > 0 and h > 0 else 0.0
