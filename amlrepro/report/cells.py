"""One cell of a table: the printed number beside ours, with everything ours came from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from amlrepro.config import RunConfig
from amlrepro.data.specs import dataset_spec
from amlrepro.files import read_json
from amlrepro.metrics.bootstrap import Interval, mean_interval
from amlrepro.metrics.summary import MetricValue, read_image_sums, read_metric
from amlrepro.report.reasons import why_absent
from amlrepro.suite.plan import Cell, Plan, Request
from amlrepro.suite.printed import Erratum, PrintedNumber, PrintedTable
from amlrepro.suite.store import Store


@dataclass(frozen=True)
class CellResult:
    """What is known of one cell.

    printed: the paper's number. reference: what ours is compared with: the printed number, for an average the mean of
    the row's printed cells (the printed averages are rounded, and some are wrong). value: ours, the mean over the seeds
    that are there, unrounded. difference: value minus reference in points, None in watermarked reports. seeds: (seed,
    value) of each. interval: bootstrap over images, with several seeds over seeds too; averages have none. samples:
    (image, sentence) pairs scored a seed. scored_at, split_by, checkpoint, epoch: how. reason: why a cell that should
    have our number has none, or not all its seeds.
    """

    cell: Cell
    printed: PrintedNumber | None
    reference: float | None
    value: float | None = None
    difference: float | None = None
    seeds: tuple[tuple[int, float], ...] = ()
    interval: Interval | None = None
    samples: int | None = None
    run_ids: tuple[str, ...] = ()
    eval_ids: tuple[str, ...] = ()
    scored_at: str | None = None
    split_by: str | None = None
    checkpoint: str | None = None
    epochs: tuple[int, ...] = ()
    reason: str | None = None
    errata: tuple[Erratum, ...] = ()


def block_cells(store: Store, plan: Plan, experiment: str, block: str) -> dict[tuple[str, str], CellResult]:
    """All cells of one block by (row key, column key).

    Measured cells are read from the store; averages come from unrounded cells, and only when every part is there.
    """
    table = plan.block(experiment, block).table()
    cells = plan.cells_of(experiment, block)
    found = {(c.row, c.column): _result(store, plan, table, c) for c in cells if c.kind != "average"}
    for cell in cells:
        if cell.kind == "average":
            parts = [found[cell.row, key] for key in cell.parts]
            found[cell.row, cell.column] = _average(_blank(table, cell), parts, plan)
    return found


def _blank(table: PrintedTable, cell: Cell) -> CellResult:
    printed = table.value(cell.row, cell.column)
    reference: float | None = printed
    if table.column(cell.column).derived:
        reference = printed_mean(table, cell.row)
    return CellResult(cell, printed, reference, errata=table.errata_of(cell.row, cell.column))


def printed_mean(table: PrintedTable, row: str) -> float | None:
    """Mean of a row's printed cells, unrounded; None when one is missing."""
    values = [table.value(row, c.key) for c in table.columns if not c.derived]
    return None if None in values else fmean(v for v in values if v is not None)


def _result(store: Store, plan: Plan, table: PrintedTable, cell: Cell) -> CellResult:
    blank = _blank(table, cell)
    if cell.kind == "unavailable":
        return replace(blank, reason=cell.reason or "not available")
    return blank if cell.kind == "printed" else _measured(store, plan, blank)


def _measured(store: Store, plan: Plan, blank: CellResult) -> CellResult:
    cell = blank.cell
    there: list[tuple[Request, Path, MetricValue]] = []
    absent = []
    for request in cell.requests:
        if store.eval_present(request.run_id, request.eval):
            meta = store.run(request.run_id).eval_meta(request.eval_id)
            there.append((request, meta, read_metric(meta, cell.metric)))
        else:
            absent.append(why_absent(store.status(request.run_id)))
    known = [(r, m, v) for r, m, v in there if v.value is not None]
    reason = "; ".join(dict.fromkeys(absent)) or None
    if not known:
        return replace(blank, reason=reason or "the split has no samples")
    if absent:
        reason = f"{len(known)} of {len(cell.requests)} seeds ({reason})"
    value = fmean(v.value for _, _, v in known if v.value is not None)
    return replace(
        blank,
        value=value,
        difference=_difference(value, blank.reference, plan),
        seeds=tuple((_seed(plan, r), v.value) for r, _, v in known if v.value is not None),
        interval=_interval([m for _, m, _ in known], cell.metric, known[0][2].interval),
        samples=known[0][2].samples,
        run_ids=tuple(r.run_id for r, _, _ in known),
        eval_ids=tuple(r.eval_id for r, _, _ in known),
        reason=reason,
        **_circumstances([dict(read_json(m)) for _, m, _ in known], known[0][0]),
    )


def _circumstances(metas: list[dict[str, Any]], request: Request) -> dict[str, Any]:
    """How a cell was scored, from the evaluations' own files."""
    evaluation = request.eval
    owner = metas[0].get("split_by") or dataset_spec(evaluation.dataset).partition(evaluation.split_by).split_by
    epochs = {m["epoch"] for m in metas if "epoch" in m}
    return {
        "scored_at": metas[0].get("scored_at", evaluation.resolution),
        "split_by": owner,
        "checkpoint": evaluation.checkpoint,
        "epochs": tuple(sorted(epochs)),
    }


def _interval(metas: list[Path], metric: str, single: Interval | None) -> Interval | None:
    if len(metas) == 1:
        return single
    return mean_interval([read_image_sums(meta, [metric]) for meta in metas], metric)


def _average(blank: CellResult, parts: list[CellResult], plan: Plan) -> CellResult:
    values = [p.value for p in parts if p.value is not None]
    if len(values) < len(parts) or not parts:
        missing = [p.cell.column for p in parts if p.value is None]
        without = f", and lacks {', '.join(missing)}" if values else ""
        return replace(blank, reason=f"an average needs all its splits{without}")
    value = fmean(values)
    shared = [s for s, _ in parts[0].seeds if all(s in dict(p.seeds) for p in parts)]
    return replace(
        blank,
        value=value,
        difference=_difference(value, blank.reference, plan),
        seeds=tuple((s, fmean(dict(p.seeds)[s] for p in parts)) for s in shared),
        samples=sum(p.samples or 0 for p in parts),
        run_ids=tuple(dict.fromkeys(i for p in parts for i in p.run_ids)),
        eval_ids=tuple(dict.fromkeys(i for p in parts for i in p.eval_ids)),
        scored_at=_only(p.scored_at for p in parts),
        split_by=_only(p.split_by for p in parts),
        checkpoint=_only(p.checkpoint for p in parts),
        epochs=tuple(sorted({e for p in parts for e in p.epochs})),
        reason="; ".join(dict.fromkeys(p.reason for p in parts if p.reason)) or None,
    )


def _only(values: Iterable[str | None]) -> str:
    return ", ".join(sorted({v for v in values if v}))


def _difference(value: float, reference: float | None, plan: Plan) -> float | None:
    """Ours minus the paper's, in points; watermarked results are set beside no number of the paper."""
    return None if reference is None or plan.watermark else value - reference


def _seed(plan: Plan, request: Request) -> int:
    return plan.runs[request.run_id].config.seed


def row_config(plan: Plan, cells: Iterable[CellResult]) -> RunConfig | None:
    """The configuration behind a row (of its first run), for naming its preset; None for rows that are not run."""
    for result in cells:
        for request in result.cell.requests:
            return plan.runs[request.run_id].config
    return None
