"""`amlris run`: everything for some tables or figures, and nothing twice: plan, train, evaluate, report."""

from __future__ import annotations

from amlrepro.cli.carry_out import WorkOptions, carry_out
from amlrepro.cli.groups import with_groups
from amlrepro.cli.options import Experiments, PlanOptions, open_plan
from amlrepro.cli.report import report_plan
from amlrepro.suite.experiment import load_experiments


@with_groups
def run(experiments: Experiments, options: PlanOptions, work: WorkOptions) -> None:
    """Train and evaluate what the experiments still miss, then print their tables and write them to files."""
    work.check()
    command = f"amlris run {' '.join(experiments)}"
    opened = open_plan(
        load_experiments(experiments), options, command=command, device=work.device, processes=work.processes
    )
    carry_out(opened, work, lambda: report_plan(opened))
