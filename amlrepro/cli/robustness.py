"""`amlris robustness`: models on perturbed pictures, like Table 15 and beyond."""

from __future__ import annotations

from typing import Annotated

import typer

from amlrepro.cli.carry_out import WorkOptions, carry_out
from amlrepro.cli.groups import with_groups
from amlrepro.cli.lists import items, training_set, usual_split
from amlrepro.cli.options import PlanOptions, open_plan
from amlrepro.cli.report import report_plan
from amlrepro.data.specs import COMBINED, DATASETS, is_multi_target
from amlrepro.errors import UserError
from amlrepro.metrics.compute import metric
from amlrepro.perturb.specs import LEVELS, PERTURBATIONS, SEVEN
from amlrepro.suite.experiment import Experiment
from amlrepro.suite.robustness import parse_method, robustness_experiment


@with_groups
def robustness(
    *,
    train: Annotated[str, typer.Option(help=f"What models are trained on: {', '.join((*DATASETS, COMBINED))}.")],
    models: Annotated[
        str | None,
        typer.Option(metavar="NAME ...", help="Methods.", show_default="caris caris_aml, for gRefCOCO rela rela_aml"),
    ] = None,
    eval_: Annotated[
        str | None,
        typer.Option(
            "--eval",
            metavar="DATASET:SPLIT ...",
            help="What they are scored on.",
            show_default="refcoco:val refcocog:val, for gRefCOCO its val",
        ),
    ] = None,
    perturbations: Annotated[
        str | None,
        typer.Option(metavar="NAME ...", help=f"{', '.join(PERTURBATIONS)}.", show_default="the first seven"),
    ] = None,
    severity: Annotated[
        str | None,
        typer.Option(
            metavar="N ...",
            help=f"Levels {LEVELS[0]} to {LEVELS[-1]}, drawn as curves.",
            show_default="the paper's strength, which is level 3",
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(metavar="NAME ...", help="Metrics.", show_default="miou oiou pr50; over severities miou"),
    ] = None,
    options: PlanOptions,
    work: WorkOptions,
) -> None:
    """Train what is missing and score it on perturbed pictures: a table beside whole ones, curves over severity."""
    work.check()
    experiment = _experiment(train, models, eval_, perturbations, severity, metrics)
    command = f"amlris robustness --train {train}"
    opened = open_plan([experiment], options, command=command, device=work.device, processes=work.processes)
    carry_out(opened, work, lambda: report_plan(opened))


def _experiment(
    train: str,
    models: str | None,
    eval_: str | None,
    perturbations: str | None,
    severity: str | None,
    metrics: str | None,
) -> Experiment:
    """The experiment these options describe; raises `UserError` for each that is wrong."""
    several = is_multi_target(training_set(train))
    methods = items(models, "--models") or (["rela", "rela_aml"] if several else ["caris", "caris_aml"])
    splits = items(eval_, "--eval") or ([f"{train}:val"] if several else ["refcoco:val", "refcocog:val"])
    names = items(perturbations, "--perturbations") or list(SEVEN)
    return robustness_experiment(
        train,
        [parse_method(name) for name in methods],
        [usual_split(text) for text in splits],
        names,
        _severities(severity),
        [metric(name).name for name in items(metrics, "--metrics")],
    )


def _severities(text: str | None) -> list[int]:
    wanted = f"one or more of {', '.join(map(str, LEVELS))}"
    found = items(text, "--severity")
    if not all(item.isdecimal() and int(item) in LEVELS for item in found):
        raise UserError("severities are levels", where="--severity", found=text, expected=wanted)
    return sorted({int(item) for item in found})
