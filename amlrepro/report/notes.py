"""The sentences under a table: what each number is, and what may not be concluded from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from amlrepro.data.specs import DATASETS
from amlrepro.metrics.bootstrap import DRAWS
from amlrepro.metrics.compute import METRICS
from amlrepro.models.registry import get_spec
from amlrepro.suite.cells import CellResult
from amlrepro.suite.plan import Plan
from amlrepro.suite.printed import PrintedTable
from amlrepro.verdicts.harness import UNVERIFIED

METRIC_NOTES = {
    "oiou": "oIoU: sum of intersections over sum of unions of a split",
    "miou": "mIoU: mean IoU over samples, an empty union counting 0",
    "pr50": "P@X: share of samples with IoU of at least X",
    "ciou": "cIoU: as oIoU, a sentence rightly said to name nothing adding nothing",
    "giou": "gIoU: as mIoU, a sentence that names nothing counting 1 if the model says so, else 0",
    "mean_of_five": "Avg. Metric: mean of the five metrics",
    "oiou_drop": "drop: oIoU on whole pictures less oIoU on occluded ones, in points",
    "jl_error": "JL error: Eq. 9 solved for epsilon, a formula and no measurement",
    "alignment": "statistics of S (Eq. 7), as fractions of all patches",
    "gt_coverage": "share of the patches inside the ground truth with S below the threshold, as a fraction",
    "train_loss": "training loss, mean over the epoch",
}


def table_notes(
    plan: Plan,
    tables: Sequence[PrintedTable],
    results: Iterable[CellResult],
    readings: Sequence[str] = (),
    *,
    tested: str,
    marked: bool = True,
    harness: str = UNVERIFIED,
) -> list[str]:
    """Notes of a table of these blocks whose cells are `results`; readings: the experiment's own notes, on what each
    number rests; tested: what is known of the preset's reading of the method; marked: best and second best are;
    harness: whether official checkpoints came out as published."""
    cells = list(results)
    notes = [*_metrics(tables), *_scoring(plan, cells), *_schedules(plan, cells), *readings, *_marks(tables, marked)]
    if any(c.value == 0 and c.cell.kind == "measured" for c in cells):
        notes.append("0.00 is measured: no mask meets its target; early in training a model may mark nothing at all.")
    if any(c.cell.op == "mean" for c in cells):
        notes.append(_averages(plan))
    if any(c.interval for c in cells):
        notes.append(_intervals(cells))
    return notes + ([_smallness(plan)] if plan.watermark else _unverified(plan, tables, tested, harness))


def _metrics(tables: Sequence[PrintedTable]) -> list[str]:
    found = dict.fromkeys(column.metric for table in tables for column in table.columns)
    scored = any(name in METRICS for name in found)
    names = dict.fromkeys("pr50" if name.startswith("pr") else name for name in found)
    known = [METRIC_NOTES[name] for name in names if name in METRIC_NOTES]
    before, after = ("In percent. ", " A sample is one picture with one sentence.") if scored else ("", "")
    text = "; ".join(known)
    return [f"{before}{text[0].upper() if not scored else text[0]}{text[1:]}.{after}"] if text else []


def _scoring(plan: Plan, cells: list[CellResult]) -> list[str]:
    """Resolution, checkpoint and split owner of our numbers, or of what would be scored."""
    cells = [c for c in cells if c.cell.evaluations]
    requests = [(c, r) for c in cells for r in c.cell.evaluations]
    owners = {r.eval.dataset: r.eval.split_by for _, r in requests}
    owners |= {r.eval.dataset: c.split_by for c, r in requests if c.split_by}
    splits = ", ".join(f"{DATASETS[d].title} ({owner or DATASETS[d].default})" for d, owner in owners.items())
    if not splits:
        return []
    models = dict.fromkeys(_model(plan, c) for c in cells)
    how = "; ".join(_how(name, [c for c in cells if _model(plan, c) == name]) for name in models)
    return [f"Ours: {how}. Splits by owner: {splits}."]


def _how(model: str, cells: list[CellResult]) -> str:
    """Checkpoints and resolution of one model's numbers."""
    at = sorted({c.scored_at for c in cells if c.scored_at})
    epochs = sorted({e for c in cells for e in c.epochs})
    rules = sorted({r.eval.checkpoint for c in cells for r in c.cell.evaluations}, key=_by_number)
    when = f" (epoch {', '.join(map(str, epochs))})" if epochs else ""
    sizes = [text if "own size" in text else f"{text} pixels" for text in at]
    size = f"scored at {' and '.join(sizes)}" if at else "not scored yet"
    return f"{get_spec(model).title}: checkpoint {', '.join(rules)}{when}, {size}"


def _by_number(name: str) -> tuple[int, str]:
    return len(name), name


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


def _marks(tables: Sequence[PrintedTable], marked: bool) -> list[str]:
    """What type and marks mean, of those that occur."""
    rows = [row for table in tables for row in table.rows if not table.own]
    out = []
    if marked:
        out.append(
            "Per column, bold is best and underlined second best of at least three, at the digits shown: once among "
            "cited and printed rows, once among ours."
        )
    if any(row.kind == "cited" for row in rows):
        out.append("Cited rows (grey) come from other papers.")
    if any(row.label.endswith("*") for row in rows):
        out.append("An asterisk marks a baseline that the paper's authors ran.")
    if any(row.attrs.get("llm_based") for row in rows):
        out.append("A double dagger marks a method built on a large language model.")
    if any(row.delta for row in rows):
        out.append("Differences in brackets are those to the first row of a group.")
    return [" ".join(out)] if out else []


def _averages(plan: Plan) -> str:
    text = "Averages are means of unrounded cells and stand only where every part is there"
    if plan.watermark:
        return text + "."
    return f"{text}; their differences are taken from the mean of the printed cells, not from the printed average."


def _intervals(cells: list[CellResult]) -> str:
    several = any(len(c.seeds) > 1 for c in cells)
    seeds = (
        ", and over training seeds" if several else "; one training seed, so the spread between trainings is not in it"
    )
    without = " What is calculated from other cells has none." if any(c.cell.kind == "derived" for c in cells) else ""
    return f"Intervals: 95 %, percentile bootstrap over pictures ({DRAWS:,} draws){seeds}.{without}"


def _smallness(plan: Plan) -> str:
    return (
        f"{plan.watermark[0].upper() + plan.watermark[1:] if plan.watermark else ''}. Nothing here is compared with "
        "the printed numbers, and no verdict follows."
    )


def _unverified(plan: Plan, tables: Sequence[PrintedTable], tested: str, harness: str) -> list[str]:
    """How far the reading and the harness have been confirmed."""
    if all(table.own for table in tables):
        return []
    out = ["A difference is no verdict: whether a statement of the paper holds is judged by `amlris claims`."]
    if plan.profile != "paper":
        out.append(f"Profile {plan.profile}: not the paper's schedule, so differences contain that of the schedules.")
    out += [tested, f"{harness[0].upper()}{harness[1:]}."]
    return out
