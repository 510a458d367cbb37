"""The sentences under a table: what each number is, and what may not be concluded from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from amlrepro.data.specs import DATASETS
from amlrepro.metrics.bootstrap import DRAWS
from amlrepro.models.registry import get_spec
from amlrepro.report.cells import CellResult
from amlrepro.suite.plan import Plan

METRIC_NOTES = {
    "oiou": "oIoU: sum of intersections over sum of unions of a split",
    "miou": "mIoU: mean IoU over samples, an empty union counting 0",
    "pr50": "P@X: share of samples with IoU of at least X",
    "ciou": "cIoU: as oIoU, a sentence rightly said to name nothing adding nothing",
    "giou": "gIoU: as mIoU, a sentence that names nothing counting 1 if the model says so, else 0",
}


def table_notes(plan: Plan, averaged: bool, results: Iterable[CellResult], readings: Sequence[str] = ()) -> list[str]:
    """Notes of a table whose cells are `results`; averaged: it has an average column; readings: the experiment's."""
    cells = list(results)
    notes = [_metrics(cells), *_scoring(plan, cells), *_schedules(plan, cells), *readings, _marks()]
    if averaged:
        notes.append(_averages(plan))
    if any(c.interval for c in cells):
        notes.append(_intervals(cells))
    return notes + ([_smallness(plan)] if plan.watermark else _unverified(plan))


def _metrics(cells: list[CellResult]) -> str:
    names = dict.fromkeys("pr50" if c.cell.metric.startswith("pr") else c.cell.metric for c in cells)
    known = [METRIC_NOTES[name] for name in names if name in METRIC_NOTES]
    return f"In percent. {'; '.join(known)}. A sample is one picture with one sentence."


def _scoring(plan: Plan, cells: list[CellResult]) -> list[str]:
    """Resolution, checkpoint and split owner of our numbers, or of what would be scored."""
    datasets = dict.fromkeys(r.eval.dataset for c in cells for r in c.cell.evaluations)
    owners = {r.eval.dataset: r.eval.split_by for c in cells for r in c.cell.evaluations}
    owners |= {r.eval.dataset: c.split_by for c in cells if c.split_by for r in c.cell.evaluations}
    splits = ", ".join(f"{DATASETS[d].title} ({owners[d] or DATASETS[d].default})" for d in datasets)
    if not splits:
        return []
    models = dict.fromkeys(_model(plan, c) for c in cells if c.cell.requests)
    how = "; ".join(_how(name, [c for c in cells if c.cell.requests and _model(plan, c) == name]) for name in models)
    return [f"Ours: {how}. Splits by owner: {splits}."]


def _how(model: str, cells: list[CellResult]) -> str:
    """Checkpoints and resolution of one model's numbers."""
    at = sorted({c.scored_at for c in cells if c.scored_at and c.cell.kind == "measured"})
    epochs = sorted({e for c in cells for e in c.epochs})
    rules = sorted({r.eval.checkpoint for c in cells for r in c.cell.evaluations})
    when = f" (epoch {', '.join(map(str, epochs))})" if epochs else ""
    sizes = [text if "own size" in text else f"{text} pixels" for text in at]
    size = f"scored at {' and '.join(sizes)}" if at else "not scored yet"
    return f"{get_spec(model).title}: checkpoint {', '.join(rules)}{when}, {size}"


def _model(plan: Plan, result: CellResult) -> str:
    return plan.runs[result.cell.requests[0].run_id].config.model.name


def _schedules(plan: Plan, cells: list[CellResult]) -> list[str]:
    """Steps of a schedule that lie beyond its end."""
    trained = {_model(plan, c): plan.runs[c.cell.requests[0].run_id].config.train for c in cells if c.cell.requests}
    out = []
    for model, train in trained.items():
        late = [drop for drop in train.drops if drop > train.horizon]
        if train.schedule == "step" and train.drop_unit == "epoch" and late:
            steps = " and ".join(map(str, train.drops))
            never = (
                f"step at {late[0]} never comes"
                if len(late) == 1
                else f"steps at {' and '.join(map(str, late))} never come"
            )
            out.append(
                f"{get_spec(model).title} lowers its rate after epochs {steps}; training ends after {train.horizon}, "
                f"so the {never}."
            )
    return out


def _marks() -> str:
    return (
        "Per column, bold is best and underlined second best, at the digits shown: once among cited and printed rows, "
        "once among ours. Cited rows (grey) come from other papers; an asterisk marks a baseline that the paper's "
        "authors ran; a double dagger a method built on a large language model."
    )


def _averages(plan: Plan) -> str:
    text = "Averages are means of unrounded cells and stand only where every split is there"
    if plan.watermark:
        return text + "."
    return (
        f"{text}; their differences are taken from the mean of the row's printed cells, not from the printed average."
    )


def _intervals(cells: list[CellResult]) -> str:
    several = any(len(c.seeds) > 1 for c in cells)
    seeds = (
        ", and over training seeds" if several else "; one training seed, so the spread between trainings is not in it"
    )
    return f"Intervals: 95 %, percentile bootstrap over pictures ({DRAWS:,} draws){seeds}. Averages have none."


def _smallness(plan: Plan) -> str:
    return (
        f"{plan.watermark[0].upper() + plan.watermark[1:] if plan.watermark else ''}. Nothing here is compared with "
        "the printed numbers, and no verdict follows."
    )


def _unverified(plan: Plan) -> list[str]:
    """What the design demands while neither the reading nor the harness has been confirmed."""
    out = ["Differences are stated, not judged; no claim is made that a number is or is not reproduced."]
    if plan.profile != "paper":
        out.append(f"Profile {plan.profile}: not the paper's schedule, so differences contain that of the schedules.")
    out.append(
        f"The reading of the masking method ({plan.preset}) is unverified: it has not been tested against the printed "
        "statistics."
    )
    out.append(
        "The harness is unverified: official checkpoints have not been evaluated to within 0.05 of their published "
        "values."
    )
    return out
