"""`amlris plan`: what experiments would run, what is already there, and what the rest costs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from amlrepro.cli.groups import with_groups
from amlrepro.cli.options import Experiments, JsonOption, Opened, PlanOptions, headline, open_plan, wide_console
from amlrepro.errors import UserError
from amlrepro.models.registry import get_spec
from amlrepro.suite.cost import ESTIMATED
from amlrepro.suite.experiment import load_experiments
from amlrepro.suite.plan import PlannedRun
from amlrepro.suite.rates import measure_rates, says
from amlrepro.suite.summary import PlanSummary, RunSummary, as_json, summarize
from amlrepro.suite.weights import missing_weights

if TYPE_CHECKING:
    from rich.table import Table

FEW = 3  # experiments whose own words are printed


@with_groups
def plan(
    experiments: Experiments,
    options: PlanOptions,
    assume_data: Annotated[
        bool, typer.Option("--assume-data", help="Plan on the official data sets without looking at any data.")
    ] = False,
    budget: Annotated[
        str | None,
        typer.Option("--budget", metavar="HOURS", help="Choose what so many GPU hours decide, as 100h (or 90min, 3d)."),
    ] = None,
    write: Annotated[
        Path | None, typer.Option("--write", metavar="FILE", help="With --budget: keep the choice for `run --chosen`.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="With --write: overwrite another choice.")] = False,
    as_json_: JsonOption = False,
) -> None:
    """Show the unique trainings and evaluations, what is already in the store, and the cost in GPU hours.

    With --budget: the runs and seeds that decide most claims of the paper for so many GPU hours.
    """
    if budget is None and (write is not None or force):
        raise UserError("only a budget chooses", where="--write" if write else "--force", expected="--budget beside it")
    command = f"amlris plan {' '.join(experiments)}"
    if budget is not None:
        from amlrepro.cli.budget import parse_budget, seeds_for, show_budget

        hours, options = parse_budget(budget), seeds_for(options)
    try:
        opened = open_plan(load_experiments(experiments), options, command=command, assume_data=assume_data)
    except UserError as error:
        raise _third_way(error) from None
    if budget is not None:
        show_budget(opened, options, experiments, hours, write, as_json_, force)
        return
    rates = measure_rates(opened.store)
    summary = summarize(opened.plan, None if opened.inputs.assumed else opened.store, rates)
    if as_json_:
        typer.echo(json.dumps(as_json(opened.plan, summary), indent=1))
        return
    typer.echo(headline(opened))
    print_plan(opened, summary)


def print_plan(opened: Opened, summary: PlanSummary) -> None:
    """The plan for people. What each experiment is about is told in full where there are few of them."""
    console = wide_console()
    several = len(opened.plan.experiments) > FEW
    for experiment in opened.plan.experiments:
        gap = "" if several else "\n"
        console.print(f"{gap}[bold]{experiment.id:<9}[/bold] {escape(experiment.title)}", soft_wrap=True)
        if not several:
            console.print(experiment.comment, style="dim", markup=False, soft_wrap=True)
    console.print()
    console.print(_table(opened, summary))
    console.print()
    for line in _totals(opened, summary):
        console.print(line, highlight=False, soft_wrap=True)


def _table(opened: Opened, summary: PlanSummary) -> Table:
    from rich import box
    from rich.table import Table

    costs = summary.hours is not None
    several = len(opened.plan.experiments) > 1
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("run", no_wrap=True)
    table.add_column("method")
    for name in ("epochs", "evals", "probes", *(["GPU h"] if costs else [])):
        table.add_column(name, justify="right")
    table.add_column("in the store")
    table.add_column("feeds", overflow="fold")
    alike: dict[tuple[str, ...], list[RunSummary]] = {}
    for run in summary.runs:
        shown = (_recipe(run), *_cells(run, costs), _there(run), ", ".join(_feeds(run.planned, several)))
        alike.setdefault(shown, []).append(run)
    for shown, runs in alike.items():
        table.add_row(_names(runs), *shown[1:])
    if len(alike) < len(summary.runs):
        table.caption = "Seeds of which the same is to be said share a line; the numbers are of each."
        table.caption_justify = "left"
    return table


def _recipe(run: RunSummary) -> str:
    return run.planned.run_id.rpartition("-s")[0]


def _names(runs: list[RunSummary]) -> str:
    """Ids of runs that differ in their seed, as a shell expands them: `caris-plain-...-s{0..16}`."""
    seeds = sorted(run.planned.config.seed for run in runs)
    if len(seeds) == 1:
        return runs[0].planned.run_id
    follow = len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1))
    said = f"{seeds[0]}..{seeds[-1]}" if follow else ",".join(map(str, seeds))
    return f"{_recipe(runs[0])}-s{{{said}}}"


def _cells(run: RunSummary, costs: bool) -> list[str]:
    planned = run.planned
    counts = [str(number) if number else "-" for number in (planned.until, len(planned.evals), len(planned.probes))]
    hours = [f"{run.hours:.1f}" if run.hours is not None else "-"] if costs else []
    return [planned.preset, *counts, *hours]


def _there(run: RunSummary) -> str:
    """What the store has of a run, in words."""
    if run.state in ("absent", "unknown"):
        return "-"
    parts = [f"{run.state}, epoch {run.epoch}", f"{run.evals_there} evaluated"]
    return ", ".join([*parts, f"{run.probes_there} probed"] if run.planned.probes else parts)


def _feeds(planned: PlannedRun, several: bool) -> list[str]:
    """Tables and figures that need a run; of an only one, its blocks and checks."""
    parts = [user.split("/") for user in planned.used_by]
    return list(dict.fromkeys(part[0] if several else part[1] for part in parts))


def _totals(opened: Opened, summary: PlanSummary) -> list[str]:
    experiments = len(opened.plan.experiments)
    rows = f"{summary.rows_served} rows that are trained"
    asking = (
        f"{experiments} tables and figures with {rows} ask for {summary.asked} trainings; " if experiments > 1 else ""
    )
    done = "" if opened.inputs.assumed else f", {summary.trainings_done} of them done"
    one = "" if experiments > 1 else f" for {rows}"
    lines = [f"{asking}{summary.trainings} unique trainings{one}{done}."]
    cells = sum(cell.kind not in ("printed", "unavailable") for cell in opened.plan.cells)
    there = (
        ("", "") if opened.inputs.assumed else (f" ({summary.evals_there} there)", f" ({summary.probes_there} there)")
    )
    lines.append(f"{summary.evals} evaluations{there[0]} and {summary.probes} probes{there[1]} for {cells} cells.")
    lines += _costs(summary)
    lines += [f"Not available: {reason}" for reason in summary.unavailable]
    if opened.inputs.assumed:
        lines.append("No data were looked at: run ids are provisional, and the store was not consulted.")
    else:
        missing = {needed.name for run in summary.runs for needed in missing_weights(run.planned.config)}
        lines += [f"Pretrained weights {name} are not on this machine: run ids are provisional." for name in missing]
    return lines


def _costs(summary: PlanSummary) -> list[str]:
    if summary.hours is None:
        return [
            "The paper's rates say nothing about models of this size, and none has been trained here: no cost is given."
        ]
    unshared = f"; without sharing {summary.hours_unshared:.1f}" if summary.asked > summary.trainings else ""
    rates = says(summary.rates, [run.planned for run in summary.runs])
    lines = [
        f"Training costs {summary.hours:.1f} {summary.rates.gpu} hours, {summary.hours_left:.1f} of them still to "
        f"do{unshared}, by {rates}.",
        f"Scoring costs about {_hours(summary.evaluation_hours)} for evaluations, {_hours(summary.validation_hours)} "
        f"for validation while training and {_hours(summary.probe_hours)} for probes: our estimate, a third of the "
        "training rate for each sample.",
    ]
    lines += _with_measures(summary)
    if summary.rates.others:
        lines.append(f"Runs on {', '.join(summary.rates.others)} are in the store too; their pace is not used.")
    if summary.rates.measured:
        return lines
    estimated = {run.planned.config.model.name for run in summary.runs if run.hours is not None} & {*ESTIMATED}
    return lines + [
        f"{get_spec(name).title} has no printed rate; its cost is estimated from CARIS's." for name in estimated
    ]


def _with_measures(summary: PlanSummary) -> list[str]:
    """What all of it costs with the measures for speed, where they were benched."""
    measures = summary.measures
    if measures is None or summary.hours_fast is None or summary.hours_in_all is None:
        return ["What a run costs on this device, and what the measures for speed save, is measured by: amlris bench"]
    parts = []
    if measures.training:
        parts.append(f"a step {measures.training:.2f} x as fast (--set train.numerics=fast)")
    if measures.evaluation:
        parts.append(f"CARIS's evaluations {measures.evaluation:.2f} x (always on)")
    return [
        f"With all measures for speed about {summary.hours_fast:.1f} h instead of {summary.hours_in_all:.1f}: "
        f"{', '.join(parts)}, as benched on {measures.device}."
    ]


def _hours(value: float | None) -> str:
    return "an unknown time" if value is None else f"{value:.1f} h"


def _third_way(error: UserError) -> UserError:
    """Planning has one more way on without a data root."""
    if "no data root is given" not in error.what:
        return error
    hint = f"{error.hint}; or plan without looking at data: --assume-data"
    return UserError(error.what, where=error.where, found=error.found, expected=error.expected, hint=hint)
