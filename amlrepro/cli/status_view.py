"""What `amlris status` shows of a store, as tables and lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from amlrepro.launch.failures import CAUSES, REMEDIES, Cause, classify
from amlrepro.suite.overview import STATES, ExperimentView, Overview, RunView

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

STYLES = {"running": "cyan", "failed": "red", "interrupted": "yellow", "preempted": "yellow", "done": "green"}
BAR, REMARK = "bar", "remark"  # columns without a title
BAR_WIDTH, SHORT_REMARK, GAP = 16, 20, 3
FEW = 4  # runs that are named
FEW_RUNS = 40  # as many are listed in any case
NAMED = 6  # runs of a group of failures that are named
REASONS = 3
MANY_SEEDS = 5


@dataclass(frozen=True)
class FailureGroup:
    """Runs that failed for one cause. reasons: the first line of each different one."""

    cause: Cause
    remedy: str
    run_ids: tuple[str, ...]
    reasons: tuple[str, ...]
    nodes: tuple[str, ...]


def failure_groups(runs: Sequence[RunView]) -> list[FailureGroup]:
    """Failed runs by cause, the most frequent first."""
    groups: dict[Cause, list[RunView]] = {}
    for run in runs:
        if run.state == "failed":
            groups.setdefault(cause_of(run), []).append(run)
    return [
        FailureGroup(
            cause,
            REMEDIES[cause],
            tuple(run.run_id for run in members),
            tuple(dict.fromkeys(first_line(run.reason) for run in members if run.reason)),
            tuple(dict.fromkeys(str(run.failure["node"]) for run in members if run.failure.get("node"))),
        )
        for cause, members in sorted(groups.items(), key=lambda item: -len(item[1]))
    ]


def cause_of(run: RunView) -> Cause:
    """Why a run failed: as its launcher judged, else by what it said."""
    said = run.failure.get("cause")
    return said if said in CAUSES else classify(1, run.reason).cause


def counts(runs: Sequence[RunView]) -> str:
    """`33 runs: 2 running, 31 done`."""
    number = Counter(run.state for run in runs)
    parts = [f"{number[state]} {state}" for state in STATES if number[state]]
    return f"{len(runs)} run{'s' * (len(runs) != 1)}: {', '.join(parts)}" if runs else "no runs"


def few_or_counts(runs: Sequence[RunView]) -> str:
    """A few runs by name with their states, of more how many are in each state."""
    return counts(runs) if len(runs) > FEW else "; ".join(f"{run.run_id}: {run.state}" for run in runs)


def render(overview: Overview, width: int, rows: int | None = None, everything: bool = False) -> list[RenderableType]:
    """One store. rows: how many runs to list at most; None: all that are of interest, or with `everything` all."""
    from rich.text import Text

    chosen = list(overview.runs)
    if not everything and len(chosen) > FEW_RUNS:
        chosen = [run for run in chosen if run.state != "done"]
    if rows is not None:
        chosen = chosen[: max(1, rows)]
    parts: list[RenderableType] = [Text(f"{overview.profile} | {counts(overview.runs)}", style="bold")]
    if chosen:
        parts.append(_runs_table(chosen, width))
    left_out = len(overview.runs) - len(chosen)
    if left_out:
        parts.append(Text(f"and {left_out} more; --all lists them" if rows is None else f"and {left_out} more"))
    if overview.experiments:
        parts += ["", _experiments_table(overview.experiments)]
    for group in failure_groups(overview.runs):
        parts += ["", _failure_table(group)]
    if lines := left_out_lines(overview.runs):
        parts += ["", *map(Text, lines)]
    return parts


def left_out_lines(runs: Sequence[RunView]) -> list[str]:
    """Runs that were left out, by reason, and what runs them after all."""
    reasons = Counter(run.reason or "no reason is known" for run in runs if run.state == "left out")
    lines = [f"left out: {n} run{'s' * (n > 1)}, {reason}" for reason, n in reasons.most_common(REASONS)]
    if len(reasons) > REASONS:
        lines.append(f"and {len(reasons) - REASONS} more reasons (--json has all)")
    return lines + (["The same command without --until-decided runs them after all."] if lines else [])


def failure_lines(group: FailureGroup) -> list[str]:
    """A group of failures in words."""
    title, rows = _failure(group)
    return [title, *(f"  {label + ':':<10}{text}" for label, text in rows)]


def _failure(group: FailureGroup) -> tuple[str, list[tuple[str, str]]]:
    many = len(group.run_ids)
    on = f" on {', '.join(group.nodes)}" if group.nodes else ""
    named = ", ".join(group.run_ids[:NAMED]) + (f" and {many - NAMED} more" if many > NAMED else "")
    rows = [("runs", named), *(("reason", reason) for reason in group.reasons[:REASONS])]
    return f"failed ({group.cause}): {many} run{'s' * (many > 1)}{on}", [*rows, ("remedy", group.remedy)]


def _failure_table(group: FailureGroup) -> Table:
    from rich.table import Table
    from rich.text import Text

    title, rows = _failure(group)
    table = Table(box=None, show_header=False, title=title, title_style="red", title_justify="left", padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for label, text in rows:
        table.add_row(f"{label}:", Text(text))
    return table


def describe(run: RunView) -> dict[str, str]:
    """What is known of a run, as text by name; empty where it is not known."""
    from amlrepro.cli.progress import duration

    return {
        "epoch": f"{run.epoch}/{run.until}" if run.until else "",
        "loss": f"{run.loss:.4f}" if run.loss is not None and run.phase == "training" else "",
        "images/s": f"{run.images_per_s:.1f}" if run.images_per_s else "",
        "left": duration(run.eta_s) if run.eta_s is not None else "",
        "results": f"{run.evals[0] + run.probes[0]}/{run.evals[1] + run.probes[1]}" if run.evals[1] else "",
    }


def state_of(run: RunView) -> str:
    """The state, of a running one what it does."""
    return "cancelling" if run.cancelling else run.phase or run.state


def remark(run: RunView) -> str:
    """Where a run is, or why it is not."""
    job = f"SLURM {run.job_id}" if run.job_id else ""
    if run.state == "running":
        return ", ".join(filter(None, [f"{run.host}, process {run.pid}" if run.host else "", job]))
    if run.stale:
        return "stale: made by an older version"
    why = first_line(run.reason)
    if run.state == "failed":
        return f"{cause_of(run)}: {why}"
    return ", ".join(filter(None, [job, why]))


def first_line(text: str | None) -> str:
    """The first line of a reason."""
    return (text or "").partition("\n")[0]


def as_values(overviews: Sequence[Overview]) -> dict[str, Any]:
    """Everything as plain values, for `--json`."""
    from dataclasses import asdict

    runs = [run for overview in overviews for run in overview.runs]
    return {
        "runs": [{**asdict(run), "cause": cause_of(run) if run.state == "failed" else None} for run in runs],
        "experiments": [asdict(each) for overview in overviews for each in overview.experiments],
        "failures": [asdict(group) for group in failure_groups(runs)],
    }


def _seeds(seeds: Sequence[int]) -> str:
    if len(seeds) > MANY_SEEDS:
        return f"{len(seeds)} seeds"
    return f"seeds {', '.join(map(str, seeds))}" if len(seeds) > 1 else ""


def _runs_table(runs: Sequence[RunView], width: int) -> Table:
    """Runs with their whole names; of the rest what there is room for."""
    from rich import box
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    rows = [{"run": run.run_id, "state": state_of(run), **describe(run), REMARK: remark(run)} for run in runs]
    names = _fitting(rows, width, bars=any(run.fraction is not None for run in runs))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name, least in names.items():
        right = name not in ("run", "state", BAR, REMARK)
        title = "" if name in (BAR, REMARK) else name
        table.add_column(title, justify="right" if right else "left", no_wrap=True, width=least)
    for run, row in zip(runs, rows, strict=True):
        cells: dict[str, RenderableType] = {name: Text(text) for name, text in row.items()}
        cells["state"] = Text(row["state"], style=STYLES.get(run.state, ""))
        cells[BAR] = ProgressBar(1.0, run.fraction, width=BAR_WIDTH) if run.fraction is not None else ""
        table.add_row(*(cells[name] for name in names))
    return table


def _fitting(rows: Sequence[dict[str, str]], width: int, bars: bool) -> dict[str, int]:
    """The columns that say anything and fit, with their least widths; the least important are left out first."""
    widths = {name: max(len(row[name]) for row in rows) for name in rows[0]}
    widths = {name: max(size, len(name)) for name, size in widths.items() if size}
    if REMARK in widths:
        widths[REMARK] = min(widths[REMARK], SHORT_REMARK)
    if bars:
        widths[BAR] = BAR_WIDTH
    order = [name for name in ("run", "state", BAR, *list(rows[0])[2:]) if name in widths]
    for name in (BAR, "images/s", REMARK, "loss", "results", "left"):
        if sum(widths[each] + GAP for each in order) - GAP <= width:
            break
        order = [each for each in order if each != name]
    if REMARK in order:
        widths[REMARK] = width - sum(widths[each] + GAP for each in order if each != REMARK)
    return {name: widths[name] for name in order}


def _experiments_table(experiments: Sequence[ExperimentView]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    names = [len(each.experiment) for each in experiments]
    table.add_column("experiment", no_wrap=True, min_width=max(len("experiment"), *names))
    table.add_column("cells", justify="right", no_wrap=True)
    table.add_column("")
    for each in experiments:
        full = each.filled == each.cells and each.figures_filled == each.figures
        notes = [each.label, _seeds(each.seeds)]
        notes += [f"{each.figures_filled} of {each.figures} figures"] if each.figures else []
        notes += [f"{each.fewer} with fewer seeds"] if each.fewer else []
        notes += [f"{each.unavailable} not available"] if each.unavailable else []
        filled = Text(f"{each.filled} of {each.cells}" if each.cells else "-", style="green" if full else "")
        table.add_row(each.experiment, filled, "; ".join(filter(None, [*notes, each.title])))
    return table
