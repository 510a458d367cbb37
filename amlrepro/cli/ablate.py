"""`amlris ablate`: one or two settings of the method varied, beside the model without masks."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from amlrepro.aml.axes import AXES, axis, parse_values
from amlrepro.cli.carry_out import WorkOptions, carry_out
from amlrepro.cli.groups import with_groups
from amlrepro.cli.lists import items, training_set, usual_split
from amlrepro.cli.options import PlanOptions, open_plan
from amlrepro.cli.report import report_plan
from amlrepro.data.specs import COMBINED
from amlrepro.errors import UserError
from amlrepro.metrics.compute import metric as metric_named
from amlrepro.schema import parse_set
from amlrepro.suite.ablation import PRESET, Sweep, ablation_experiment, check_trainable, same_trainings

UNTIL = "exec.until"


@with_groups
def ablate(
    axis_: Annotated[str, typer.Argument(metavar="AXIS", help=f"What varies: {', '.join(AXES)}.", show_default=False)],
    *,
    values: Annotated[
        str, typer.Option(metavar="V ...", help="Its values, as 0.2 0.3 or 0.2,0.3.", show_default=False)
    ],
    by: Annotated[str | None, typer.Option(metavar="AXIS", help="A second axis, for a grid.")] = None,
    by_values: Annotated[str | None, typer.Option(metavar="V ...", help="Values of the second axis.")] = None,
    train: Annotated[str, typer.Option(help="What is trained on.")] = "refcoco+",
    eval_: Annotated[
        str | None,
        typer.Option(
            "--eval", metavar="DATASET:SPLIT ...", help="What is scored.", show_default="val of what is trained on"
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option("--metric", "--metrics", metavar="NAME ...", help="Metrics.", show_default="oiou, or ciou"),
    ] = None,
    model: Annotated[str, typer.Option(help="caris, detris, rela, or a model of one's own.")] = "caris",
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="epochs=N",
            help="Stop each training after N epochs of its schedule (another schedule: --set train.horizon=N).",
            show_default="the whole schedule",
        ),
    ] = None,
    options: PlanOptions,
    work: WorkOptions,
) -> None:
    """Train what is missing at each value and score it: a table and plots, in <store>/<profile>/report/ablate_<axis>.

    Values that a table of the paper has too are the same trainings and are not repeated.
    """
    work.check()
    sweeps = _sweeps(axis_, values, by, by_values)
    _check_set(sweeps, options)
    train = training_set(train)
    usual = f"{'refcoco' if train == COMBINED else train}:val"
    splits = [usual_split(text) for text in items(eval_, "--eval") or [usual]]
    metrics = [metric_named(name).name for name in items(metric, "--metric")]
    experiment = ablation_experiment(sweeps, train, splits, metrics, model)
    chosen = replace(options, set_=[*(options.set_ or []), *_budget(budget)])
    command = f"amlris ablate {axis_} --values {values}"
    opened = open_plan([experiment], chosen, command=command, device=work.device, processes=work.processes)
    check_trainable(opened.plan, sweeps)
    for rows in same_trainings(opened.plan):
        typer.echo(f"note: {' and '.join(rows)} are one and the same training", err=True)
    carry_out(opened, work, lambda: report_plan(opened))


def _sweeps(name: str, values: str, by: str | None, by_values: str | None) -> list[Sweep]:
    if (by is None) != (by_values is None):
        missing = "--by-values" if by_values is None else "--by"
        raise UserError(
            "a second axis needs its name and its values", where=missing, expected="--by AXIS --by-values V ..."
        )
    sweeps = [_sweep(name, values, "--values")]
    if by is not None and by_values is not None:
        sweeps.append(_sweep(by, by_values, "--by-values"))
        if sweeps[0].axis == sweeps[1].axis:
            raise UserError("a grid has two different axes", where="--by", found=by)
    return sweeps


def _sweep(name: str, values: str, where: str) -> Sweep:
    found = axis(name)
    changes = parse_values(found, items(values, where))
    return Sweep(found, tuple(change[found.key] for change in changes))


def _check_set(sweeps: list[Sweep], options: PlanOptions) -> None:
    """What is varied cannot be fixed as well."""
    fixed = parse_set(options.set_ or [])
    for sweep in sweeps:
        if sweep.axis.key in fixed:
            found = f"--set {sweep.axis.key}={fixed[sweep.axis.key]}"
            raise UserError(f"{sweep.axis.name} is varied here and cannot be fixed", where="--set", found=found)
        if sweep.axis.key == PRESET and options.preset != PlanOptions.preset:
            raise UserError("the preset is varied here and cannot be fixed", where="--preset", found=options.preset)


def _budget(text: str | None) -> list[str]:
    """`epochs=10` as a setting."""
    if text is None:
        return []
    unit, _, number = text.partition("=")
    if unit.strip() != "epochs" or not number.strip().isdecimal() or int(number) < 1:
        raise UserError(
            "a budget is a number of epochs", where="--budget", found=text, expected="for example epochs=10"
        )
    return [f"{UNTIL}={int(number)}"]
