"""What scenes are made of and how it is called: classes, colours, patterns, sizes, place words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ObjectClass:
    """A class of objects: its COCO category and the words for it; `aspect` is width over height of its box."""

    category_id: int
    category: str
    supercategory: str
    singular: tuple[str, ...]
    plural: str
    aspect: float


# Category ids and names are COCO's, so that tools which know COCO read the files as they are.
CLASSES: dict[str, ObjectClass] = {
    "person": ObjectClass(1, "person", "person", ("person", "guy"), "people", 0.46),
    "car": ObjectClass(3, "car", "vehicle", ("car",), "cars", 1.8),
    "boat": ObjectClass(9, "boat", "vehicle", ("boat",), "boats", 1.0),
    "dog": ObjectClass(18, "dog", "animal", ("dog", "puppy"), "dogs", 1.35),
    "umbrella": ObjectClass(28, "umbrella", "accessory", ("umbrella",), "umbrellas", 1.0),
    "ball": ObjectClass(37, "sports ball", "sports", ("ball",), "balls", 1.0),
    "kite": ObjectClass(38, "kite", "sports", ("kite",), "kites", 0.72),
    "cup": ObjectClass(47, "cup", "kitchen", ("cup", "mug"), "cups", 1.05),
}

COLORS: dict[str, tuple[int, int, int]] = {
    "red": (212, 32, 36),
    "orange": (247, 138, 20),
    "yellow": (246, 222, 44),
    "green": (38, 164, 62),
    "blue": (36, 82, 216),
    "purple": (140, 52, 170),
    "white": (243, 243, 243),
    "black": (26, 26, 28),
}

PATTERNS: tuple[str, ...] = ("plain", "striped", "dotted")
PATTERN_NOUNS: dict[str, str] = {"striped": "stripes", "dotted": "dots"}

SIZES: tuple[str, ...] = ("small", "big")
SIZE_WORDS: dict[str, tuple[str, ...]] = {"small": ("small", "little"), "big": ("big", "large")}

ORDINALS: tuple[str, ...] = ("first", "second", "third")
NUMBERS: dict[int, str] = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}
