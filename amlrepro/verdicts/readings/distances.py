"""The distances of readings from print, as `experiments/paper/readings.yaml` fixes them beforehand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from amlrepro.aml.presets import READINGS
from amlrepro.errors import UserError, unknown_name
from amlrepro.files import sha256_file
from amlrepro.schema import Strict, load_yaml, parse_strict
from amlrepro.suite.folder import experiments_folder
from amlrepro.suite.printed import load_printed

Floats = npt.NDArray[np.float64]
Transform = Literal["logit", "logit_percent", "log", "none"]
VARIANT = "{variant}"
Positive = Annotated[float, Field(gt=0)]


def _logit(values: Floats, floor: float) -> Floats:
    return np.asarray(np.log((values + floor) / (1 - values + floor)))


TRANSFORMS: dict[Transform, Callable[[Floats, float], Floats]] = {
    "logit": _logit,
    "logit_percent": lambda values, floor: _logit(values / 100, floor),
    "log": lambda values, floor: np.asarray(np.log(np.maximum(values, floor))),
    "none": lambda values, floor: values,
}


class Statistic(Strict):
    """One statistic. cell, less: `block/column` of the experiment, the second subtracted after the transformation;
    printed, printed_less: `table/row/column` of print. tolerance: in units of the transformation."""

    id: str
    cell: str
    printed: str
    transform: Transform
    tolerance: Positive
    less: str | None = None
    printed_less: str | None = None


class Group(Strict):
    """Statistics that share a weight equally: those of one table."""

    id: str
    title: str
    weight: Positive
    statistics: Annotated[list[Statistic], Field(min_length=1)]

    @property
    def has_variants(self) -> bool:
        """Whether its statistics can be read in several ways (Q33)."""
        return any(VARIANT in statistic.cell for statistic in self.statistics)


class ScreeningRule(Strict):
    """Which readings are trained. always: whatever they measure before training; hours: A800 hours that all takes at
    most, by the paper's rates."""

    always: Annotated[list[str], Field(min_length=1)]
    hours: Positive


class Distances(Strict):
    """The whole file; its header says what each part means."""

    version: int
    cap: Positive
    floor: Positive
    fits: Positive
    excluded: Positive
    draws: Annotated[int, Field(ge=100)]
    seed: int
    variants: dict[str, str]
    known_target: str
    screening: ScreeningRule
    groups: Annotated[list[Group], Field(min_length=1)]
    reference: Group

    def terms(self, blocks: tuple[str, ...]) -> tuple[Term, ...]:
        """The terms whose cells are in these blocks, group by group; a group that loses some keeps its weight."""
        return tuple(_terms(self, self.groups, blocks))

    def reference_terms(self) -> tuple[Term, ...]:
        """The terms of the model without masks."""
        return tuple(_terms(self, [self.reference], tuple({s.cell.split("/")[0] for s in self.reference.statistics})))


@dataclass(frozen=True)
class Term:
    """One statistic in one variant. variant: None where there is only one. weight: its share of the group's."""

    group: str
    variant: str | None
    statistic: Statistic
    weight: float

    @property
    def name(self) -> str:
        """`table12/mean`, `table13_ep0/blanked/tau040`."""
        return "/".join(part for part in (self.group, self.variant, self.statistic.id) if part)

    @property
    def cell(self) -> tuple[str, str]:
        """Block and column."""
        return _cell(self.statistic.cell, self.variant)

    @property
    def less(self) -> tuple[str, str] | None:
        """Block and column of what is subtracted."""
        return None if self.statistic.less is None else _cell(self.statistic.less, self.variant)

    def transformed(self, value: Floats | float, less: Floats | float | None, floor: float) -> Floats:
        """The statistic on its scale of comparison, of values in the unit of the cell."""
        change = TRANSFORMS[self.statistic.transform]
        out = change(np.asarray(value, dtype=np.float64), floor)
        return out if less is None else out - change(np.asarray(less, dtype=np.float64), floor)

    def clipped(self, value: float, floor: float) -> bool:
        """Whether a value in the unit of the cell lies where the transformation flattens it."""
        unit = {"logit": 1.0, "logit_percent": 100.0}.get(self.statistic.transform)
        if unit is None:
            return self.statistic.transform == "log" and value <= floor
        return not floor < value / unit < 1 - floor

    def printed(self, floor: float) -> float:
        """The printed number, transformed. Raises `UserError` where none is printed."""
        less = None if self.statistic.printed_less is None else _printed(self.statistic.printed_less)
        return float(self.transformed(_printed(self.statistic.printed), less, floor))

    @property
    def printed_raw(self) -> float:
        """The printed number in its own unit, less what is subtracted."""
        less = self.statistic.printed_less
        return _printed(self.statistic.printed) - (_printed(less) if less else 0.0)


def _terms(distances: Distances, groups: list[Group], blocks: tuple[str, ...]) -> Iterator[Term]:
    for group in groups:
        there = [s for s in group.statistics if s.cell.partition("/")[0] in blocks]
        for variant in distances.variants if group.has_variants else (None,):
            for statistic in there:
                yield Term(group.id, variant, statistic, group.weight / len(there))


def _cell(text: str, variant: str | None) -> tuple[str, str]:
    block, _, column = text.replace(VARIANT, variant or "").partition("/")
    return block, column


def _printed(text: str) -> float:
    table, row, column = text.split("/")
    number = load_printed(table).value(row, column)
    if number is None:
        raise UserError("nothing is printed there", where=distances_path(), found=text)
    return float(number)


def distances_path() -> Path:
    """Where the distances are written down."""
    return experiments_folder() / "paper" / "readings.yaml"


def distances_digest() -> str:
    """SHA-256 of the file, by which a result says which distances it was computed with."""
    return sha256_file(distances_path())


def load_distances() -> Distances:
    """The distances (read once). Raises `UserError` for a typo, and for a printed number that does not exist."""
    return _read(distances_path())


@cache
def _read(path: Path) -> Distances:
    values: Any = load_yaml(path)
    found = parse_strict(Distances, values, path)
    if found.known_target not in found.variants:
        raise UserError("not a variant", where=path, found=found.known_target, expected=", ".join(found.variants))
    for group in (*found.groups, found.reference):
        for statistic in group.statistics:
            if (statistic.less is None) != (statistic.printed_less is None):
                raise UserError("less and printed_less go together", where=f"{path}: {group.id}/{statistic.id}")
            parts = (statistic.printed, statistic.printed_less)
            if any(len(part.split("/")) != 3 for part in parts if part is not None):
                raise UserError("not a printed number", where=f"{path}: {group.id}/{statistic.id}", found=parts)
    for name in found.screening.always:
        if name not in READINGS:
            raise unknown_name("preset", name, READINGS, f"{path}: screening/always")
    for term in (*found.terms(("epoch0", "epoch1")), *found.reference_terms()):
        term.printed(found.floor)
    return found
