"""From experiment files to a plan: resolve every row, merge equal runs, and trace each cell to its evaluations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from amlrepro.aml.presets import READINGS, describe
from amlrepro.config import EvalConfig, RunConfig
from amlrepro.data.specs import check_split
from amlrepro.errors import UserError, unknown_name
from amlrepro.models.registry import get_spec
from amlrepro.suite.cost import training_hours
from amlrepro.suite.experiment import AML, OWN, Block, Experiment, LanguageCheck, Metric, RowSpec
from amlrepro.suite.inputs import Inputs
from amlrepro.suite.plan import Cell, Plan, PlannedCheck, PlannedRun, Request
from amlrepro.suite.printed import PrintedColumn
from amlrepro.suite.profile import ProfileSpec, check_overrides, resolve


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
        for block in experiment.blocks:
            builder.add_block(experiment, block)
        builder.add_checks(experiment)
    return plan


class _Builder:
    """Adds blocks and checks to a plan."""

    def __init__(self, plan: Plan, profile: ProfileSpec, inputs: Inputs, choices: Choices) -> None:
        self.plan = plan
        self.profile = profile
        self.inputs = inputs
        self.choices = choices

    def add_block(self, experiment: Experiment, block: Block) -> None:
        """Add every cell of a block, row by row in printed order, with the runs they need."""
        table = block.table()
        for printed in table.rows:
            row = block.rows.get(printed.key)
            for column in table.columns:
                names = (experiment.id, block.id, printed.key, column.key)
                metric = column.metric if column.metric in get_args(Metric) else block.metric
                if row is None:
                    cell = Cell(*names, metric, "printed")
                elif column.derived:
                    parts = tuple(c.key for c in table.columns if not c.derived)
                    cell = Cell(*names, metric, "average", parts=parts, preset=self._preset(row))
                else:
                    cell = self._measured(names, metric, row, column)
                self.plan.cells.append(cell)

    def add_checks(self, experiment: Experiment) -> None:
        """Add the experiment's checks and the evaluations that only they need."""
        for name, check in experiment.checks.items():
            row = experiment.block(check.block).rows[check.row]
            user = f"{experiment.id}/{name}"
            if isinstance(check, LanguageCheck):
                check_split(check.dataset, check.split)
                runs, reason = self._runs(row, check.dataset, user)
                reason = reason or self.inputs.reason(check.dataset, check.split)
                if reason:
                    planned = PlannedCheck(experiment.id, name, check, reason=reason)
                else:
                    own = tuple(self._request(run, check.dataset, check.split, "own") for run in runs)
                    other = tuple(self._request(run, check.dataset, check.split, "other") for run in runs)
                    planned = PlannedCheck(experiment.id, name, check, own, other)
            else:
                planned = self._masking(experiment, name, user)
            self.plan.checks.append(planned)

    def _masking(self, experiment: Experiment, name: str, user: str) -> PlannedCheck:
        check = experiment.checks[name]
        block = experiment.block(check.block)
        row = block.rows[check.row]
        runs: dict[str, None] = {}
        reasons: list[str] = []
        for dataset in dict.fromkeys(c.dataset for c in block.table().columns if c.dataset):
            found, reason = self._runs(row, dataset, user)
            runs.update((run.run_id, None) for run in found)
            reasons += [reason] if reason else []
        reason = None if runs else reasons[0]
        return PlannedCheck(experiment.id, name, check, run_ids=tuple(runs), reason=reason)

    def _measured(self, names: tuple[str, str, str, str], metric: str, row: RowSpec, column: PrintedColumn) -> Cell:
        dataset, split = str(column.dataset), str(column.split)
        check_split(dataset, split)
        runs, reason = self._runs(row, dataset, "/".join(names[:3]))
        reason = reason or self.inputs.reason(dataset, split)
        if reason:
            return Cell(*names, metric, "unavailable", preset=self._preset(row), reason=reason)
        requests = tuple(self._request(run, dataset, split, "own") for run in runs)
        return Cell(*names, metric, "measured", requests, preset=runs[0].preset)

    def _runs(self, row: RowSpec, dataset: str, user: str) -> tuple[list[PlannedRun], str | None]:
        """The runs (one a seed) of a row for a column's data set, or none and the reason."""
        train = dataset if row.train == OWN else row.train
        reason = self.inputs.reason(train, "train")
        if reason:
            return [], reason
        runs = [self._run(self.inputs.complete(self._config(row, train, seed))) for seed in self.plan.seeds]
        for run in runs:
            if user not in run.used_by:
                run.used_by.append(user)
        return runs, None

    def _run(self, config: RunConfig) -> PlannedRun:
        known = self.plan.runs.get(config.run_id)
        if known is not None:
            return known
        until = config.train.horizon if config.exec.until is None else config.exec.until
        if not 1 <= until <= config.train.horizon:
            expected = f"1 to {config.train.horizon}, the schedule's horizon"
            raise UserError("a run cannot be that long", where="exec.until", found=until, expected=expected)
        milestones = tuple(sorted({*config.exec.milestones, *([until] if until < config.train.horizon else [])}))
        config = config.with_changes({"exec.until": until, "exec.milestones": milestones})
        refs = self.inputs.train_refs(config.data.train, config.data.split_by)
        hours = training_hours(config, until, refs)
        run = PlannedRun(config, describe(config), until, milestones, cost_hours=hours, refs=refs)
        self.plan.runs[config.run_id] = run
        return run

    def _config(self, row: RowSpec, train: str, seed: int) -> RunConfig:
        return resolve(
            self.profile,
            row.model,
            self._preset_name(row),
            train,
            seed,
            source=self.inputs.source,
            row=row.set,
            overrides=self.choices.overrides,
            execution=self.inputs.execution(),
        )

    def _request(self, run: PlannedRun, dataset: str, split: str, text: str) -> Request:
        evaluation = EvalConfig.model_validate(
            {
                "dataset": dataset,
                "split": split,
                "resolution": self.profile.resolution or get_spec(run.config.model.name).protocol.scoring,
                "text": text,
                "checkpoint": "last" if run.until == run.config.train.horizon else f"epoch{run.until}",
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
