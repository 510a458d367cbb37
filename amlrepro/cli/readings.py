"""`amlris readings`: which reading of the method fits the statistics that the paper prints."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from amlrepro.cli.carry_out import WorkOptions, carry_out
from amlrepro.cli.groups import with_groups
from amlrepro.cli.lists import items
from amlrepro.cli.options import JsonOption, Opened, PlanOptions, open_plan, wide_console
from amlrepro.errors import UserError
from amlrepro.suite.experiment import Experiment
from amlrepro.suite.profile import load_profile
from amlrepro.suite.readings import TARGET, Catalogue, Reading, catalogue, readings_experiment
from amlrepro.suite.store import Store

if TYPE_CHECKING:
    from amlrepro.verdicts.readings import ReadingsReport

SEEDS = "0 1"
KNOWN = "released"  # the target where printed numbers are none


@with_groups
def readings(
    *,
    readings: Annotated[
        str | None,
        typer.Option("--readings", metavar="NAME ...", help="Only these, as inferred:tokens=real.", show_default="all"),
    ] = None,
    epoch0_only: Annotated[
        bool, typer.Option("--epoch0-only", help="Measure before training and train nothing: minutes, a first look.")
    ] = False,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A reading whose own run, with another seed, stands in for the paper: a known answer.",
            show_default=f"the printed numbers; on synthetic data or with small models {KNOWN}",
        ),
    ] = None,
    target_seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of the known target.", show_default="the one after the last")
    ] = None,
    assume_data: Annotated[
        bool, typer.Option("--assume-data", help="With --dry-run: plan on the official data without looking at any.")
    ] = False,
    options: PlanOptions,
    work: WorkOptions,
    as_json_: JsonOption = False,
) -> None:
    """Measure every reading before training and after epoch 1, and rank them by their distance from print.

    Readings are the presets and all single-axis departures between them. The distances are fixed in
    experiments/paper/readings.yaml. With --json the result in the store is printed and nothing is run.
    """
    work.check()
    if assume_data and not work.dry_run:
        raise UserError("data are assumed for a plan only", where="--assume-data", expected="--dry-run beside it")
    profile = load_profile(options.profile)
    if as_json_:
        _print_stored(Store(options.store, profile.id))
        return
    everything = catalogue(profile)
    chosen = everything.pick(items(readings, "--readings"))
    options = replace(options, seeds=options.seeds or SEEDS)
    command = "amlris readings"
    experiment = readings_experiment(everything, chosen, initial_only=epoch0_only)
    opened = open_plan(
        [experiment],
        options,
        command=command,
        device=work.device,
        processes=work.processes,
        assume_data=assume_data,
    )
    _check_measurable(opened)
    known = _known(everything, target, opened)
    if known is not None:
        experiment = readings_experiment(everything, [known], initial_only=epoch0_only, id_=TARGET)
        opened = _with_target(opened, experiment, options, work, target_seed)
    if known is not None and target is None:
        why = "printed numbers are no target for small models or synthetic data"
        typer.echo(f"note: {why}; the target is a run of {known.name} of its own, a known answer", err=True)
    carry_out(opened, work, lambda: _show(opened, everything, chosen, known, epoch0_only))


def _known(everything: Catalogue, target: str | None, opened: Opened) -> Reading | None:
    """The reading that stands in for the paper, None for the printed numbers: these are no target for small models."""
    name = target or (KNOWN if opened.plan.watermark else None)
    return None if name is None else everything.pick([name], "--target")[0]


def _check_measurable(opened: Opened) -> None:
    """Raise `UserError` before anything is trained for what cannot be measured afterwards."""
    for cell in opened.plan.cells:
        if cell.kind == "unavailable":
            raise UserError("readings are measured on RefCOCO+ train and val", where=cell.column, found=cell.reason)


def _with_target(
    opened: Opened, experiment: Experiment, options: PlanOptions, work: WorkOptions, seed: int | None
) -> Opened:
    """The plan with the target's own run, whose seed is none of the readings'."""
    plan = opened.plan
    seed = max(plan.seeds) + 1 if seed is None else seed
    if seed in plan.seeds:
        expected = f"a seed other than {', '.join(map(str, plan.seeds))}"
        raise UserError("a known target needs a run of its own", where="--target-seed", found=seed, expected=expected)
    chosen = replace(options, seeds=str(seed))
    more = open_plan([experiment], chosen, command="amlris readings", device=work.device, processes=work.processes).plan
    merged = replace(
        plan,
        experiments=[*plan.experiments, *more.experiments],
        runs={**plan.runs, **more.runs},
        cells=[*plan.cells, *more.cells],
    )
    return replace(opened, plan=merged)


def _print_stored(store: Store) -> None:
    from amlrepro.verdicts.readings import as_json, read_readings, result_path

    report = read_readings(store)
    if report is None:
        raise UserError("no readings have been ranked yet", where=result_path(store), hint="run amlris readings first")
    typer.echo(json.dumps(as_json(report), indent=1, ensure_ascii=False))


def _show(
    opened: Opened, everything: Catalogue, chosen: Sequence[Reading], known: Reading | None, initial_only: bool
) -> None:
    """Rank, keep the result in the store, and print it."""
    from amlrepro.verdicts.readings import evaluate_readings, write_readings

    report = evaluate_readings(
        opened.store,
        opened.plan,
        everything,
        chosen,
        target=known.name if known else None,
        initial_only=initial_only,
    )
    path = write_readings(opened.store, report)
    print_readings(report)
    wide_console().print(f"kept in {path}", style="dim", soft_wrap=True, markup=False)


def print_readings(report: ReadingsReport) -> None:
    """The ranking, the nearest reading statistic by statistic, and what follows, at the terminal's width."""
    from amlrepro.cli.readings_view import ranking_table, statistics_table

    console = wide_console()
    console.print()
    if report.ranked:
        console.print(ranking_table(report, console.width))
        console.print()
        console.print(statistics_table(report, console.width))
        console.print()
    for sentence in report.text:
        console.print(sentence, highlight=False, markup=False)
