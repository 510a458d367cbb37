"""The runs that a plan asks for, and what is asked of each: epochs, evaluations, probes, weights to keep."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from amlrepro.aml.presets import describe
from amlrepro.config import EvalConfig, RunConfig
from amlrepro.data.specs import check_split
from amlrepro.errors import UserError
from amlrepro.models.registry import get_spec
from amlrepro.suite.cellspec import CellSpec, ProbeSpec
from amlrepro.suite.checkpoints import checkpoint_name, epoch_of, length
from amlrepro.suite.cost import evaluation_hours, probe_hours, training_hours, validation_hours
from amlrepro.suite.experiment import Experiment, RowSpec
from amlrepro.suite.figures import MapsFigure
from amlrepro.suite.inputs import Inputs
from amlrepro.suite.pairing import why_untrainable
from amlrepro.suite.plan import AnyRequest, HistoryRequest, Plan, PlannedRun, ProbeRequest, Request
from amlrepro.suite.probing import resolve_probe
from amlrepro.suite.profile import ProfileSpec
from amlrepro.suite.rows import Rows, trained_on


class Asking:
    """Gathers what is asked of runs, and enters it into them by `finish`."""

    def __init__(self, plan: Plan, profile: ProfileSpec, inputs: Inputs, rows: Rows) -> None:
        self.plan = plan
        self.profile = profile
        self.inputs = inputs
        self.rows = rows
        self._planned: dict[int, PlannedRun] = {}  # by identity of the configuration, each of which is made once
        self._asked: set[tuple[str, EvalConfig]] = set()  # evaluations that are in their run already
        self._scored: dict[str, set[int]] = {}  # by run: epochs whose weights are evaluated or probed
        self._reached: dict[str, set[int]] = {}  # by run: epochs that are only to be trained (their history is read)
        self._kept: dict[str, set[int]] = {}  # by run: epochs whose weights other experiments will need

    def keep_for(self, experiment: Experiment) -> None:
        """Have runs of this plan keep the weights that another experiment asks of them, so that nothing is trained
        twice when that one is run later. An experiment that these choices rule out asks for nothing."""
        with contextlib.suppress(UserError):
            for row, train, checkpoint in _weights_of(experiment):
                if self.inputs.reason(train, "train") is None:
                    for seed in self.plan.seeds:
                        config = self.rows.config(row, train, seed)
                        self._kept.setdefault(config.run_id, set()).add(epoch_of(config, checkpoint))

    def unusable(self, row: RowSpec, spec: CellSpec) -> str | None:
        """Why the data that a cell is measured on cannot be used; None when they can."""
        dataset, split = spec.dataset, spec.split
        if spec.probe is not None:
            dataset, split = spec.probe.dataset, spec.probe.split
        if spec.history is not None or dataset is None or split is None:
            return None
        check_split(dataset, split)
        return self.inputs.reason(dataset, split)

    def runs(self, row: RowSpec, dataset: str, user: str, spec: CellSpec) -> tuple[list[PlannedRun], str | None]:
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
                epochs = self._scored if spec.history is None else self._reached
                epochs.setdefault(run.run_id, set()).add(epoch)
            if user not in run.used_by:
                run.used_by.append(user)
        return runs, None

    def ask(self, run: PlannedRun, row: RowSpec, spec: CellSpec) -> AnyRequest:
        """Enter into a run what a cell needs of it."""
        checkpoint = str(spec.checkpoint)
        if spec.probe is not None:
            return self.probe(run, row, spec.probe, checkpoint)
        if spec.history is not None:
            return HistoryRequest(run.run_id, epoch_of(run.config, checkpoint), spec.history)
        return self.request(run, spec)

    def request(self, run: PlannedRun, spec: CellSpec, text: str = "own") -> Request:
        """Enter an evaluation of a run into it. text: whose sentences, `own` or `other`."""
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
        if (run.run_id, evaluation) not in self._asked:
            self._asked.add((run.run_id, evaluation))
            run.evals.append(evaluation)
        return Request(run.run_id, evaluation)

    def probe(self, run: PlannedRun, row: RowSpec, spec: ProbeSpec, checkpoint: str) -> ProbeRequest:
        """Enter a probe of a run into it, measured with the method that the probe names, else with the run's."""
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

    def finish(self) -> None:
        """Enter into every run how far it goes and what it keeps, and what that costs."""
        for run in self.plan.runs.values():
            horizon, longest = run.config.train.horizon, length(run.config)
            wanted = {*self._scored.get(run.run_id, ()), *run.config.exec.milestones}
            furthest = max({0, *wanted, *self._reached.get(run.run_id, ())})
            run.until = longest if run.config.exec.until is not None and furthest else furthest
            run.milestones = tuple(sorted(epoch for epoch in wanted if epoch < horizon))
            later = {epoch for epoch in self._kept.get(run.run_id, ()) if epoch < horizon}
            keep = tuple(sorted({*run.milestones, *later}))
            run.config = run.config.with_changes({"exec.until": run.until, "exec.milestones": keep})
            run.cost_hours = training_hours(run.config, run.until, run.refs)
            run.validation_hours = validation_hours(run.config, run.until, self.inputs.counts)
            run.evaluation_hours = evaluation_hours(run.config, run.evals, self.inputs.counts)
            run.probe_hours = probe_hours(run.config, run.probes)

    def _run(self, config: RunConfig) -> PlannedRun:
        if id(config) not in self._planned:
            refs = self.inputs.train_refs(config.data.train, config.data.split_by)
            run = PlannedRun(config, describe(config), config.train.horizon, refs=refs)
            self._planned[id(config)] = self.plan.runs.setdefault(run.run_id, run)
        return self._planned[id(config)]


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
