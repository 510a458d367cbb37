"""What a figure consists of: the schema of `figures` in an experiment file. Drawing is `report/figures/`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from amlrepro.schema import Strict
from amlrepro.suite.cellspec import Checkpoint, ProbeSpec


class _Figure(Strict):
    id: str
    title: str


class RadarFigure(_Figure):
    """Rows of a block on one axis a column: the paper's numbers in one panel, ours in the other. axes: columns, in
    order; rows_as_axes instead: one axis for each of these row groups, `group__method` naming a row (Table 15)."""

    kind: Literal["radar"]
    block: str
    rows: list[str]
    axes: list[str] = Field(default_factory=list)
    groups: dict[str, str] = Field(default_factory=dict)
    panels: dict[str, str] = Field(default_factory=dict)


class CurvesFigure(_Figure):
    """Rows of a block as curves over x, a panel each. x: positions; panels: title -> columns, one for each x."""

    kind: Literal["curves"]
    block: str
    rows: list[str]
    x: list[float]
    x_label: str
    y_label: str
    panels: dict[str, list[str]]


class SweepFigure(_Figure):
    """Rows of a block over the setting by which they differ. lines: legend -> rows, one for each x (a number, or a name
    where the setting has no order); reference: a row drawn as a level line; panels: title -> column."""

    kind: Literal["sweep"]
    block: str
    x: list[float | str]
    x_label: str
    y_label: str
    lines: dict[str, list[str]]
    reference: str | None = None
    panels: dict[str, str]

    @property
    def rows(self) -> list[str]:
        """Every row that is drawn."""
        return [*([self.reference] if self.reference else []), *(row for line in self.lines.values() for row in line)]


class GridFigure(_Figure):
    """Rows of a block that differ by two settings, as a field of numbers. cells: for each y, the row at each x."""

    kind: Literal["grid"]
    block: str
    column: str
    x: list[float | str]
    y: list[float | str]
    x_label: str
    y_label: str
    value_label: str
    cells: list[list[str]]

    @property
    def rows(self) -> list[str]:
        """Every row that is drawn."""
        return [row for line in self.cells for row in line]


class HistogramFigure(_Figure):
    """Distribution of S of the rows' alignment probes: the probes of the block's cells in `column`."""

    kind: Literal["histogram"]
    block: str
    rows: list[str]
    column: str
    bins: int = 50


class MapsFigure(_Figure):
    """Z+ and Z- of the same samples for several rows of a block, side by side on a common scale (maps), or their masks
    over the pictures (overlay). probe: of kind `maps`."""

    kind: Literal["maps", "overlay"]
    block: str
    rows: list[str]
    checkpoint: Checkpoint = "last"
    probe: ProbeSpec


class GalleryFigure(_Figure):
    """A picture of a split, whole and perturbed."""

    kind: Literal["gallery"]
    dataset: str
    split: str
    picture: int = 0
    perturbations: list[str]
    severity: int | None = None


FigureSpec = Annotated[
    RadarFigure | CurvesFigure | SweepFigure | GridFigure | HistogramFigure | MapsFigure | GalleryFigure,
    Field(discriminator="kind"),
]
