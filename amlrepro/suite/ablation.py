"""`amlris ablate` as an experiment: one or two settings of the method varied, a block and figures of our own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from amlrepro.aml.axes import Axis
from amlrepro.data.specs import is_multi_target
from amlrepro.errors import UserError
from amlrepro.metrics.compute import metric
from amlrepro.models.registry import get_spec
from amlrepro.schema import parse_strict
from amlrepro.suite.experiment import AML, Experiment, verify
from amlrepro.suite.plan import Plan
from amlrepro.suite.scored import Scored, check_fit, file_name, may_leak, training_title

BASELINE = "baseline"
PRESET = "preset"


@dataclass(frozen=True)
class Sweep:
    """An axis and the values it takes, in order, each once."""

    axis: Axis
    values: tuple[Any, ...]

    @property
    def names(self) -> list[str]:
        """The values as they are written."""
        return [f"{value:.4g}" if isinstance(value, float) else str(value) for value in self.values]

    @property
    def places(self) -> list[float | str]:
        """The values as a plot places them: numbers, or names."""
        return [float(value) for value in self.values] if self.axis.numeric else [*self.names]


def ablation_experiment(
    sweeps: Sequence[Sweep],
    train: str,
    splits: Sequence[tuple[str, str]],
    metrics: Sequence[str] = (),
    model: str = "caris",
) -> Experiment:
    """The experiment: a row for each value of a sweep, or pair of values of two, and the model without masks beside.

    splits: data set and split to score, the val split of what is trained on where empty. metrics: oIoU where empty, for
    gRefCOCO cIoU. Scores of data sets whose pictures may be training pictures are given again on the others. Raises
    `UserError` for what does not exist or fit.
    """
    check_fit([model], [train, *(dataset for dataset, _ in splits)], "--model")
    scored = [
        Scored(dataset, split, name, subset)
        for name in metrics or (("ciou",) if is_multi_target(train) else ("oiou",))
        for dataset, split in splits
        for subset in (("all", "unseen") if may_leak(train, dataset) else ("all",))
    ]
    points = list(product(*(range(len(sweep.values)) for sweep in sweeps)))
    names = " and ".join(sweep.axis.title for sweep in sweeps)
    title = get_spec(model).title
    values = {
        "id": "_".join(["ablate", *(sweep.axis.name for sweep in sweeps)]),
        "title": f"{names[0].upper()}{names[1:]}, {title} trained on {training_title(train)}",
        "comment": f"{title} with AML at {len(points)} setting{'s' * (len(points) > 1)}, and without masks.",
        "blocks": [
            {
                "id": "sweep",
                "title": f"Trained on {training_title(train)}",
                "layout": {
                    "columns": {s.key: s.column() for s in scored},
                    "rows": {
                        BASELINE: f"{title} without masks",
                        **{_key(sweeps, point): _label(sweeps, point) for point in points},
                    },
                },
                "rows": {
                    BASELINE: {"model": model, "preset": BASELINE, "train": train},
                    **{_key(sweeps, point): _row(sweeps, point, model, train) for point in points},
                },
                "columns": {s.key: {"subset": "unseen"} for s in scored if s.subset == "unseen"},
            }
        ],
        "figures": _figures(sweeps, scored, title),
        "notes": [_unseen(train)] if any(s.subset == "unseen" for s in scored) else [],
    }
    experiment = parse_strict(Experiment, values, "amlris ablate")
    verify(experiment, "amlris ablate")
    return experiment


def check_trainable(plan: Plan, sweeps: Sequence[Sweep]) -> None:
    """Raise `UserError` for a value with which nothing can be trained, whatever the other axis takes."""
    reasons = {cell.row: cell.reason for cell in plan.cells if cell.kind == "unavailable"}
    for number, sweep in enumerate(sweeps):
        for index, name in enumerate(sweep.names):
            points = [p for p in product(*(range(len(s.values)) for s in sweeps)) if p[number] == index]
            found = [reasons.get(_key(sweeps, point)) for point in points]
            if all(found) and reasons.get(BASELINE) is None:
                where, wrong = f"--{'by-' if number else ''}values", f"{sweep.axis.name} {name}"
                raise UserError(f"{wrong} cannot be trained", where=where, found=found[0])


def same_trainings(plan: Plan) -> list[list[str]]:
    """Labels of rows that turn out to be one training, where a setting has no effect."""
    labels = plan.experiments[0].blocks[0].table()
    rows: dict[str, dict[str, None]] = {}
    for cell in plan.cells:
        for request in cell.evaluations[:1]:
            rows.setdefault(request.run_id, {})[labels.row(cell.row).label] = None
    return [list(each) for each in rows.values() if len(each) > 1]


def _key(sweeps: Sequence[Sweep], point: Sequence[int]) -> str:
    return "_".join(f"{s.axis.name}_{s.names[i]}" for s, i in zip(sweeps, point, strict=True))


def _label(sweeps: Sequence[Sweep], point: Sequence[int]) -> str:
    return ", ".join(f"{s.axis.name} {s.names[i]}" for s, i in zip(sweeps, point, strict=True))


def _row(sweeps: Sequence[Sweep], point: Sequence[int], model: str, train: str) -> dict[str, Any]:
    changes = {s.axis.key: s.values[i] for s, i in zip(sweeps, point, strict=True)}
    preset = changes.pop(PRESET, AML)
    return {"model": model, "preset": preset, "train": train, "set": changes}


def _figures(sweeps: Sequence[Sweep], scored: Sequence[Scored], title: str) -> list[dict[str, Any]]:
    """A figure of curves for each metric; of two axes also a field of numbers for each column."""
    first, *rest = sweeps
    second = rest[0] if rest else None
    lines = {f"{title}+AML": [_key(sweeps, (i,)) for i in range(len(first.values))]} if second is None else {}
    for j, name in enumerate(second.names if second else ()):
        lines[f"{rest[0].axis.name} {name}"] = [_key(sweeps, (i, j)) for i in range(len(first.values))]
    out: list[dict[str, Any]] = []
    for name in dict.fromkeys(s.metric for s in scored):
        columns = [s for s in scored if s.metric == name]
        out.append(
            {
                "id": f"curves_{name}",
                "kind": "sweep",
                "title": f"{metric(name).title} over the {first.axis.title}",
                "block": "sweep",
                "x": first.places,
                "x_label": first.axis.title,
                "y_label": f"{metric(name).title} (%)",
                "lines": lines,
                "reference": BASELINE,
                "panels": {s.title.removesuffix(f" {metric(name).title}"): s.key for s in columns},
            }
        )
    return out + ([_field(sweeps, s) for s in scored] if second else [])


def _field(sweeps: Sequence[Sweep], scored: Scored) -> dict[str, Any]:
    first, second = sweeps
    return {
        "id": f"grid_{file_name(scored.key)}",
        "kind": "grid",
        "title": f"{scored.title} over {first.axis.title} and {second.axis.title}",
        "block": "sweep",
        "column": scored.key,
        "x": first.names,
        "y": second.names,
        "x_label": first.axis.title,
        "y_label": second.axis.title,
        "value_label": f"{metric(scored.metric).title} (%)",
        "cells": [[_key(sweeps, (i, j)) for i in range(len(first.values))] for j in range(len(second.values))],
    }


def _unseen(train: str) -> str:
    return f"Unseen: only pictures that are not in the train split of {training_title(train)}."
