"""From experiment files to a plan: resolve every row, merge equal runs, and trace each cell to what it comes from."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

from amlrepro.aml.presets import READINGS, describe
from amlrepro.config import EvalConfig, RunConfig
from amlrepro.data.specs import check_split
from amlrepro.errors import UserError, unknown_name
from amlrepro.metrics.jl import jl_error
from amlrepro.models.registry import get_spec
from amlrepro.suite.cellspec import CellSpec, ProbeSpec, Subset
from amlrepro.suite.checkpoints import checkpoint_name, epoch_of, length
from amlrepro.suite.cost import evaluation_hours, probe_hours, training_hours, validation_hours
from amlrepro.suite.experiment import Block, Experiment, LanguageCheck, RowSpec, load_shipped
from amlrepro.suite.figures import FigureSpec, GalleryFigure, HistogramFigure, MapsFigure
from amlrepro.suite.inputs import Inputs
from amlrepro.suite.pairing import why_untrainable
from amlrepro.suite.plan import (
    AnyRequest,
    Cell,
    CellKind,
    HistoryRequest,
    Plan,
    PlannedCheck,
    PlannedFigure,
    PlannedRun,
    ProbeRequest,
    Request,
)
from amlrepro.suite.printed import PrintedColumn
from amlrepro.suite.probing import resolve_probe
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
    builder = _Builder(plan, profile, inputs, choices)
    for experiment in experiments:
        builder.add(experiment)
    planned = {experiment.id for experiment in experiments}
    for experiment in load_shipped(without=planned):
        builder.keep_for(experiment)
    builder.finish()
    check_weight_files([run.config for run in plan.runs.values()], choices.overrides)
    return plan


class _Builder:
    """Adds experiments to a plan. What runs are asked for is gathered first and entered into them by `finish`."""

    def __init__(self, plan: Plan, profile: ProfileSpec, inputs: Inputs, choices: Choices) -> None:
        self.plan = plan
        self.profile = profile
        self.inputs = inputs
        self.choices = choices
        self.rows = Rows(profile, inputs, choices)
        self.planned: dict[int, PlannedRun] = {}  # by identity of the configuration, each of which is made once
        self.asked: set[tuple[str, EvalConfig]] = set()  # evaluations that are in their run already
        self.scored: dict[str, set[int]] = {}  # by run: epochs whose weights are evaluated or probed
        self.reached: dict[str, set[int]] = {}  # by run: epochs that are only to be trained (their history is read)
        self.kept: dict[str, set[int]] = {}  # by run: epochs whose weights other experiments will need

    def add(self, experiment: Experiment) -> None:
        """Add every cell, check and figure of an experiment, with the runs they need."""
        for block in experiment.blocks:
            self._add_block(experiment, block)
        self._add_checks(experiment)
        for figure in experiment.figures:
            self.plan.figures.append(self._figure(experiment, figure))

    def keep_for(self, experiment: Experiment) -> None:
        """Have runs of this plan keep the weights that another experiment asks of them, so that nothing is trained
        twice when that one is run later. An experiment that these choices rule out asks for nothing."""
        with contextlib.suppress(UserError):
            for row, train, checkpoint in _weights_of(experiment):
                if self.inputs.reason(train, "train") is None:
                    for seed in self.plan.seeds:
                        config = self.rows.config(row, train, seed)
                        self.kept.setdefault(config.run_id, set()).add(epoch_of(config, checkpoint))

    def finish(self) -> None:
        """Enter into every run how far it goes and what it keeps, and what that costs."""
        for run in self.plan.runs.values():
            horizon, longest = run.config.train.horizon, length(run.config)
            wanted = {*self.scored.get(run.run_id, ()), *run.config.exec.milestones}
            furthest = max({0, *wanted, *self.reached.get(run.run_id, ())})
            run.until = longest if run.config.exec.until is not None and furthest else furthest
            run.milestones = tuple(sorted(epoch for epoch in wanted if epoch < horizon))
            later = {epoch for epoch in self.kept.get(run.run_id, ()) if epoch < horizon}
            keep = tuple(sorted({*run.milestones, *later}))
            run.config = run.config.with_changes({"exec.until": run.until, "exec.milestones": keep})
            run.cost_hours = training_hours(run.config, run.until, run.refs)
            run.validation_hours = validation_hours(run.config, run.until, self.inputs.counts)
            run.evaluation_hours = evaluation_hours(run.config, run.evals, self.inputs.counts)
            run.probe_hours = probe_hours(run.config, run.probes)

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
        reason = self._unusable(row, spec)
        if reason is None:
            runs, reason = self._runs(row, dataset, "/".join(names[:3]), spec)
        if reason is not None:
            return Cell(*names, metric, "unavailable", preset=self.rows.method(row), reason=reason)
        requests = tuple(self._ask(run, row, spec) for run in runs)
        kind: CellKind = "measured"
        if spec.probe is not None or spec.history is not None:
            kind = "probe" if spec.probe is not None else "history"
        subset: Subset = spec.subset or "all" if kind == "measured" else "all"
        return Cell(*names, metric, kind, requests, preset=runs[0].preset, subset=subset, field=spec.field)

    def _unusable(self, row: RowSpec, spec: CellSpec) -> str | None:
        """Why the data that a cell is measured on cannot be used; None when they can."""
        dataset, split = spec.dataset, spec.split
        if spec.probe is not None:
            dataset, split = spec.probe.dataset, spec.probe.split
        if spec.history is not None or dataset is None or split is None:
            return None
        check_split(dataset, split)
        return self.inputs.reason(dataset, split)

    def _ask(self, run: PlannedRun, row: RowSpec, spec: CellSpec) -> AnyRequest:
        """Enter into a run what a cell needs of it."""
        checkpoint = str(spec.checkpoint)
        if spec.probe is not None:
            return self._probe(run, row, spec.probe, checkpoint)
        if spec.history is not None:
            return HistoryRequest(run.run_id, epoch_of(run.config, checkpoint), spec.history)
        return self._request(run, spec)

    def _probe(self, run: PlannedRun, row: RowSpec, spec: ProbeSpec, checkpoint: str) -> ProbeRequest:
        method = None
        if spec.method is not None or spec.set:
            measuring = row if spec.method is None else row.model_copy(update={"preset": spec.method})
            method = self.rows.config(measuring, run.config.data.train, run.config.seed).with_changes(spec.set)
        probe = resolve_probe(
            spec, run.config, method, checkpoint, self.inputs, self.profile.scale.get("probe.steps", 1.0)
        )
        if probe not in run.probes:
            run.probes.append(probe)
        return ProbeRequest(run.run_id, probe)

    def _add_checks(self, experiment: Experiment) -> None:
        """Add the experiment's checks and the evaluations that only they need."""
        for name, check in experiment.checks.items():
            user = f"{experiment.id}/{name}"
            if isinstance(check, LanguageCheck):
                row = experiment.block(check.block).rows[check.row]
                spec = CellSpec(checkpoint="last", dataset=check.dataset, split=check.split)
                reason = self._unusable(row, spec)
                runs: list[PlannedRun] = []
                if reason is None:
                    runs, reason = self._runs(row, check.dataset, user, spec)
                own = tuple(self._request(run, spec) for run in runs)
                other = tuple(self._request(run, spec, "other") for run in runs)
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
            found, reason = self._runs(row, dataset, user, cell)
            runs.update((run.run_id, None) for run in found)
            reasons += [reason] if reason else []
        return PlannedCheck(experiment.id, name, check, run_ids=tuple(runs), reason=None if runs else reasons[0])

    def _figure(self, experiment: Experiment, spec: FigureSpec) -> PlannedFigure:
        """A figure with the probes it is drawn from; others are drawn from cells or pictures."""
        requests: dict[str, tuple[ProbeRequest, ...]] = {}
        if isinstance(spec, GalleryFigure):
            reason = self.inputs.reason(spec.dataset, spec.split)
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
                reason = self._unusable(row, source)
                runs: list[PlannedRun] = []
                if reason is None:
                    runs, reason = self._runs(row, str(spec.probe.dataset), f"{experiment.id}/{spec.id}/{key}", source)
                if reason is not None:
                    return PlannedFigure(experiment.id, spec, reason=reason)
                requests[key] = tuple(self._probe(run, row, spec.probe, spec.checkpoint) for run in runs[:1])
        return PlannedFigure(experiment.id, spec, requests)

    def _runs(self, row: RowSpec, dataset: str, user: str, spec: CellSpec) -> tuple[list[PlannedRun], str | None]:
        """The runs (one a seed) of a row for a cell's data set, or none and the reason."""
        train = trained_on(row, dataset)
        reason = self.inputs.reason(train, "train")
        if reason:
            return [], reason
        configs = [self.rows.config(row, train, seed) for seed in self.plan.seeds]
        epoch, longest = epoch_of(configs[0], str(spec.checkpoint)), length(configs[0])
        untrained = spec.probe is not None and spec.probe.kind == "cost"
        reason = why_untrainable(configs[0])
        if epoch > longest and not untrained:
            reason = f"epoch {epoch} is asked for, and runs end after epoch {longest}"
        if reason:
            return [], reason
        runs = [self._run(config) for config in configs]
        for run in runs:
            if not untrained:
                epochs = self.scored if spec.history is None else self.reached
                epochs.setdefault(run.run_id, set()).add(epoch)
            if user not in run.used_by:
                run.used_by.append(user)
        return runs, None

    def _run(self, config: RunConfig) -> PlannedRun:
        if id(config) not in self.planned:
            refs = self.inputs.train_refs(config.data.train, config.data.split_by)
            run = PlannedRun(config, describe(config), config.train.horizon, refs=refs)
            self.planned[id(config)] = self.plan.runs.setdefault(run.run_id, run)
        return self.planned[id(config)]

    def _request(self, run: PlannedRun, spec: CellSpec, text: str = "own") -> Request:
        evaluation = _evaluation(
            dataset=spec.dataset,
            split=spec.split,
            resolution=self.profile.resolution or get_spec(run.config.model.name).protocol.scoring,
            text=text,
            checkpoint=checkpoint_name(run.config, epoch_of(run.config, str(spec.checkpoint))),
            data_digest=self.inputs.digest(str(spec.dataset)),
            perturbation=spec.perturbation,
            severity=spec.severity,
        )
        if (run.run_id, evaluation) not in self.asked:
            self.asked.add((run.run_id, evaluation))
            run.evals.append(evaluation)
        return Request(run.run_id, evaluation)


@lru_cache(maxsize=4096)
def _evaluation(**values: Any) -> EvalConfig:
    """The same for all seeds."""
    return EvalConfig.model_validate(values)


def _weights_of(experiment: Experiment) -> Iterable[tuple[RowSpec, str, str]]:
    """Row, training data and checkpoint of all weights that an experiment evaluates or probes."""
    for block in experiment.blocks:
        for _, row, _, cell in block.wanted():
            trained = cell.derive is None and cell.formula is None and cell.history is None
            if trained and (cell.probe is None or cell.probe.kind != "cost"):
                dataset = str(cell.dataset)
                yield row, trained_on(row, dataset), str(cell.checkpoint)
    for figure in experiment.figures:
        if isinstance(figure, MapsFigure):
            for key in figure.rows:
                row = experiment.block(figure.block).rows[key]
                yield row, trained_on(row, str(figure.probe.dataset)), figure.checkpoint
