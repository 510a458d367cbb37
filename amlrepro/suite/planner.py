"""From experiment files to a plan: resolve every row, merge equal runs, and trace each cell to what it comes from."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from amlrepro.aml.presets import READINGS, describe
from amlrepro.config import RunConfig
from amlrepro.errors import unknown_name
from amlrepro.metrics.jl import jl_error
from amlrepro.suite.asking import Asking
from amlrepro.suite.cellspec import CellSpec, Subset
from amlrepro.suite.experiment import Block, Experiment, LanguageCheck, RowSpec, load_shipped
from amlrepro.suite.figures import FigureSpec, GalleryFigure, HistogramFigure, MapsFigure
from amlrepro.suite.inputs import Inputs
from amlrepro.suite.plan import (
    Cell,
    CellKind,
    Plan,
    PlannedCheck,
    PlannedFigure,
    PlannedRun,
    ProbeRequest,
)
from amlrepro.suite.printed import PrintedColumn
from amlrepro.suite.profile import ProfileSpec, check_overrides
from amlrepro.suite.rows import Choices, Rows, trained_on
from amlrepro.suite.weights import check_weight_files

FORMULAS: dict[str, Callable[[RunConfig], float]] = {
    "jl_error": lambda config: jl_error(config.pmme.dim),
    "batch_size": lambda config: float(config.train.batch),
}


def build_plan(experiments: Sequence[Experiment], profile: ProfileSpec, inputs: Inputs, choices: Choices) -> Plan:
    """The plan of some experiments. Equal configurations are one run, equal evaluations of a run one evaluation.

    Raises `UserError` for a wrong `--set` key or value, preset, model or split.
    """
    if choices.preset not in READINGS:
        raise unknown_name("preset", choices.preset, READINGS, "--preset")
    check_overrides(choices.overrides)
    on_own_source = inputs.source == profile.source
    plan = Plan(
        profile=profile.id,
        source=inputs.source,
        data_root=str(inputs.root) if inputs.root else None,
        preset=choices.preset,
        seeds=tuple(dict.fromkeys(choices.seeds or profile.seeds)),
        watermark=profile.watermark if on_own_source else profile.real_watermark,
        overrides=dict(choices.overrides),
        experiments=list(experiments),
    )
    asking = Asking(plan, profile, inputs, Rows(profile, inputs, choices))
    builder = _Builder(plan, asking)
    for experiment in experiments:
        builder.add(experiment)
    planned = {experiment.id for experiment in experiments}
    for experiment in load_shipped(without=planned):
        asking.keep_for(experiment)
    asking.finish()
    check_weight_files([run.config for run in plan.runs.values()], choices.overrides)
    return plan


class _Builder:
    """Adds the cells, checks and figures of experiments to a plan."""

    def __init__(self, plan: Plan, asking: Asking) -> None:
        self.plan = plan
        self.rows = asking.rows
        self.asking = asking

    def add(self, experiment: Experiment) -> None:
        """Add every cell, check and figure of an experiment, with the runs they need."""
        for block in experiment.blocks:
            self._add_block(experiment, block)
        self._add_checks(experiment)
        for figure in experiment.figures:
            self.plan.figures.append(self._figure(experiment, figure))

    def _add_block(self, experiment: Experiment, block: Block) -> None:
        """Add every cell of a block, row by row in printed order."""
        table = block.table()
        wanted = {(row_key, column.key): (row, cell) for row_key, row, column, cell in block.wanted()}
        for printed in table.rows:
            for column in table.columns:
                names = (experiment.id, block.id, printed.key, column.key)
                if (printed.key, column.key) in wanted:
                    row, spec = wanted[printed.key, column.key]
                    self.plan.cells.append(self._cell(names, row, column, spec))
                else:
                    self.plan.cells.append(Cell(*names, column.metric, "printed"))

    def _cell(self, names: tuple[str, str, str, str], row: RowSpec, column: PrintedColumn, spec: CellSpec) -> Cell:
        """One cell that is made here, by what its number comes from."""
        metric = str(spec.metric) if spec.probe is None and spec.history is None else column.metric
        if spec.derive is not None:
            parts = tuple((p.block or names[1], p.row or names[2], p.column or names[3]) for p in spec.derive.of)
            return Cell(*names, metric, "derived", parts=parts, preset=self.rows.method(row), op=spec.derive.op)
        dataset = str(spec.dataset)
        if spec.formula is not None:
            config = self.rows.config(row, trained_on(row, dataset), self.plan.seeds[0])
            value = FORMULAS[spec.formula](config)
            return Cell(*names, column.metric, "formula", preset=describe(config), value=value)
        reason = self.asking.unusable(row, spec)
        if reason is None:
            runs, reason = self.asking.runs(row, dataset, "/".join(names[:3]), spec)
        if reason is not None:
            return Cell(*names, metric, "unavailable", preset=self.rows.method(row), reason=reason)
        requests = tuple(self.asking.ask(run, row, spec) for run in runs)
        kind: CellKind = "measured"
        if spec.probe is not None or spec.history is not None:
            kind = "probe" if spec.probe is not None else "history"
        subset: Subset = spec.subset or "all" if kind == "measured" else "all"
        return Cell(*names, metric, kind, requests, preset=runs[0].preset, subset=subset, field=spec.field)

    def _add_checks(self, experiment: Experiment) -> None:
        """Add the experiment's checks and the evaluations that only they need."""
        for name, check in experiment.checks.items():
            user = f"{experiment.id}/{name}"
            if isinstance(check, LanguageCheck):
                row = experiment.block(check.block).rows[check.row]
                spec = CellSpec(checkpoint="last", dataset=check.dataset, split=check.split)
                reason = self.asking.unusable(row, spec)
                runs: list[PlannedRun] = []
                if reason is None:
                    runs, reason = self.asking.runs(row, check.dataset, user, spec)
                own = tuple(self.asking.request(run, spec) for run in runs)
                other = tuple(self.asking.request(run, spec, "other") for run in runs)
                planned = PlannedCheck(experiment.id, name, check, own, other, reason=reason)
            else:
                planned = self._masking(experiment, name, user)
            self.plan.checks.append(planned)

    def _masking(self, experiment: Experiment, name: str, user: str) -> PlannedCheck:
        """The runs of a row: their histories are looked at as far as they have been trained."""
        check = experiment.checks[name]
        runs: dict[str, None] = {}
        reasons: list[str] = []
        cells = {
            str(cell.dataset): (row, cell)
            for key, row, _, cell in experiment.block(check.block).wanted()
            if key == check.row and cell.derive is None
        }
        for dataset, (row, cell) in cells.items():
            found, reason = self.asking.runs(row, dataset, user, cell)
            runs.update((run.run_id, None) for run in found)
            reasons += [reason] if reason else []
        return PlannedCheck(experiment.id, name, check, run_ids=tuple(runs), reason=None if runs else reasons[0])

    def _figure(self, experiment: Experiment, spec: FigureSpec) -> PlannedFigure:
        """A figure with the probes it is drawn from; others are drawn from cells or pictures."""
        requests: dict[str, tuple[ProbeRequest, ...]] = {}
        if isinstance(spec, GalleryFigure):
            reason = self.asking.inputs.reason(spec.dataset, spec.split)
            config = None if reason else self.rows.config(RowSpec(), spec.dataset, self.plan.seeds[0])
            return PlannedFigure(experiment.id, spec, config=config, reason=reason)
        if isinstance(spec, HistogramFigure):
            for key in spec.rows:
                cells = [c for c in self.plan.cells_of(experiment.id, spec.block) if c.row == key]
                chosen = next(c for c in cells if c.column == spec.column)
                if chosen.reason:
                    return PlannedFigure(experiment.id, spec, reason=chosen.reason)
                requests[key] = tuple(r for r in chosen.requests if isinstance(r, ProbeRequest))
        elif isinstance(spec, MapsFigure):
            source = CellSpec(
                checkpoint=spec.checkpoint, dataset=spec.probe.dataset, split=spec.probe.split, probe=spec.probe
            )
            for key in spec.rows:
                row = experiment.block(spec.block).rows[key]
                reason = self.asking.unusable(row, source)
                runs: list[PlannedRun] = []
                if reason is None:
                    runs, reason = self.asking.runs(
                        row, str(spec.probe.dataset), f"{experiment.id}/{spec.id}/{key}", source
                    )
                if reason is not None:
                    return PlannedFigure(experiment.id, spec, reason=reason)
                requests[key] = tuple(self.asking.probe(run, row, spec.probe, spec.checkpoint) for run in runs[:1])
        return PlannedFigure(experiment.id, spec, requests)
