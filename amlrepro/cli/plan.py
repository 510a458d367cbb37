"""`amlris plan`: what experiments would run, what is already there, and what the rest costs."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from amlrepro.cli.groups import with_groups
from amlrepro.cli.options import (
    Experiments,
    JsonOption,
    Opened,
    PlanOptions,
    hours_text,
    open_plan,
    say_headline,
    wide_console,
)
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
ABOUT = 9  # where their text begins, after `Shows    `
COLUMNS = ("run", "method", "epochs", "evals", "probes", "GPU h", "in the store", "feeds")
LEAST = ("probes", "evals", "method", "feeds")  # columns that go first where there is no room
GAP = 3  # between two columns


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
    say_headline(opened)
    print_plan(opened, summary)


def print_plan(opened: Opened, summary: PlanSummary) -> None:
    """The plan for people. What each experiment is about is told in full where there are few of them."""
    console = wide_console()
    several = len(opened.plan.experiments) > FEW
    for experiment in opened.plan.experiments:
        gap = "" if several else "\n"
        console.print(f"{gap}[bold]{experiment.id:<9}[/bold] {escape(experiment.title)}", soft_wrap=True)
        if not several:
            for line in _reflowed(experiment.comment, console.width if console.is_terminal else None):
                console.print(line, style="dim", markup=False, soft_wrap=True)
    console.print()
    console.print(_table(opened, summary, console.width))
    console.print()
    for line in _totals(opened, summary):
        console.print(line, highlight=False, soft_wrap=not console.is_terminal)


def _reflowed(text: str, width: int | None) -> list[str]:
    """The words of an experiment file (`Shows    ...`, with indented lines that go on) at a width; None: as they are.
    Lines that fit stay as they are."""
    if width is None or all(len(line) <= width for line in text.splitlines()):
        return text.splitlines()
    paragraphs: list[str] = []
    for line in text.splitlines():
        if line.startswith(" ") and paragraphs and paragraphs[-1]:
            paragraphs[-1] += f" {line.strip()}"
        else:
            paragraphs.append(line)
    indent = " " * ABOUT
    return [line for each in paragraphs for line in textwrap.wrap(each, width, subsequent_indent=indent) or [""]]


def _table(opened: Opened, summary: PlanSummary, width: int) -> Table:
    """What fits of the columns; the name of a run is never broken."""
    from rich import box
    from rich.table import Table

    several = len(opened.plan.experiments) > 1
    alike: dict[tuple[str, ...], list[RunSummary]] = {}
    for run in summary.runs:
        shown = (*_cells(run), _there(run), ", ".join(_feeds(run.planned, several)))
        alike.setdefault((_recipe(run), *shown), []).append(run)
    rows = [dict(zip(COLUMNS, (_names(runs), *shown[1:]), strict=True)) for shown, runs in alike.items()]
    names = _fitting(rows, width, [name for name in COLUMNS if name != "GPU h" or summary.hours is not None])
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in names:
        right = name in ("epochs", "evals", "probes", "GPU h")
        table.add_column(name, justify="right" if right else "left", no_wrap=right or name == "run")
    for row in rows:
        table.add_row(*(row[name] for name in names))
    shared = "Seeds of which the same is to be said share a line; the numbers are of each. "
    left_out = [name for name in LEAST if name not in names]
    table.caption = (shared if len(alike) < len(summary.runs) else "") + (
        f"In a wider terminal, and in --json: {', '.join(left_out)}." if left_out else ""
    )
    table.caption_justify = "left"
    return table


def _fitting(rows: Sequence[Mapping[str, str]], width: int, names: list[str]) -> list[str]:
    """The columns for which there is room where words are not broken, the least important left out first."""
    whole = {name for name in names if name not in ("method", "in the store", "feeds")}

    def least(name: str) -> int:
        parts = [part for row in rows for part in ([row[name]] if name in whole else row[name].split())]
        return max(map(len, [name, *parts]))

    for name in LEAST:
        if sum(least(each) + GAP for each in names) - GAP <= width:
            break
        names = [each for each in names if each != name]
    return names


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


def _cells(run: RunSummary) -> list[str]:
    planned = run.planned
    counts = [str(number) if number else "-" for number in (planned.until, len(planned.evals), len(planned.probes))]
    return [planned.preset, *counts, hours_text(run.hours) if run.hours is not None else "-"]


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
    left, unshared_hours = summary.hours_left or 0.0, summary.hours_unshared or 0.0
    unshared = f"; without sharing {hours_text(unshared_hours)}" if summary.asked > summary.trainings else ""
    rates = says(summary.rates, [run.planned for run in summary.runs])
    lines = [
        f"Training costs {hours_text(summary.hours)} {summary.rates.gpu} hours, {hours_text(left)} of them still to "
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
        f"With all measures for speed about {summary.hours_fast:.3g} h instead of {summary.hours_in_all:.3g}: "
        f"{', '.join(parts)}, as benched on {measures.device}."
    ]


def _hours(value: float | None) -> str:
    return "an unknown time" if value is None else f"{hours_text(value)} h"


def _third_way(error: UserError) -> UserError:
    """Planning has one more way on without a data root."""
    if "no data root is given" not in error.what:
        return error
    hint = f"{error.hint}; or plan without looking at data: --assume-data"
    return UserError(error.what, where=error.where, found=error.found, expected=error.expected, hint=hint)
