"""What a phrase means: which objects of a scene it describes, and when that is clear enough to be said.

Every rule has a margin: positions between "clearly so" and "clearly not so" make a phrase unclear (None), and unclear
phrases are never used. Positions are centres of visible boxes, 0 to 1 from the left and the top.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from amlrepro.data.synth.scene import SceneObject

SIDES: tuple[str, ...] = ("left", "right", "top", "bottom")
CORNERS: tuple[str, ...] = ("top left", "top right", "bottom left", "bottom right")
RELATIONS: tuple[str, ...] = ("left of", "right of", "above", "below", "next to")

SIDE_GAP = 0.08  # the leftmost object is clear of the next one by this much
RANK_GAP = 0.06  # gaps between neighbours that are counted
Objects = Sequence[SceneObject]


@dataclass(frozen=True)
class Noun:
    """A class of objects (None: any) with the attributes that are named."""

    name: str | None
    color: str | None = None
    pattern: str | None = None
    size: str | None = None

    def fits(self, item: SceneObject) -> bool:
        """Whether the object is of this class and has the named attributes."""
        return (
            self.name in (None, item.name)
            and self.color in (None, item.color)
            and self.pattern in (None, item.pattern)
            and self.size in (None, item.size)
        )


@dataclass(frozen=True)
class Place:
    """Where: a side, a corner, `middle`, or (rank > 1) the rank-th from the left or right side."""

    where: str
    rank: int = 1


@dataclass(frozen=True)
class Phrase:
    """A noun, and at most one of a place and a relation to another object, described by a noun of its own."""

    noun: Noun
    place: Place | None = None
    relation: str | None = None
    anchor: Noun | None = None


def matches(phrase: Phrase, objects: Objects) -> tuple[int, ...] | None:
    """Indices of the objects that `phrase` describes; None when that is unclear or the anchor is not unique."""
    found = [k for k, item in enumerate(objects) if phrase.noun.fits(item)]
    if phrase.place is not None:
        return _at(phrase.place, found, objects)
    if phrase.relation is None or phrase.anchor is None:
        return tuple(found)
    anchors = [k for k, item in enumerate(objects) if phrase.anchor.fits(item)]
    if len(anchors) != 1:
        return None
    anchor = objects[anchors[0]]
    verdicts = [(k, related(phrase.relation, objects[k], anchor)) for k in found if k != anchors[0]]
    if any(verdict is None for _, verdict in verdicts):
        return None
    return tuple(k for k, verdict in verdicts if verdict)


def describes(phrase: Phrase, target: int, objects: Objects) -> bool:
    """Whether `phrase` is clearly true of object `target` and of no other."""
    return matches(phrase, objects) == (target,)


def related(relation: str, item: SceneObject, anchor: SceneObject) -> bool | None:
    """Whether `item` stands in `relation` to `anchor`; None between clearly yes and clearly no."""
    dx, dy = item.x - anchor.x, item.y - anchor.y
    if relation == "next to":
        distance = (dx**2 + dy**2) ** 0.5
        return _clear(0.36 - distance, distance - 0.44)
    along, across = {"left of": (-dx, dy), "right of": (dx, dy), "above": (-dy, dx), "below": (dy, dx)}[relation]
    return _clear(min(along - 0.1, along - abs(across)), 0.03 - along)


def _at(place: Place, found: list[int], objects: Objects) -> tuple[int, ...] | None:
    if not found:
        return ()
    if place.where == "middle":
        verdicts = [_central(objects[k]) for k in found]
    elif place.where in CORNERS:
        verdicts = [_cornered(place.where, objects[k]) for k in found]
    else:
        return _ranked(place, found, objects)
    if any(verdict is None for verdict in verdicts):
        return None
    return tuple(k for k, verdict in zip(found, verdicts, strict=True) if verdict)


def _ranked(place: Place, found: list[int], objects: Objects) -> tuple[int, ...] | None:
    """The rank-th of `found` from a side; the first one must also lie in that half of the picture."""
    position = {k: depth(place.where, objects[k]) for k in found}
    order = sorted(found, key=position.__getitem__)
    gaps = [position[b] - position[a] for a, b in pairwise(order)]
    if place.rank > 1:
        if len(order) <= place.rank or min(gaps[: place.rank]) < RANK_GAP:
            return None
        return (order[place.rank - 1],)
    limit = 0.45 if gaps else 0.4
    if position[order[0]] > limit or (gaps and gaps[0] < SIDE_GAP):
        return None
    return (order[0],)


def depth(side: str, item: SceneObject) -> float:
    """Distance of an object's centre from a side of the picture, 0 to 1."""
    return {"left": item.x, "right": 1 - item.x, "top": item.y, "bottom": 1 - item.y}[side]


def _central(item: SceneObject) -> bool | None:
    dx, dy = abs(item.x - 0.5), abs(item.y - 0.5)
    return _clear(min(0.15 - dx, 0.2 - dy), max(dx - 0.22, dy - 0.3))


def _cornered(corner: str, item: SceneObject) -> bool | None:
    vertical, horizontal = corner.split()
    far = max(depth(vertical, item), depth(horizontal, item))
    return _clear(0.45 - far, far - 0.55)


def _clear(yes: float, no: float) -> bool | None:
    """True if `yes` is not negative, False if `no` is not negative, else None."""
    if yes >= 0:
        return True
    return False if no >= 0 else None
