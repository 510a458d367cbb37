"""What a plan is: unique runs, their evaluations, and the cells and checks they feed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from amlrepro.config import EvalConfig, RunConfig
from amlrepro.suite.experiment import Block, Check, Experiment

CellKind = Literal["measured", "average", "printed", "unavailable"]


@dataclass(frozen=True)
class Request:
    """One evaluation of one run: what a cell is computed from."""

    run_id: str
    eval: EvalConfig

    @property
    def eval_id(self) -> str:
        return self.eval.eval_id


@dataclass
class PlannedRun:
    """One training that the plan needs, and everything asked of it.

    config: fully resolved, `exec` included. until: epochs to train. milestones: epochs whose weights are kept.
    evals: evaluations asked for, each once. used_by: `experiment/block/row` it feeds. preset: the method's name
    (`baseline`, `inferred`, ...). cost_hours: A800 hours by the paper's rates, None where these say nothing (small
    models). refs: referents of its training split, None for synthetic data.
    """

    config: RunConfig
    preset: str
    until: int
    milestones: tuple[int, ...] = ()
    evals: list[EvalConfig] = field(default_factory=list)
    used_by: list[str] = field(default_factory=list)
    cost_hours: float | None = None
    refs: int | None = None

    @property
    def run_id(self) -> str:
        return self.config.run_id


@dataclass(frozen=True)
class Cell:
    """One number of a block.

    kind: `measured` (from `requests`, one a seed, in the order of the plan's seeds), `average` (mean of the `parts`,
    column keys of the same row), `printed` (not run here: shown as printed), `unavailable` (`reason` says why).
    preset: of rows that are run. row, column: keys of the printed table.
    """

    experiment: str
    block: str
    row: str
    column: str
    metric: str
    kind: CellKind
    requests: tuple[Request, ...] = ()
    parts: tuple[str, ...] = ()
    preset: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class PlannedCheck:
    """One check of an experiment, resolved.

    language_use: `requests` with own and `control` with other sentences, one a seed. masking: `run_ids`. An
    unavailable check has a `reason` and nothing else.
    """

    experiment: str
    name: str
    spec: Check
    requests: tuple[Request, ...] = ()
    control: tuple[Request, ...] = ()
    run_ids: tuple[str, ...] = ()
    reason: str | None = None


@dataclass
class Plan:
    """Everything some experiments need in one profile.

    source: `synth` or `refer`. data_root: of the real data, None for synthetic. watermark: the result is no evidence
    about the paper (small models or synthetic data), with the reason. preset: the AML preset. runs: by run id, in
    the order in which they are first needed.
    """

    profile: str
    source: Literal["synth", "refer"]
    data_root: str | None
    preset: str
    seeds: tuple[int, ...]
    watermark: str | None
    experiments: list[Experiment] = field(default_factory=list)
    runs: dict[str, PlannedRun] = field(default_factory=dict)
    cells: list[Cell] = field(default_factory=list)
    checks: list[PlannedCheck] = field(default_factory=list)

    def block(self, experiment: str, block: str) -> Block:
        """The block's specification."""
        return next(e for e in self.experiments if e.id == experiment).block(block)

    def cells_of(self, experiment: str, block: str) -> list[Cell]:
        """Cells of one block, row by row in printed order."""
        return [c for c in self.cells if c.experiment == experiment and c.block == block]
