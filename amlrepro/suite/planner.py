"""From experiment files to a plan: resolve every row, merge equal runs, and trace each cell to its evaluations."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from amlrepro.aml.presets import READINGS, describe
from amlrepro.config import EvalConfig, RunConfig
from amlrepro.data.specs import check_split
from amlrepro.errors import UserError, unknown_name
from amlrepro.models.registry import get_spec
from amlrepro.suite.checkpoints import checkpoint_name, epoch_of, length
from amlrepro.suite.cost import training_hours
from amlrepro.suite.experiment import AML, OWN, Block, Experiment, LanguageCheck, RowSpec, load_shipped
from amlrepro.suite.inputs import Inputs
from amlrepro.suite.pairing import why_untrainable
from amlrepro.suite.plan import Cell, Plan, PlannedCheck, PlannedRun, Request
from amlrepro.suite.printed import PrintedColumn, PrintedTable
from amlrepro.suite.profile import ProfileSpec, check_overrides, resolve
from amlrepro.suite.weights import check_weight_files


@dataclass(frozen=True)
class Choices:
    """What a command chose beyond the experiments: seeds (None: the profile's), the AML preset, `--set` keys."""

    seeds: tuple[int, ...] | None = None
    preset: str = "inferred"
    overrides: Mapping[str, Any] = field(default_factory=dict)


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
        experiments=list(experiments),
    )
    builder = _Builder(plan, profile, inputs, choices)
    for experiment in experiments:
        builder.add(experiment)
    for experiment in load_shipped():
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
        self.configs: dict[tuple[str, str, str, str, int], RunConfig] = {}
        self.scored: dict[str, set[int]] = {}  # by run: epochs whose weights are evaluated
        self.kept: dict[str, set[int]] = {}  # by run: epochs whose weights other experiments will evaluate

    def add(self, experiment: Experiment) -> None:
        """Add every cell and check of an experiment, with the runs they need."""
        for block in experiment.blocks:
            self._add_block(experiment, block)
        self.add_checks(experiment)

    def keep_for(self, experiment: Experiment) -> None:
        """Have runs of this plan keep the weights that another experiment asks of them, so that nothing is trained
        twice when that one is run later. An experiment that these choices rule out asks for nothing."""
        with contextlib.suppress(UserError):
            for block in experiment.blocks:
                for _, row, column in _run_cells(block):
                    dataset = str(column.dataset) if row.train == OWN else row.train
                    if self.inputs.reason(dataset, "train") is not None:
                        continue
                    for seed in self.plan.seeds:
                        config = self._config(row, dataset, seed)
                        epoch = epoch_of(config, block.checkpoint_of(row, column))
                        self.kept.setdefault(config.run_id, set()).add(epoch)

    def finish(self) -> None:
        """Enter into every run how far it goes and what it keeps, and what that costs."""
        for run in self.plan.runs.values():
            horizon, longest = run.config.train.horizon, length(run.config)
            wanted = {*self.scored[run.run_id], *run.config.exec.milestones}
            run.until = longest if run.config.exec.until is not None else max(wanted)
            run.milestones = tuple(sorted(epoch for epoch in wanted if epoch < horizon))
            later = {epoch for epoch in self.kept.get(run.run_id, ()) if epoch < horizon}
            keep = tuple(sorted({*run.milestones, *later}))
            run.config = run.config.with_changes({"exec.until": run.until, "exec.milestones": keep})
            run.cost_hours = training_hours(run.config, run.until, run.refs)

    def _add_block(self, experiment: Experiment, block: Block) -> None:
        """Add every cell of a block, row by row in printed order."""
        table = block.table()
        run = {(printed, column.key) for printed, _, column in _run_cells(block)}
        for printed in table.rows:
            row = block.rows.get(printed.key)
            for column in table.columns:
                names = (experiment.id, block.id, printed.key, column.key)
                metric = block.metric_of(column)
                if row is None or (printed.key, column.key) not in run:
                    cell = Cell(*names, metric, "printed")
                    if row and column.derived and printed.values[column.key] is not None:
                        cell = self._average(names, metric, row, table)
                else:
                    cell = self._measured(names, metric, block, row, column)
                self.plan.cells.append(cell)

    def _average(self, names: tuple[str, str, str, str], metric: str, row: RowSpec, table: PrintedTable) -> Cell:
        parts = tuple(c.key for c in table.columns if not c.derived)
        return Cell(*names, metric, "average", parts=parts, preset=self._preset(row))

    def add_checks(self, experiment: Experiment) -> None:
        """Add the experiment's checks and the evaluations that only they need."""
        for name, check in experiment.checks.items():
            row = experiment.block(check.block).rows[check.row]
            user = f"{experiment.id}/{name}"
            if isinstance(check, LanguageCheck):
                check_split(check.dataset, check.split)
                runs, reason = self._runs(row, check.dataset, user, "last")
                reason = reason or self.inputs.reason(check.dataset, check.split)
                if reason:
                    planned = PlannedCheck(experiment.id, name, check, reason=reason)
                else:
                    own = tuple(self._request(run, check.dataset, check.split, "own", "last") for run in runs)
                    other = tuple(self._request(run, check.dataset, check.split, "other", "last") for run in runs)
                    planned = PlannedCheck(experiment.id, name, check, own, other)
            else:
                planned = self._masking(experiment, name, user)
            self.plan.checks.append(planned)

    def _masking(self, experiment: Experiment, name: str, user: str) -> PlannedCheck:
        """The runs of a row: their histories are looked at as far as they have been trained."""
        check = experiment.checks[name]
        block = experiment.block(check.block)
        runs: dict[str, None] = {}
        reasons: list[str] = []
        datasets = {str(c.dataset): block.checkpoint_of(r, c) for k, r, c in _run_cells(block) if k == check.row}
        for dataset, checkpoint in datasets.items():
            found, reason = self._runs(block.rows[check.row], dataset, user, checkpoint)
            runs.update((run.run_id, None) for run in found)
            reasons += [reason] if reason else []
        return PlannedCheck(experiment.id, name, check, run_ids=tuple(runs), reason=None if runs else reasons[0])

    def _measured(
        self, names: tuple[str, str, str, str], metric: str, block: Block, row: RowSpec, column: PrintedColumn
    ) -> Cell:
        dataset, split = str(column.dataset), str(column.split or block.split)
        check_split(dataset, split)
        checkpoint = block.checkpoint_of(row, column)
        runs, reason = self._runs(row, dataset, "/".join(names[:3]), checkpoint)
        reason = reason or self.inputs.reason(dataset, split)
        if reason:
            return Cell(*names, metric, "unavailable", preset=self._preset(row), reason=reason)
        requests = tuple(self._request(run, dataset, split, "own", checkpoint) for run in runs)
        return Cell(*names, metric, "measured", requests, preset=runs[0].preset)

    def _runs(self, row: RowSpec, dataset: str, user: str, checkpoint: str) -> tuple[list[PlannedRun], str | None]:
        """The runs (one a seed) of a row for a column's data set, or none and the reason."""
        train = dataset if row.train == OWN else row.train
        reason = self.inputs.reason(train, "train")
        if reason:
            return [], reason
        configs = [self._config(row, train, seed) for seed in self.plan.seeds]
        epoch, longest = epoch_of(configs[0], checkpoint), length(configs[0])
        reason = why_untrainable(configs[0])
        if epoch > longest:
            reason = f"epoch {epoch} is asked for, and runs end after epoch {longest}"
        if reason:
            return [], reason
        runs = [self._run(config) for config in configs]
        for run in runs:
            self.scored.setdefault(run.run_id, set()).add(epoch)
            if user not in run.used_by:
                run.used_by.append(user)
        return runs, None

    def _run(self, config: RunConfig) -> PlannedRun:
        if config.run_id not in self.plan.runs:
            refs = self.inputs.train_refs(config.data.train, config.data.split_by)
            self.plan.runs[config.run_id] = PlannedRun(config, describe(config), config.train.horizon, refs=refs)
        return self.plan.runs[config.run_id]

    def _config(self, row: RowSpec, train: str, seed: int) -> RunConfig:
        """A row's configuration on a training set, digests included; each is made once."""
        preset = self._preset_name(row)
        key = (row.model, preset, repr(sorted(row.set.items())), train, seed)
        if key not in self.configs:
            config = resolve(
                self.profile,
                row.model,
                preset,
                train,
                seed,
                source=self.inputs.source,
                row=row.set,
                overrides=self.choices.overrides,
                execution=self.inputs.execution(row.model),
            )
            self.configs[key] = self.inputs.complete(config)
        return self.configs[key]

    def _request(self, run: PlannedRun, dataset: str, split: str, text: str, checkpoint: str) -> Request:
        evaluation = EvalConfig.model_validate(
            {
                "dataset": dataset,
                "split": split,
                "resolution": self.profile.resolution or get_spec(run.config.model.name).protocol.scoring,
                "text": text,
                "checkpoint": checkpoint_name(run.config, epoch_of(run.config, checkpoint)),
                "data_digest": self.inputs.digest(dataset),
            }
        )
        if evaluation not in run.evals:
            run.evals.append(evaluation)
        return Request(run.run_id, evaluation)

    def _preset_name(self, row: RowSpec) -> str:
        return self.choices.preset if row.preset == AML else row.preset

    def _preset(self, row: RowSpec) -> str:
        """The preset as written on cells for which there is no single run."""
        return describe(self._config(row, "refcoco" if row.train == OWN else row.train, 0))


def _run_cells(block: Block) -> Iterator[tuple[str, RowSpec, PrintedColumn]]:
    """Row key, row and column of the cells that are trained and scored here. A dash in print is no cell of ours."""
    table = block.table()
    for printed in table.rows:
        for column in table.columns:
            if printed.key in block.rows and not column.derived and printed.values[column.key] is not None:
                yield printed.key, block.rows[printed.key], column
