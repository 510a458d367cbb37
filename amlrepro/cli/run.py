"""`amlris run`: everything for some tables or figures, and nothing twice: plan, train, evaluate, report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from amlrepro.cli.carry_out import WorkOptions, carry_out
from amlrepro.cli.groups import with_groups
from amlrepro.cli.options import Experiments, PlanOptions, open_plan
from amlrepro.cli.report import report_plan
from amlrepro.cli.until_decided import UntilDecided
from amlrepro.suite.chosen import read_chosen, reduce_plan
from amlrepro.suite.experiment import load_experiments


@with_groups
def run(
    experiments: Experiments,
    options: PlanOptions,
    work: WorkOptions,
    chosen: Annotated[
        Path | None, typer.Option("--chosen", metavar="FILE", help="Only what amlris plan --budget --write chose.")
    ] = None,
    until_decided: Annotated[
        bool,
        typer.Option(
            "--until-decided", help="Three seeds first; of the others only those that can still change a verdict."
        ),
    ] = False,
) -> None:
    """Train and evaluate what the experiments still miss, then print their tables and write them to files."""
    work.check()
    wanted = read_chosen(chosen) if chosen is not None else None
    command = f"amlris run {' '.join(experiments)}"
    opened = open_plan(
        load_experiments(experiments), options, command=command, device=work.device, processes=work.processes
    )
    if wanted is not None:
        opened = replace(opened, plan=reduce_plan(opened.plan, wanted, opened.store, chosen))
    looks = UntilDecided(opened) if until_decided else None
    carry_out(opened, work, lambda: report_plan(opened), looks)
