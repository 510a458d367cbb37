"""Where a cell's number comes from: the schema of what rows and columns of an experiment file may say."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from amlrepro.config import ProbeKind
from amlrepro.schema import Strict

SingleTarget = Literal["miou", "oiou", "pr50", "pr70", "pr90"]
MultiTarget = Literal["ciou", "giou", "n_acc", "t_acc", "gpr70", "gpr80", "gpr90"]
Metric = SingleTarget | MultiTarget
METRIC_NAMES: dict[str, Metric] = {name: name for name in (*get_args(SingleTarget), *get_args(MultiTarget))}
# `last`, or the end of an epoch of the model's own schedule; in a shorter one the same share of the way.
Checkpoint = Annotated[str, Field(pattern=r"^(last|epoch(0|[1-9]\d*))$")]
Subset = Literal["all", "unseen"]
Formula = Literal["jl_error", "batch_size"]
Operation = Literal["mean", "difference", "percent_more", "percent_less"]


class ProbeSpec(Strict):
    """The probe that a cell or figure reads; what else it needs (checkpoint) comes from the cell.

    dataset, split: of the pairs. method: the preset whose S is measured on a row that has none (Q37); `aml`
    is the command's. set: dotted keys (`afm.tau`) that the measurement takes other than the run.
    """

    kind: ProbeKind
    dataset: str | None = None
    split: str | None = None
    pairs: int | None = None
    steps: int | None = None
    pictures: str | None = None
    method: str | None = None
    set: dict[str, Any] = Field(default_factory=dict)


class Operand(Strict):
    """A cell of the same experiment: block, row and column, each the derived cell's own unless told."""

    block: str | None = None
    row: str | None = None
    column: str | None = None


class Derivation(Strict):
    """A cell computed from others. mean: of them all; difference: first less second; percent_more: by how many percent
    the first exceeds the second; percent_less: by how many percent of the first the second is below it."""

    op: Operation
    of: list[Operand]


class CellSpec(Strict):
    """Where a number comes from. Each field is taken from the cell's own entry, else its row, else its column.

    Without probe, history, formula or derive a cell is an evaluation's metric. dataset, split, metric: where the
    printed column names none, or for a column of our own. perturbation, severity: of the evaluated pictures. subset
    `unseen`: without images that are in the training split the row was trained on. probe with field: a value the probe
    gives. history: mean over the epoch `checkpoint` of training. formula: follows from the configuration alone.
    """

    checkpoint: Checkpoint | None = None
    dataset: str | None = None
    split: str | None = None
    metric: Metric | None = None
    perturbation: str | None = None
    severity: Annotated[int, Field(ge=1, le=5)] | None = None
    subset: Subset | None = None
    probe: ProbeSpec | None = None
    field: str | None = None
    history: Literal["loss"] | None = None
    formula: Formula | None = None
    derive: Derivation | None = None

    def over(self, other: CellSpec) -> CellSpec:
        """This one's fields where they say something, `other`'s elsewhere."""
        first, second = vars(self), vars(other)
        return CellSpec.model_construct(**{n: second[n] if first[n] is None else first[n] for n in _FIELDS})


_FIELDS = tuple(CellSpec.model_fields)
