"""`amlris plan`: what experiments would run, what is already there, and what the rest costs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from amlrepro.cli.groups import with_groups
from amlrepro.cli.options import Experiments, JsonOption, Opened, PlanOptions, headline, open_plan, wide_console
from amlrepro.errors import UserError
from amlrepro.models.registry import get_spec
from amlrepro.suite.cost import ESTIMATED
from amlrepro.suite.experiment import load_experiments
from amlrepro.suite.plan import PlannedRun
from amlrepro.suite.summary import PlanSummary, as_json, summarize
from amlrepro.suite.weights import missing_weights

if TYPE_CHECKING:
    from rich.table import Table


@with_groups
def plan(
    experiments: Experiments,
    options: PlanOptions,
    assume_data: Annotated[
        bool, typer.Option("--assume-data", help="Plan on the official data sets without looking at any data.")
    ] = False,
    as_json_: JsonOption = False,
) -> None:
    """Show the unique trainings and evaluations, what is already in the store, and the cost in A800 hours."""
    command = f"amlris plan {' '.join(experiments)}"
    try:
        opened = open_plan(load_experiments(experiments), options, command=command, assume_data=assume_data)
    except UserError as error:
        raise _third_way(error) from None
    summary = summarize(opened.plan, None if opened.inputs.assumed else opened.store)
    if as_json_:
        typer.echo(json.dumps(as_json(opened.plan, summary), indent=1))
        return
    typer.echo(headline(opened))
    print_plan(opened, summary)


def print_plan(opened: Opened, summary: PlanSummary) -> None:
    """The plan for people."""
    console = wide_console()
    for experiment in opened.plan.experiments:
        console.print(f"\n[bold]{experiment.id}[/bold]  {experiment.title}")
        console.print(experiment.comment, style="dim", markup=False, soft_wrap=True)
    console.print()
    console.print(_table(opened, summary))
    for line in _totals(opened, summary):
        console.print(line, highlight=False, soft_wrap=True)


def _table(opened: Opened, summary: PlanSummary) -> Table:
    from rich import box
    from rich.table import Table

    costs = summary.hours is not None
    several = len(opened.plan.experiments) > 1
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("run", overflow="fold")
    table.add_column("method")
    table.add_column("epochs", justify="right")
    table.add_column("evaluations", justify="right")
    if costs:
        table.add_column("A800 h", justify="right")
    table.add_column("in the store")
    table.add_column("feeds", overflow="fold")
    for run in summary.runs:
        state = f"{run.state}, epoch {run.epoch}, {run.evals_there} evaluated"
        there = "-" if run.state in ("absent", "unknown") else state
        cells = [run.planned.run_id, run.planned.preset, str(run.planned.until), str(len(run.planned.evals))]
        cells += [f"{run.hours:.1f}" if run.hours is not None else "-"] if costs else []
        table.add_row(*cells, there, ", ".join(_feeds(run.planned, several)))
    return table


def _feeds(planned: PlannedRun, several: bool) -> list[str]:
    """Blocks and checks that need a run, without the row's name, and without that of the only experiment."""
    parts = [user.split("/") for user in planned.used_by]
    return list(dict.fromkeys("/".join(part[:2]) if several else part[1] for part in parts))


def _totals(opened: Opened, summary: PlanSummary) -> list[str]:
    cells = sum(cell.kind == "measured" for cell in opened.plan.cells)
    evaluations = f"{summary.evals} evaluations ({summary.evals_there} there) for {cells} cells"
    lines = [
        "",
        f"{len(summary.runs)} unique trainings, {evaluations}; without sharing {summary.rows_served} trainings.",
    ]
    if summary.hours is not None:
        estimated = {run.planned.config.model.name for run in summary.runs if run.hours is not None} & {*ESTIMATED}
        lines.append(
            f"Training costs {summary.hours:.1f} A800 hours by the paper's rates (Table 9), {summary.hours_left:.1f} "
            f"of them still to do; without sharing {summary.hours_unshared:.1f}."
        )
        lines += [
            f"{get_spec(name).title} has no printed rate; its cost is estimated from CARIS's." for name in estimated
        ]
    else:
        lines.append("The paper's rates say nothing about models of this size; no cost is given.")
    lines += [f"Not available: {reason}" for reason in summary.unavailable]
    if opened.inputs.assumed:
        lines.append("No data were looked at: run ids are provisional, and the store was not consulted.")
    else:
        missing = {needed.name for run in summary.runs for needed in missing_weights(run.planned.config)}
        lines += [f"Pretrained weights {name} are not on this machine: run ids are provisional." for name in missing]
    return lines


def _third_way(error: UserError) -> UserError:
    """Planning has one more way on without a data root."""
    if "no data root is given" not in error.what:
        return error
    hint = f"{error.hint}; or plan without looking at data: --assume-data"
    return UserError(error.what, where=error.where, found=error.found, expected=error.expected, hint=hint)
