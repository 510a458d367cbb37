"""A store whose evaluations, probes and histories say exactly what the paper prints."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from fake_store import make_records, write_records

from amlrepro.config import dump_config
from amlrepro.files import read_json, write_json, write_text
from amlrepro.metrics.compute import METRICS
from amlrepro.metrics.summary import BOOTSTRAP, _hash
from amlrepro.suite.plan import AnyRequest, Cell, Plan, PlannedRun, ProbeRequest, Request
from amlrepro.suite.store import Store

UNPRINTED = 50.0  # where nothing is printed
HALF_WIDTH = 0.5  # of the intervals
Name = tuple[str, str, str, str]  # experiment, block, row, column
Place = tuple[str, str, str, str]  # run, what of it, field, subset


def inject(store: Store, plan: Plan, numbers: dict[Place, float] | None = None) -> None:
    """Write every run of the plan as finished, with the printed numbers as results, or those given by `place`.

    A result that several cells show gets the number with the most decimals; where only a difference is printed its
    parts are chosen so that it comes out.
    """
    numbers = _numbers(plan) if numbers is None else numbers
    for run in plan.runs.values():
        _finish(store, run, numbers)
        _evaluate(store, run, numbers)
        for probe in run.probes:
            name = probe.probe_id
            mine = {p[2]: n for p, n in numbers.items() if p[:2] == (run.run_id, name)}
            epoch = run.until if probe.checkpoint == "last" else int(probe.checkpoint.removeprefix("epoch"))
            head = {"probe_id": probe.probe_id, "probe": probe.model_dump(mode="json"), "run_id": run.run_id}
            write_json(store.run(run.run_id).probe(probe.probe_id), {**head, "epoch": epoch, "values": mine})


def _numbers(plan: Plan) -> dict[Place, float]:
    """The number of each result that a cell is read from."""
    cells: dict[Name, Cell] = {(c.experiment, c.block, c.row, c.column): c for c in plan.cells}
    printed = {n: plan.block(c.experiment, c.block).table().value(c.row, c.column) for n, c in cells.items()}
    digits: dict[Place, int] = {}
    out: dict[Place, float] = {}
    for name, cell in cells.items():
        number = printed[name]
        if number is not None:
            for where in _places(cell):
                if number.decimals > digits.get(where, -1):
                    digits[where], out[where] = number.decimals, float(number)
    for name, cell in cells.items():
        number, parts = printed[name], [cells[(cell.experiment, *part)] for part in cell.parts]
        if cell.op == "difference" and number is not None and all(part.kind == "measured" for part in parts):
            first, second = (_places(part) for part in parts)
            minuend = out.setdefault(first[0], UNPRINTED + float(number))
            for where in second:
                out.setdefault(where, minuend - float(number))
    for cell in cells.values():
        for where in _places(cell):
            out.setdefault(where, UNPRINTED)
    return out


def _places(cell: Cell) -> list[Place]:
    return [place(cell, request) for request in cell.requests]


def place(cell: Cell, request: AnyRequest) -> Place:
    """Where the number lies that a cell reads."""
    if isinstance(request, Request):
        return request.run_id, request.eval_id, cell.metric, cell.subset
    if isinstance(request, ProbeRequest):
        return request.run_id, request.probe_id, str(cell.field), ""
    return request.run_id, f"epoch{request.epoch}", request.field, ""


def _finish(store: Store, run: PlannedRun, numbers: dict[Place, float]) -> None:
    folder = store.run(run.run_id)
    write_text(folder.config, dump_config(run.config))
    folder.write_state("done", epoch=run.until)
    rows = []
    for epoch in range(1, run.until + 1):
        loss = numbers.get((run.run_id, f"epoch{epoch}", "loss", ""), 1 / epoch)
        rows.append({"kind": "epoch", "epoch": epoch, "step": 12 * epoch, "loss": loss})
    write_text(folder.history, "".join(json.dumps(row) + "\n" for row in rows))


def _evaluate(store: Store, run: PlannedRun, numbers: dict[Place, float]) -> None:
    for evaluation in run.evals:
        name = evaluation.eval_id
        records = make_records(0.2 if evaluation.text == "other" else 0.7, 12, 6, seed=1)
        meta = write_records(store, run, evaluation, records)
        excluded = [0]
        summary: dict[str, Any] = {"records": records.digest(), "bootstrap": BOOTSTRAP}
        for subset in ("all", "unseen"):
            mine = {p[2]: n for p, n in numbers.items() if p[:2] == (run.run_id, name) and p[3] == subset}
            part = {"samples": 12, "images": 6, "metrics": dict(_entries(mine))}
            summary |= part if subset == "all" else {"unseen": {"excluded": _hash(excluded), **part}}
        values = {**dict(read_json(meta)), "train_images": excluded, "summary": summary}
        if evaluation.checkpoint != "last":
            values["epoch"] = int(evaluation.checkpoint.removeprefix("epoch"))
        write_json(meta, values)


def _entries(mine: dict[str, float]) -> Iterable[tuple[str, dict[str, float]]]:
    for name, number in mine.items():
        low, high = number - HALF_WIDTH, number + HALF_WIDTH
        yield name, {"version": METRICS[name].version, "value": number, "low": low, "high": high}
