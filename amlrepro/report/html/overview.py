"""The page in numbers: what is filled, what is missing and why, what was trained, what it cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from amlrepro.report.html.parts import PageFigure
from amlrepro.report.html.runs import RunView
from amlrepro.report.tabledata import TableData
from amlrepro.suite.cells import CellResult
from amlrepro.suite.plan import Plan
from amlrepro.suite.rates import measure_rates
from amlrepro.suite.store import Store
from amlrepro.suite.summary import summarize


@dataclass(frozen=True)
class Filled:
    """How far one experiment is. largest: the largest difference from print, None where nothing is compared."""

    id: str
    printed_in: str
    title: str
    filled: int
    cells: int
    largest: float | None
    checks: str


@dataclass(frozen=True)
class Overview:
    """Totals of a page.

    missing, undrawn: reasons, with how many cells and figures they keep away. asked, trained, ended: trainings that
    tables and figures ask for each by itself, unique ones, those that are complete. gpu: of which hours are;
    paced: whether they are by the pace of trainings in the store, else by the paper's rates; hours_unshared: without
    sharing; hours_beside: of validation, evaluations and probes, by our estimate; measured: hours that the trainings
    took.
    """

    filled: int
    cells: int
    missing: tuple[tuple[str, int], ...]
    figures: int
    drawn: int
    undrawn: tuple[tuple[str, int], ...]
    asked: int
    trained: int
    ended: int
    evals: int
    evals_there: int
    probes: int
    probes_there: int
    gpu: str
    paced: bool
    hours: float | None
    hours_left: float | None
    hours_unshared: float | None
    hours_beside: float
    measured: float | None
    checks: str
    experiments: tuple[Filled, ...]


def overview(
    store: Store,
    plan: Plan,
    tables: Sequence[TableData],
    figures: Sequence[PageFigure],
    runs: Sequence[RunView],
) -> Overview:
    """Totals over these tables, figures and runs."""
    rates = measure_rates(store)
    summary = summarize(plan, store, rates)
    each = tuple(_filled(table) for table in tables)
    reasons = Counter(c.reason or "unknown" for t in tables for c in _ours(t) if c.value is None)
    undrawn = Counter(figure.reason for figure in figures if figure.reason)
    measured = [run.hours for run in runs if run.hours is not None]
    return Overview(
        filled=sum(e.filled for e in each),
        cells=sum(e.cells for e in each),
        missing=tuple(reasons.most_common()),
        figures=len(figures),
        drawn=len(figures) - sum(undrawn.values()),
        undrawn=tuple(undrawn.most_common()),
        asked=summary.asked,
        trained=summary.trainings,
        ended=summary.trainings_done,
        evals=summary.evals,
        evals_there=sum(run.evaluated for run in runs),
        probes=summary.probes,
        probes_there=sum(not probe.state for run in runs for probe in run.probes),
        gpu=rates.gpu,
        paced=bool(rates.measured),
        hours=summary.hours,
        hours_left=summary.hours_left,
        hours_unshared=summary.hours_unshared,
        hours_beside=sum(h for h in (summary.validation_hours, summary.evaluation_hours, summary.probe_hours) if h),
        measured=sum(measured) if measured else None,
        checks=_checks([check.verdict for table in tables for check in table.checks]),
        experiments=each,
    )


def _ours(table: TableData) -> list[CellResult]:
    """Cells that should have a number of ours."""
    return [cell for block in table.blocks for cell in block.cells.values() if cell.cell.kind != "printed"]


def _filled(table: TableData) -> Filled:
    ours = _ours(table)
    gaps = [abs(cell.difference) for cell in ours if cell.difference is not None]
    return Filled(
        id=table.id,
        printed_in=table.printed_in or table.id,
        title=table.title,
        filled=sum(cell.value is not None for cell in ours),
        cells=len(ours),
        largest=max(gaps, default=None),
        checks=_checks([check.verdict for check in table.checks]),
    )


def _checks(verdicts: list[str]) -> str:
    counts = Counter(verdicts)
    named = [("pass", "passed"), ("fail", "failed"), ("not made", "not made")]
    return ", ".join(f"{counts[key]} {word}" for key, word in named if counts[key])
