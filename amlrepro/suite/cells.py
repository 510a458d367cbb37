"""One cell of a table: the printed number beside ours, with everything ours came from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from amlrepro.config import EvalConfig
from amlrepro.data.specs import dataset_spec
from amlrepro.metrics.bootstrap import Interval, mean_interval
from amlrepro.metrics.summary import MetricValue, origin, read_image_sums, read_metric
from amlrepro.suite.benched import BenchedCost, benched_value, find_cost, read_costs
from amlrepro.suite.imported import ImportedLog, ImportedNumber, imported_number, read_imports
from amlrepro.suite.operations import OPERATIONS
from amlrepro.suite.plan import Cell, HistoryRequest, Plan, ProbeRequest, Request
from amlrepro.suite.printed import Erratum, PrintedNumber
from amlrepro.suite.reasons import why_absent
from amlrepro.suite.store import Store

Key = tuple[str, str]  # row and column


@dataclass(frozen=True)
class CellResult:
    """What is known of one cell.

    printed: the paper's number. reference: what ours is compared with: the printed number, for a derived cell the same
    calculation on the printed cells (printed averages are rounded, and some are wrong). value: ours, the mean over the
    seeds that are there, unrounded. difference: value minus reference in points, None in watermarked reports. seeds:
    (seed, value) of each. interval: bootstrap over images, with several seeds over seeds too; averages have none.
    samples: (image, sentence) pairs scored a seed. scored_at, split_by, checkpoint, epoch: how. reason: why a cell that
    should have our number has none, or not all its seeds, or that it was benched. imported: where there is none of
    ours, what a log of the official code says; it is no seed, and nothing is calculated from it.
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
    probe_ids: tuple[str, ...] = ()
    scored_at: str | None = None
    split_by: str | None = None
    checkpoint: str | None = None
    epochs: tuple[int, ...] = ()
    reason: str | None = None
    errata: tuple[Erratum, ...] = ()
    imported: ImportedNumber | None = None


def block_cells(store: Store, plan: Plan, experiment: str, block: str) -> dict[Key, CellResult]:
    """All cells of one block by (row key, column key)."""
    return CellReader.of(store, plan, experiment).block(block)


class CellReader:
    """Reads the cells of one experiment, each once: those that are derived need others, also of other blocks.

    Derived cells come from unrounded values, and only when every part is there.
    """

    @classmethod
    def of(cls, store: Store, plan: Plan, experiment: str) -> CellReader:
        """The reader that everybody has who asks the same snapshot of a store for these cells."""
        return store.remembered(("cells", id(plan), experiment), lambda: cls(store, plan, experiment))

    def __init__(self, store: Store, plan: Plan, experiment: str) -> None:
        self._store = store
        self._plan = plan  # also keeps it, and so its `id`, from going
        self._blocks = {b.id: b.table() for e in plan.experiments if e.id == experiment for b in e.blocks}
        self._cells = {(c.block, c.row, c.column): c for c in plan.cells if c.experiment == experiment}
        self._results: dict[tuple[str, str, str], CellResult] = {}
        self._costs: list[BenchedCost] | None = None
        self._imports: list[ImportedLog] | None = None  # read with the first cell that has no number

    def block(self, block: str) -> dict[Key, CellResult]:
        """All cells of one block by (row key, column key), with their intervals."""
        keys = [key for key in self._cells if key[0] == block]
        return {key[1:]: _with_interval(self._store, self.cell(*key)) for key in keys}

    def cell(self, block: str, row: str, column: str) -> CellResult:
        """One cell, without its interval: those take long where they are not kept, and verdicts need none."""
        name = (block, row, column)
        if name not in self._results:
            self._results[name] = self._read(self._cells[name])
        return self._results[name]

    def _read(self, cell: Cell) -> CellResult:
        table = self._blocks[cell.block]
        printed = table.value(cell.row, cell.column)
        blank = CellResult(cell, printed, printed, errata=table.errata_of(cell.row, cell.column))
        if cell.kind == "derived":
            parts = [self.cell(*part) for part in cell.parts]
            reference = _reference(cell, parts)
            return _derived(replace(blank, reference=printed if reference is None else reference), parts, self._plan)
        if cell.kind == "unavailable":
            return replace(blank, reason=cell.reason or "not available")
        if cell.kind == "formula":
            return replace(blank, value=cell.value, difference=_difference(cell.value, printed, self._plan))
        if cell.kind == "measured":
            return self._or_imported(_measured(self._store, self._plan, blank))
        if cell.kind in ("probe", "history"):
            return self._or_benched(_logged(self._store, self._plan, blank))
        return blank

    def _or_benched(self, result: CellResult) -> CellResult:
        """Time and memory that no run measured, as `amlris bench` did; no seed's, so nothing is concluded from it."""
        request = next(iter(result.cell.requests), None)
        if result.value is not None or not isinstance(request, ProbeRequest) or request.probe.kind != "cost":
            return result
        if self._costs is None:
            self._costs = read_costs(self._store.root, self._store.profile)
        run = self._plan.runs[request.run_id]
        cost = find_cost(self._costs, run.config)
        value = benched_value(cost, str(result.cell.field), run.config.train.epoch_refs or run.refs) if cost else None
        if cost is None or value is None:
            return result
        difference = _difference(value, result.reference, self._plan)
        return replace(result, value=value, difference=difference, reason=f"by amlris bench, {cost.says}")

    def _or_imported(self, result: CellResult) -> CellResult:
        if result.value is not None or self._plan.watermark:
            return result
        if self._imports is None:
            self._imports = read_imports(self._store)
        return replace(result, imported=imported_number(self._imports, self._plan, result.cell))


