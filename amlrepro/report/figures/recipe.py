"""How a figure comes about: what it depends on, cheap to know, and how its data are made, which may take reading."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from amlrepro.report.figures.data import AnyFigure
from amlrepro.suite.cells import CellResult
from amlrepro.suite.plan import Plan
from amlrepro.suite.store import Store

Cells = Mapping[tuple[str, str], CellResult]  # of one block, by row and column key


class NotThereError(Exception):
    """A figure cannot be drawn; the text says why, for the reader of the report."""


@dataclass(frozen=True)
class Recipe:
    """inputs: JSON values that differ whenever the figure would; make: its data, or `NotThereError`. run_ids: the runs
    it shows."""

    inputs: Any
    make: Callable[[], AnyFigure]
    run_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Origin:
    """Where figures come from. cells: of every block of the experiment."""

    store: Store
    plan: Plan
    cells: Mapping[str, Cells]

    @property
    def watermark(self) -> str | None:
        """What is written above a figure that is no evidence about the paper."""
        if self.plan.watermark is None:
            return None
        stamp = "SYNTHETIC DATA" if self.plan.source == "synth" else "SMALL MODELS"
        return f"{stamp}: {self.plan.watermark}"
