"""What a plan is: unique runs, their evaluations and probes, and the cells, checks and figures they feed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from amlrepro.config import EvalConfig, ProbeConfig, RunConfig
from amlrepro.suite.cellspec import Operation, Subset
from amlrepro.suite.experiment import Block, Check, Experiment
from amlrepro.suite.figures import FigureSpec

CellKind = Literal["measured", "probe", "history", "formula", "derived", "printed", "unavailable"]
Part = tuple[str, str, str]  # block, row and column key of a cell of the same experiment


@dataclass(frozen=True)
class Request:
    """One evaluation of one run: what a cell is computed from."""

    run_id: str
    eval: EvalConfig

    @property
    def eval_id(self) -> str:
        return self.eval.eval_id


@dataclass(frozen=True)
class ProbeRequest:
    """One probe of one run."""

    run_id: str
    probe: ProbeConfig

    @property
    def probe_id(self) -> str:
        return self.probe.probe_id


@dataclass(frozen=True)
class HistoryRequest:
    """One value of one run's history: of `field`, the mean over the epoch that ended as number `epoch`."""

    run_id: str
    epoch: int
    field: str


AnyRequest = Request | ProbeRequest | HistoryRequest


@dataclass
class PlannedRun:
    """One training that the plan needs, and everything asked of it.

    config: fully resolved, `exec` included. until: epochs to train. milestones: epochs whose weights are kept. evals,
    probes: evaluations and probes asked for, each once. until 0: only probes that need no training, or of the weights
    before it. used_by: `experiment/block/row` it feeds. preset: the method's name (`baseline`, `inferred`, ...).
    cost_hours: A800 hours by the paper's rates, None where these say nothing (small models); the other hours are our
    estimates from these rates (`suite/cost.py`). refs: referents of its training split, None for synthetic data.
    """

    config: RunConfig
    preset: str
    until: int
    milestones: tuple[int, ...] = ()
    evals: list[EvalConfig] = field(default_factory=list)
    probes: list[ProbeConfig] = field(default_factory=list)
    used_by: list[str] = field(default_factory=list)
    cost_hours: float | None = None
    validation_hours: float | None = None
    evaluation_hours: float | None = None
    probe_hours: float | None = None
    refs: int | None = None
    run_id: str = field(init=False)  # read often, and a hash each time: kept

    def __post_init__(self) -> None:
        self.run_id = self.config.run_id


@dataclass(frozen=True)
class Cell:
    """One number of a block.

    kind: `measured` (metric of the evaluations in `requests`, one a seed, in the order of the plan's seeds, over the
    samples of `subset`), `probe` (value `field` of the probes in `requests`), `history` (of the histories in
    `requests`), `formula` (`value`, which follows from the configuration), `derived` (`op` of the cells `parts`),
    `printed` (not run here: shown as printed), `unavailable` (`reason` says why). preset: of rows that are run. row,
    column: keys of the block's table.
    """

    experiment: str
    block: str
    row: str
    column: str
    metric: str
    kind: CellKind
    requests: tuple[AnyRequest, ...] = ()
    parts: tuple[Part, ...] = ()
    preset: str | None = None
    reason: str | None = None
    subset: Subset = "all"
    field: str | None = None
    value: float | None = None
    op: Operation | None = None

    @property
    def evaluations(self) -> tuple[Request, ...]:
        """The evaluations among `requests`."""
        return tuple(request for request in self.requests if isinstance(request, Request))


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


@dataclass(frozen=True)
class PlannedFigure:
    """One figure of an experiment. requests: by row, the probes it is drawn from, one a seed; a figure drawn from cells
    or pictures has none. config: where the pictures of a gallery lie. reason: why it cannot be drawn."""

    experiment: str
    spec: FigureSpec
    requests: dict[str, tuple[ProbeRequest, ...]] = field(default_factory=dict)
    config: RunConfig | None = None
    reason: str | None = None


@dataclass
class Plan:
    """Everything some experiments need in one profile.

    source: `synth` or `refer`. data_root: of the real data, None for synthetic. watermark: the result is no evidence
    about the paper (small models or synthetic data), with the reason. preset: the AML preset. overrides: `--set` keys.
    runs: by run id, in the order in which they are first needed.
    """

    profile: str
    source: Literal["synth", "refer"]
    data_root: str | None
    preset: str
    seeds: tuple[int, ...]
    watermark: str | None
    overrides: dict[str, Any] = field(default_factory=dict)
    experiments: list[Experiment] = field(default_factory=list)
    runs: dict[str, PlannedRun] = field(default_factory=dict)
    cells: list[Cell] = field(default_factory=list)
    checks: list[PlannedCheck] = field(default_factory=list)
    figures: list[PlannedFigure] = field(default_factory=list)

    def block(self, experiment: str, block: str) -> Block:
        """The block's specification."""
        return next(e for e in self.experiments if e.id == experiment).block(block)

    def cells_of(self, experiment: str, block: str) -> list[Cell]:
        """Cells of one block, row by row in printed order."""
        return [c for c in self.cells if c.experiment == experiment and c.block == block]