def _reference(cell: Cell, parts: list[CellResult]) -> float | None:
    """The calculation on the printed cells; None when one is not printed."""
    numbers = [part.reference if part.cell.kind == "derived" else part.printed for part in parts]
    if cell.op is None or None in numbers or not numbers:
        return None
    return OPERATIONS[cell.op]([number for number in numbers if number is not None])


def _logged(store: Store, plan: Plan, blank: CellResult) -> CellResult:
    """A cell read from probes or histories: the mean over the seeds that are there."""
    known: list[tuple[ProbeRequest | HistoryRequest, float, int]] = []
    absent = []
    for request in blank.cell.requests:
        if isinstance(request, ProbeRequest):
            found = store.probe_values(request.run_id, request.probe)
            number = found["values"].get(blank.cell.field) if found else None
            epoch = found["epoch"] if found else 0
            if found and number is None:
                absent.append("the samples have nothing to measure it on")
                continue
        elif isinstance(request, HistoryRequest):
            epoch = request.epoch
            number = store.epoch_rows(request.run_id).get(epoch, {}).get(request.field)
        else:
            continue
        if number is None:
            absent.append(why_absent(store.status(request.run_id)))
        else:
            known.append((request, float(number), int(epoch or 0)))
    reason = "; ".join(dict.fromkeys(absent)) or None
    if not known:
        return replace(blank, reason=reason)
    value = fmean(number for _, number, _ in known)
    return replace(
        blank,
        value=value,
        difference=_difference(value, blank.reference, plan),
        seeds=tuple((_seed(plan, request.run_id), number) for request, number, _ in known),
        run_ids=tuple(request.run_id for request, _, _ in known),
        probe_ids=tuple(request.probe_id for request, _, _ in known if isinstance(request, ProbeRequest)),
        epochs=tuple(sorted({epoch for _, _, epoch in known})),
        reason=f"{len(known)} of {len(blank.cell.requests)} seeds ({reason})" if absent else None,
    )


def _measured(store: Store, plan: Plan, blank: CellResult) -> CellResult:
    cell = blank.cell
    there: list[tuple[Request, dict[str, Any], MetricValue]] = []
    absent = []
    for request in cell.requests:
        path = _evaluated(store, request.run_id, request.eval) if isinstance(request, Request) else None
        if isinstance(request, Request) and path is not None:
            meta = store.read(path)
            there.append((request, meta, read_metric(path, cell.metric, cell.subset, meta)))
        else:
            absent.append(why_absent(store.status(request.run_id)))
    known = [(r, m, v) for r, m, v in there if v.value is not None]
    reason = "; ".join(dict.fromkeys(absent)) or None
    if not known:
        reason = reason or next((v.reason for _, _, v in there if v.reason), None)
        return replace(blank, reason=reason or "the split has no samples")
    if absent:
        reason = f"{len(known)} of {len(cell.requests)} seeds ({reason})"
    value = fmean(v.value for _, _, v in known if v.value is not None)
    return replace(
        blank,
        value=value,
        difference=_difference(value, blank.reference, plan),
        seeds=tuple((_seed(plan, r.run_id), v.value) for r, _, v in known if v.value is not None),
        samples=known[0][2].samples,
        run_ids=tuple(r.run_id for r, _, _ in known),
        eval_ids=tuple(r.eval_id for r, _, _ in known),
        reason=reason,
        **_circumstances([m for _, m, _ in known], known[0][0]),
    )


