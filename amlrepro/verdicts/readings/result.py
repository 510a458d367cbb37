"""What `amlris readings` found, as data, and its file in the store."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from amlrepro.errors import UserError
from amlrepro.files import write_json
from amlrepro.suite.store import Store
from amlrepro.verdicts.readings.distances import distances_digest
from amlrepro.verdicts.readings.screening import Screening, parse_screening

VERSION = 2
Label = Literal["nearest", "not told apart", "farther", "not measured"]


@dataclass(frozen=True)
class StatisticResult:
    """One statistic of one reading. ours, target: in the unit of the cell (a gain: the difference); deviation: in
    tolerances."""

    name: str
    group: str
    ours: float
    target: float
    deviation: float


@dataclass(frozen=True)
class ReadingResult:
    """One reading. distance: from the target, 1 being as far as the tolerances allow on average; low, high: its 95 %
    interval; nearest: how often it is nearest when seeds and pairs are drawn anew. label: `nearest`; `not told apart`
    from the nearest; `farther`; `not measured` (reason says why, and the numbers are None). groups: distance within
    each table; variant: how Table 13 is read to fit it best; same_as: readings with the very same statistics. seeds:
    that it was measured with.
    """

    name: str
    title: str
    preset: str
    label: Label
    distance: float | None = None
    low: float | None = None
    high: float | None = None
    nearest: float | None = None
    groups: dict[str, float] | None = None
    variant: str | None = None
    variants: dict[str, float] | None = None
    statistics: tuple[StatisticResult, ...] = ()
    same_as: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    run_ids: tuple[str, ...] = ()
    reason: str | None = None


@dataclass(frozen=True)
class ReadingsReport:
    """The ranking. target: `printed`, or the reading whose run (target_seed) stands in for the paper: a known answer.
    initial_only: measured before training alone. epoch: that stands for the paper's first. complete: every reading, or
    all that the rule chooses among every reading, with two seeds or more, epoch 1, the paper's profile and the printed
    numbers: only then does the result say anything of the paper. readings: of those that are trained, nearest first,
    those not measured last. screening: how they were chosen; None where all are trained or a person named them. fit:
    whether the nearest explains the target. reference: distance of the model without masks from its own printed
    numbers. degrees: of freedom of the spread between seeds (of statistics that no reading has at the floor); sampled:
    whether the noise of the pairs is in the intervals. text: sentences for people.
    """

    profile: str
    watermark: str | None
    target: str
    target_seed: int | None
    initial_only: bool
    epoch: int
    complete: bool
    seeds: tuple[int, ...]
    readings: tuple[ReadingResult, ...]
    screening: Screening | None
    left_out: tuple[tuple[str, str], ...]
    groups: dict[str, str]
    fit: Literal["fits", "near", "does not fit"] | None
    reference: float | None
    degrees: int
    sampled: bool
    draws: int
    run_ids: tuple[str, ...]
    distances_sha256: str
    text: tuple[str, ...]
    version: int = VERSION

    @property
    def ranked(self) -> tuple[ReadingResult, ...]:
        """The readings that were measured, nearest first."""
        return tuple(reading for reading in self.readings if reading.distance is not None)

    @property
    def candidates(self) -> tuple[ReadingResult, ...]:
        """The nearest and those that cannot be told apart from it."""
        return tuple(reading for reading in self.readings if reading.label in ("nearest", "not told apart"))

    @property
    def stale(self) -> bool:
        """Whether the distances are no longer those it was computed with."""
        return self.distances_sha256 != distances_digest()

    def find(self, name: str) -> ReadingResult | None:
        """The reading of that name, None where there is none."""
        return next((reading for reading in self.readings if reading.name == name), None)


def as_json(report: ReadingsReport) -> dict[str, Any]:
    """The report as plain values."""
    return asdict(report)


def result_path(store: Store, report: ReadingsReport | None = None) -> Path:
    """Where the result lies: `readings.json`; looks before training, and known answers beside real results, have files
    of their own so that they never stand in its place."""
    if report is not None and report.initial_only:
        return store.folder / "readings_epoch0.json"
    if report is not None and report.target != "printed" and not report.watermark:
        return store.folder / "readings_known.json"
    return store.folder / "readings.json"


def write_readings(store: Store, report: ReadingsReport) -> Path:
    """Write the report into the store; returns the path."""
    path = result_path(store, report)
    write_json(path, as_json(report))
    return path


def read_readings(store: Store) -> ReadingsReport | None:
    """The report in `readings.json`; None where there is none, or one of another version. Raises `UserError` for a file
    that is something else."""
    path = result_path(store)
    values = store.read(path)
    if values is None:
        return None
    try:
        return _report(dict(values)) if values["version"] == VERSION else None
    except (KeyError, TypeError, ValueError) as error:
        hint = "amlris readings writes it anew"
        raise UserError("not a result of amlris readings", where=path, found=str(error), hint=hint) from None


def _report(values: dict[str, Any]) -> ReadingsReport:
    readings = tuple(_reading(entry) for entry in values.pop("readings"))
    values |= {name: tuple(values[name]) for name in ("seeds", "run_ids", "text")}
    values["screening"] = None if values["screening"] is None else parse_screening(values["screening"])
    values["left_out"] = tuple((str(name), str(reason)) for name, reason in values["left_out"])
    return ReadingsReport(**values, readings=readings)


def _reading(values: dict[str, Any]) -> ReadingResult:
    values = {**values, **{name: tuple(values[name]) for name in ("same_as", "seeds", "run_ids")}}
    values["statistics"] = tuple(StatisticResult(**each) for each in values["statistics"])
    return ReadingResult(**values)
