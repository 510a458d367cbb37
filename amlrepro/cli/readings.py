"""`amlris readings`: which reading of the method fits the statistics that the paper prints."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from amlrepro.cli.carry_out import WorkOptions, carry_out
from amlrepro.cli.groups import with_groups
from amlrepro.cli.lists import items
from amlrepro.cli.options import JsonOption, Opened, PlanOptions, wide_console
from amlrepro.cli.readings_case import KNOWN, Case
from amlrepro.errors import UserError
from amlrepro.launch.job import make_tasks
from amlrepro.suite.profile import load_profile
from amlrepro.suite.readings import catalogue
from amlrepro.suite.store import Store

if TYPE_CHECKING:
    from amlrepro.verdicts.readings import ReadingsReport, Screening

SEEDS = "0 1"


@with_groups
def readings(
    *,
    hours: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="A800 hours by the paper's rates: as many readings as fit are trained.",
            show_default="10, as the rule has it",
        ),
    ] = None,
    all_: Annotated[
        bool, typer.Option("--all", help="Train all readings: 42 A800 hours in the paper profile.")
    ] = False,
    readings: Annotated[
        str | None,
        typer.Option(
            "--readings", metavar="NAME ...", help="Only these, as inferred:tokens=real.", show_default="by the rule"
        ),
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
    """Measure every reading before training; train those that come near print for epoch 1, and rank them.

    Readings are the presets and all single-axis departures between them. Which are trained, and the distances, is fixed
    in experiments/paper/readings.yaml. With --json the result in the store is printed and nothing is run.
    """
    work.check()
    names = items(readings, "--readings")
    _check(names, all_, hours, assume_data and not work.dry_run)
    profile = load_profile(options.profile)
    if as_json_:
        _print_stored(Store(options.store, profile.id))
        return
    everything = catalogue(profile)
    options = replace(options, seeds=options.seeds or SEEDS)
    case = Case(everything, everything.pick(names), options, work, target, target_seed, assume_data)
    by_rule = not (names or all_)
    opened = case.open(initial_only=epoch0_only or by_rule)
    known = case.known(opened.plan)
    if known is not None and target is None:
        why = "printed numbers are no target for small models or synthetic data"
        typer.echo(f"note: {why}; the target is a run of {known.name} of its own, a known answer", err=True)
    if epoch0_only:
        _rank(case, opened, lambda: _screen(case, opened, hours) if by_rule else None, initial_only=True)
    elif by_rule:
        _in_two_phases(case, opened, hours)
    else:
        _rank(case, opened)


def _check(names: list[str], all_: bool, hours: float | None, assumed: bool) -> None:
    """Raise `UserError` for options that exclude each other."""
    if assumed:
        raise UserError("data are assumed for a plan only", where="--assume-data", expected="--dry-run beside it")
    if names and all_:
        raise UserError("either all readings or those that are named", where="--all", found="--readings beside it")
    if hours is not None and (names or all_):
        beside = f"{'--all' if all_ else '--readings'} beside it"
        raise UserError("hours choose only where nobody else does", where="--hours", found=beside)


def _in_two_phases(case: Case, first: Opened, hours: float | None) -> None:
    """Measure all before training, choose by the rule, train those. What is in the store is not done again, and what
    was measured gives the same choice again."""
    measured: list[bool] = []
    carry_out(first, case.work, lambda: measured.append(True))
    if case.work.dry_run:
        there = not (case.assume_data or make_tasks(first.store, first.plan.runs.values()))
        screening = _screen(case, first, hours) if there else None
        second, line = _second(case, screening), _chosen(screening) if screening else _to_choose(case, hours)
        carry_out(second, case.work, lambda: None, first_line=f"\n{line}")
    elif not measured:
        typer.echo("which readings are trained is chosen when all are measured: give the same command again then")
    else:
        screening = _screen(case, first, hours)
        _rank(case, _second(case, screening), lambda: screening, first_line=_chosen(screening))


def _screen(case: Case, opened: Opened, hours: float | None) -> Screening:
    from amlrepro.verdicts.readings import screen

    known = case.known(opened.plan)
    return screen(opened.store, opened.plan, case.chosen, target=known.name if known else None, hours=hours)


def _second(case: Case, screening: Screening | None) -> Opened:
    """The plan of the second phase; of those that are trained in any case where nothing is chosen yet."""
    from amlrepro.verdicts.readings import load_distances

    names = screening.trained if screening else load_distances().screening.always
    return case.open(trained=case.everything.pick(names))


def _chosen(screening: Screening) -> str:
    """What is trained, in a line."""
    names = ", ".join(screening.trained)
    more = ", more than given" if screening.exceeded else ""
    fits = f"{screening.spent:.1f} of {screening.hours:g} A800 hours by the paper's rates{more}"
    return f"{len(screening.trained)} of {len(screening.readings)} readings are trained: {names} ({fits})"


def _to_choose(case: Case, hours: float | None) -> str:
    """What is chosen when all are measured, in a line before the plan of what is trained in any case."""
    from amlrepro.verdicts.readings import load_distances, presets_alone

    hours = load_distances().screening.hours if hours is None else hours
    spent, cheapest, dearest = presets_alone(len(case.open(initial_only=True).plan.seeds))
    presets = f"then the presets are trained, {spent:.1f} A800 hours by the paper's rates with all that is measured"
    if spent > hours:
        return f"{presets}, which is more than the {hours:g} given:"
    return (
        f"{presets}, and of their departures the nearest before training, as many as fit into {hours:g} h: "
        f"{hours - spent:.1f} h are left, and one takes {cheapest:.1f} h, with the joint step {dearest:.1f} h. "
        "Without departures:"
    )


def _rank(
    case: Case,
    opened: Opened,
    screening: Callable[[], Screening | None] = lambda: None,
    *,
    initial_only: bool = False,
    first_line: str | None = None,
) -> None:
    """Carry the plan out, rank, keep the result in the store, and print it. Raises `UserError` where there is nothing
    to rank, after runs that failed are told of."""
    errors: list[UserError] = []

    def show() -> None:
        try:
            _show(case, opened, screening(), initial_only)
        except UserError as error:
            errors.append(error)

    carry_out(opened, case.work, show, first_line=first_line)
    if errors:
        raise errors[0]


def _show(case: Case, opened: Opened, screening: Screening | None, initial_only: bool) -> None:
    from amlrepro.verdicts.readings import evaluate_readings, nothing_measured, write_readings

    known = case.known(opened.plan)
    target = known.name if known else None
    trained = case.everything.pick(screening.trained) if screening and not initial_only else case.chosen
    report = evaluate_readings(
        opened.store,
        opened.plan,
        case.everything,
        trained,
        target=target,
        initial_only=initial_only,
        screening=screening,
    )
    if not report.ranked:
        raise nothing_measured((reading.reason for reading in report.readings), target)
    path = write_readings(opened.store, report)
    print_readings(report)
    wide_console().print(f"kept in {path}", style="dim", soft_wrap=True, markup=False)


def _print_stored(store: Store) -> None:
    from amlrepro.verdicts.readings import as_json, read_readings, result_path

    report = read_readings(store)
    if report is None:
        raise UserError("no readings have been ranked yet", where=result_path(store), hint="run amlris readings first")
    typer.echo(json.dumps(as_json(report), indent=1, ensure_ascii=False))


def print_readings(report: ReadingsReport) -> None:
    """The ranking, the nearest reading statistic by statistic, who was trained, and what follows, at the terminal's
    width."""
    from amlrepro.cli.readings_view import ranking_table, screening_table, statistics_table

    console = wide_console()
    tables = [ranking_table(report, console.width), statistics_table(report, console.width)]
    if report.screening is not None:
        tables.append(screening_table(report.screening))
    for table in tables:
        console.print()
        console.print(table)
    console.print()
    for sentence in report.text:
        console.print(sentence, highlight=False, markup=False)
