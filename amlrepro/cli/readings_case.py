"""What one call of `amlris readings` measures: its readings, its target, and the plans of its two phases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from amlrepro.cli.carry_out import WorkOptions
from amlrepro.cli.options import Opened, PlanOptions, open_plan
from amlrepro.errors import UserError
from amlrepro.suite.experiment import Experiment
from amlrepro.suite.plan import Plan
from amlrepro.suite.readings import TARGET, Catalogue, Reading, readings_experiment

COMMAND = "amlris readings"
KNOWN = "released"  # the target where printed numbers are none


@dataclass(frozen=True)
class Case:
    """chosen: the readings that are measured before training. target, target_seed: of a known answer, None for the
    usual ones. assume_data: plan on the official data without looking at any."""

    everything: Catalogue
    chosen: tuple[Reading, ...]
    options: PlanOptions
    work: WorkOptions
    target: str | None
    target_seed: int | None
    assume_data: bool

    def open(self, *, initial_only: bool = False, trained: Sequence[Reading] | None = None) -> Opened:
        """The plan of measuring before training, or of that and of training too, all of them or the `trained`; with the
        target's own run. Raises `UserError` for what cannot be measured, before anything is trained."""
        experiment = readings_experiment(self.everything, self.chosen, initial_only=initial_only, trained=trained)
        opened = self._open(experiment, self.options, self.assume_data)
        for cell in opened.plan.cells:
            if cell.kind == "unavailable":
                raise UserError("readings are measured on RefCOCO+ train and val", where=cell.column, found=cell.reason)
        known = self.known(opened.plan)
        if known is None:
            return opened
        own = readings_experiment(self.everything, [known], initial_only=initial_only, id_=TARGET)
        return self._with_target(opened, own)

    def known(self, plan: Plan) -> Reading | None:
        """The reading that stands in for the paper, None for the printed numbers: these are no target for small models
        and synthetic data."""
        name = self.target or (KNOWN if plan.watermark else None)
        return None if name is None else self.everything.pick([name], "--target")[0]

    def _open(self, experiment: Experiment, options: PlanOptions, assume_data: bool) -> Opened:
        work = self.work
        return open_plan(
            [experiment],
            options,
            command=COMMAND,
            device=work.device,
            processes=work.processes,
            assume_data=assume_data,
        )

    def _with_target(self, opened: Opened, experiment: Experiment) -> Opened:
        """The plan with the target's own run, whose seed is none of the readings'."""
        plan = opened.plan
        seed = max(plan.seeds) + 1 if self.target_seed is None else self.target_seed
        if seed in plan.seeds:
            expected = f"a seed other than {', '.join(map(str, plan.seeds))}"
            raise UserError(
                "a known target needs a run of its own", where="--target-seed", found=seed, expected=expected
            )
        more = self._open(experiment, replace(self.options, seeds=str(seed)), self.assume_data).plan
        merged = replace(
            plan,
            experiments=[*plan.experiments, *more.experiments],
            runs={**plan.runs, **more.runs},
            cells=[*plan.cells, *more.cells],
        )
        return replace(opened, plan=merged)
