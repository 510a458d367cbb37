"""`amlris robustness` as an experiment: models under perturbations, a block and figures of our own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from amlrepro.data.specs import is_multi_target
from amlrepro.errors import unknown_name
from amlrepro.metrics.compute import metric
from amlrepro.models.registry import get_spec, model_names
from amlrepro.perturb.specs import LEVELS, PAPER_LEVEL, check_perturbation, perturbation_spec
from amlrepro.schema import parse_strict
from amlrepro.suite.experiment import AML, Experiment, verify
from amlrepro.suite.scored import Scored, check_fit, file_name, may_leak, training_title

CLEAN = "clean"
# How a method is called behind the model: its name on the command line, and on paper, by preset.
METHODS = {
    "baseline": ("", ""),
    AML: ("_aml", "+AML"),
    "random": ("_random_mask", " + random mask"),
    "maskris": ("_maskris", " + MaskRIS"),
    **{name: (f"_{name}", f"+AML ({name})") for name in ("inferred", "literal", "released")},
}


@dataclass(frozen=True)
class Method:
    """A model with a preset of training, as `caris_aml` names it."""

    name: str
    title: str
    model: str
    preset: str


def parse_method(name: str) -> Method:
    """`caris`, `caris_aml`, `caris_random_mask`, ...; raises `UserError` with the nearest names."""
    known = {f"{model}{suffix}": (model, preset) for model in model_names() for preset, (suffix, _) in METHODS.items()}
    if name not in known:
        raise unknown_name("method", name, known, "--models")
    model, preset = known[name]
    return Method(name, get_spec(model).title + METHODS[preset][1], model, preset)


def robustness_experiment(
    train: str,
    methods: Sequence[Method],
    splits: Sequence[tuple[str, str]],
    perturbations: Sequence[str],
    severities: Sequence[int] = (),
    metrics: Sequence[str] = (),
) -> Experiment:
    """The experiment: methods trained on `train`, scored on each (data set, split), whole and perturbed.

    severities: none for the paper's strengths and one table, with averages and drops; else a table and curves over
    severity for each column. metrics: () for those of Table 15, for gRefCOCO gIoU and cIoU. Scores of data sets whose
    pictures may be training pictures are given again on the others. Raises `UserError` for what does not exist or fit.
    """
    for name in perturbations:
        for severity in severities or (None,):
            check_perturbation(name, severity)
    check_fit([method.model for method in methods], [train, *(dataset for dataset, _ in splits)], "--models")
    scored = [
        Scored(dataset, split, name, subset)
        for dataset, split in splits
        for subset in (("all", "unseen") if may_leak(train, dataset) else ("all",))
        for name in metrics or _usual_metrics(dataset, bool(severities))
    ]
    values: dict[str, Any] = {
        "id": "_".join(["robustness", train.replace("+", "_plus"), *(["severity"] if severities else [])]),
        "title": f"Robustness of models trained on {training_title(train)}",
        "notes": _notes(train, splits, perturbations, severities),
        "comment": f"{', '.join(method.title for method in methods)} on whole and perturbed pictures.",
    }
    if severities:
        values["blocks"] = [_curve_block(s, train, methods, perturbations, severities) for s in scored]
        values["figures"] = [_curves(s, methods, perturbations, severities) for s in scored]
    else:
        values["blocks"] = [_table_block(scored, train, methods, perturbations)]
    experiment = parse_strict(Experiment, values, "amlris robustness")
    verify(experiment, "amlris robustness")
    return experiment


def _usual_metrics(dataset: str, curves: bool) -> tuple[str, ...]:
    if is_multi_target(dataset):
        return ("giou",) if curves else ("giou", "ciou")
    return ("miou",) if curves else ("miou", "oiou", "pr50")


def _row(method: Method, train: str) -> dict[str, Any]:
    return {"model": method.model, "preset": method.preset, "train": train}


def _table_block(
    scored: Sequence[Scored], train: str, methods: Sequence[Method], perturbations: Sequence[str]
) -> dict[str, Any]:
    """Perturbation x method down, data set x metric across; then averages and what they lose to whole pictures."""
    labels: dict[str, str] = {}
    rows: dict[str, Any] = {}
    for name in (CLEAN, *perturbations):
        for method in methods:
            key = f"{name}__{method.name}"
            title = "Whole" if name == CLEAN else perturbation_spec(name).title
            labels[key] = f"{title} / {method.title}"
            rows[key] = {**_row(method, train), **({} if name == CLEAN else {"perturbation": name})}
    if len(perturbations) > 1:
        for method in methods:
            average = f"average__{method.name}"
            labels[average] = f"Average / {method.title}"
            rows[average] = _derived("mean", (f"{name}__{method.name}" for name in perturbations))
        for method in methods:
            drop = f"drop__{method.name}"
            labels[drop] = f"Whole less average / {method.title}"
            rows[drop] = _derived("difference", (f"{CLEAN}__{method.name}", f"average__{method.name}"))
    return {
        "id": "perturbed",
        "title": f"Trained on {training_title(train)}",
        "layout": {"columns": {s.key: s.column() for s in scored}, "rows": labels},
        "rows": rows,
        "columns": {s.key: {"subset": "unseen"} for s in scored if s.subset == "unseen"},
    }


def _derived(operation: str, rows: Iterable[str]) -> dict[str, Any]:
    return {"derive": {"op": operation, "of": [{"row": row} for row in rows]}}


def _curve_block(
    scored: Scored,
    train: str,
    methods: Sequence[Method],
    perturbations: Sequence[str],
    severities: Sequence[int],
) -> dict[str, Any]:
    """One metric on one split: methods across, perturbation and severity down (`transpose`)."""
    columns = {CLEAN: scored.column("Whole")}
    cells: dict[str, Any] = {CLEAN: {"subset": scored.subset}}
    for name in perturbations:
        for severity in severities:
            key = f"{name}.{severity}"
            columns[key] = scored.column(f"{perturbation_spec(name).title} {severity}")
            level = {} if severity == PAPER_LEVEL else {"severity": severity}  # the paper's own is in Table 15
            cells[key] = {"perturbation": name, "subset": scored.subset, **level}
    return {
        "id": file_name(scored.key),
        "title": f"Trained on {training_title(train)}, {scored.title} by severity",
        "layout": {"columns": columns, "rows": {method.name: method.title for method in methods}},
        "rows": {method.name: _row(method, train) for method in methods},
        "columns": cells,
        "transpose": True,
    }


def _curves(
    scored: Scored, methods: Sequence[Method], perturbations: Sequence[str], severities: Sequence[int]
) -> dict[str, Any]:
    return {
        "id": file_name(scored.key),
        "kind": "curves",
        "title": scored.title,
        "block": file_name(scored.key),
        "rows": [method.name for method in methods],
        "x": [0, *severities],
        "x_label": "severity (0: whole)",
        "y_label": f"{metric(scored.metric).title} (%)",
        "panels": {
            perturbation_spec(name).title: [CLEAN, *(f"{name}.{severity}" for severity in severities)]
            for name in perturbations
        },
    }


def _notes(
    train: str, splits: Sequence[tuple[str, str]], perturbations: Sequence[str], severities: Sequence[int]
) -> list[str]:
    """The readings that the numbers rest on."""
    said = [_reading(name, severities) for name in perturbations]
    if severities:
        scale = f"Of the five severities {LEVELS[0]} to {LEVELS[-1]}, {PAPER_LEVEL} is the paper's own strength"
        said.append(f"{scale}; the others are ours.")
    said.append(
        "Perturbations act on the 8-bit RGB picture before it is resized (occlusion: on the network's input); random "
        "ones are drawn from image, perturbation and severity, so every model and every sentence of a picture sees "
        "the same one (Q35)."
    )
    if any(may_leak(train, dataset) for dataset, _ in splits):
        said.append(f"Unseen: only pictures that are not in the train split of {training_title(train)}.")
    return said


def _reading(name: str, severities: Sequence[int]) -> str:
    """What a perturbation does, and its parameters at the severities."""
    spec = perturbation_spec(name)
    levels = []
    for severity in severities:
        values = [f"{key} {value:g}" for key, value in spec.parameters(severity).items() if key != "count"]
        levels.append(f"{severity}: {', '.join(values)}")
    return f"{spec.title}: {spec.definition}." + (f" By severity, {'; '.join(levels)}." if levels else "")