def _evaluated(store: Store, run_id: str, evaluation: EvalConfig) -> Path | None:
    """An evaluation's JSON file; None where it is not there. Many metrics come from one, so it is looked for once."""

    def find() -> Path | None:
        there = store.eval_present(run_id, evaluation)
        return store.run(run_id).eval_meta(evaluation.eval_id) if there else None

    return store.remembered(("evaluated", run_id, evaluation.eval_id), find)


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


def _with_interval(store: Store, result: CellResult) -> CellResult:
    """The interval over images of a cell that comes from evaluations, around the mean over seeds; of one seed, its
    evaluation's own."""
    cell = result.cell
    if cell.kind != "measured" or result.value is None:
        return result
    runs = zip(result.run_ids, result.eval_ids, strict=True)
    paths = [store.run(run_id).eval_meta(eval_id) for run_id, eval_id in runs]
    metas = [store.read(path) for path in paths]
    names = [cell.metric]
    if len(paths) == 1:
        return replace(result, interval=read_metric(paths[0], cell.metric, cell.subset, metas[0]).interval)

    def calculate() -> list[float] | None:
        found = mean_interval([read_image_sums(path, names, cell.subset) for path in paths], cell.metric)
        return [found.low, found.high] if found else None

    because = origin(metas, names, cell.subset)
    limits = store.calculated("interval of a mean over seeds", because, calculate)
    return replace(result, interval=Interval(*limits) if limits else None)


def _derived(blank: CellResult, parts: list[CellResult], plan: Plan) -> CellResult:
    values = [p.value for p in parts if p.value is not None]
    if len(values) < len(parts) or not parts or blank.cell.op is None:
        return replace(blank, reason=_lacking(blank.cell, parts, bool(values)))
    operation = OPERATIONS[blank.cell.op]
    value = operation(values)
    shared = [s for s, _ in parts[0].seeds if all(s in dict(p.seeds) for p in parts)]
    return replace(
        blank,
        value=value,
        difference=_difference(value, blank.reference, plan),
        seeds=tuple((s, operation([dict(p.seeds)[s] for p in parts])) for s in shared),
        samples=sum(p.samples or 0 for p in parts) or None,
        run_ids=tuple(dict.fromkeys(i for p in parts for i in p.run_ids)),
        eval_ids=tuple(dict.fromkeys(i for p in parts for i in p.eval_ids)),
        probe_ids=tuple(dict.fromkeys(i for p in parts for i in p.probe_ids)),
        scored_at=_only(p.scored_at for p in parts),
        split_by=_only(p.split_by for p in parts),
        checkpoint=_only(p.checkpoint for p in parts),
        epochs=tuple(sorted({e for p in parts for e in p.epochs})),
        reason="; ".join(dict.fromkeys(p.reason for p in parts if p.reason)) or None,
    )


def _lacking(cell: Cell, parts: list[CellResult], some: bool) -> str:
    """Why a derived cell has no number."""
    missing = [p.cell.column if p.cell.column != cell.column else p.cell.row for p in parts if p.value is None]
    what = "an average needs all its splits" if cell.op == "mean" else "a calculated cell needs all its parts"
    return f"{what}, and lacks {', '.join(missing)}" if some else what


def _only(values: Iterable[str | None]) -> str:
    return ", ".join(sorted({v for v in values if v}))


def _difference(value: float | None, reference: float | None, plan: Plan) -> float | None:
    """Ours minus the paper's, in the column's unit; watermarked results are set beside no number of the paper."""
    return None if value is None or reference is None or plan.watermark else value - reference


def _seed(plan: Plan, run_id: str) -> int:
    return plan.runs[run_id].config.seed
