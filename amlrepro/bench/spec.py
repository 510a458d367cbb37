"""What a benchmark is, and what it gives: two sides taken alternately, a ratio with its spread, a gate. Torch-free."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Reads = Literal["overhead", "speedup", "value"]
Kind = Literal["cpu", "cuda"]


@dataclass(frozen=True)
class Setting:
    """How a benchmark is run. sizes: whose (a profile's name); threads: of the CPU; rounds: None for its own number."""

    sizes: str = "demo"
    device: Kind = "cpu"
    threads: int = 1
    rounds: int | None = None


@dataclass(frozen=True)
class Gate:
    """Whether the faster side still gives the same results. what: is compared; found and bound: in words or numbers."""

    what: str
    found: str | float
    bound: str
    passed: bool


@dataclass(frozen=True)
class Measurement:
    """What a benchmark measured.

    sides: one or two, by name, a number a round each, taken alternately. Of two, the first is what ours, the second, is
    compared against. unit: of the sides. values: what is held against the target, in place of the ratio of the sides;
    details: what else is worth telling; no paths and no names of machines in it.
    """

    sides: Mapping[str, list[float]]
    unit: str = "s"
    gate: Gate | None = None
    values: list[float] | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Target:
    """value: that the median shall reach, at most or at least as the benchmark reads; stretch: that would be better."""

    value: float
    stretch: float | None = None


@dataclass(frozen=True)
class Benchmark:
    """One line of the table of targets.

    reads: `overhead`, second side over first, at most the target; `speedup`, first over second, at least the target;
    `value`, the measurement's own values or its only side, at most the target. unit: of a `value`. measure: the
    function `module:name` that takes a `Setting` and returns a `Measurement`. usual: part of `amlris bench` without
    names. same: how equality of results is checked, empty where nothing can differ. processes: over how many the rounds
    are spread.
    """

    name: str
    what: str
    against: str
    reads: Reads
    measure: str
    targets: Mapping[Kind, Target] = field(default_factory=dict)
    unit: str = "x"
    same: str = ""
    usual: bool = True
    processes: int = 1

    def run(self, setting: Setting) -> Measurement:
        """Measure; raises `UserError` for what is missing."""
        module, _, name = self.measure.partition(":")
        result: Measurement = getattr(importlib.import_module(module), name)(setting)
        return result

    def values(self, measured: Measurement) -> list[float]:
        """What is held against the target, a number a round."""
        if measured.values is not None:
            return measured.values
        sides = list(measured.sides.values())
        if self.reads == "value":
            return sides[0]
        first, second = sides
        pairs = zip(first, second, strict=True)
        return [b / a if self.reads == "overhead" else a / b for a, b in pairs]

    def met(self, median: float, kind: Kind) -> bool | None:
        """Whether a median reaches the target of a kind of device; None where there is none."""
        target = self.targets.get(kind)
        if target is None:
            return None
        return median >= target.value if self.reads == "speedup" else median <= target.value
