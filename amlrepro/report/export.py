"""Tables as data for other programs: CSV with one line a cell, and JSON."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict
from typing import Any

from amlrepro.report.judged import verdict_values
from amlrepro.report.numbers import unit_of
from amlrepro.report.tabledata import BlockData, TableData
from amlrepro.suite.cells import CellResult

FIELDS = (
    "experiment",
    "block",
    "row",
    "label",
    "kind",
    "preset",
    "column",
    "dataset",
    "split",
    "metric",
    "source",
    "unit",
    "printed",
    "printed_delta",
    "reference",
    "ours",
    "difference",
    "interval_low",
    "interval_high",
    "seeds",
    "samples",
    "scored_at",
    "split_by",
    "checkpoint",
    "epochs",
    "run_ids",
    "eval_ids",
    "probe_ids",
    "level",
    "level_low",
    "level_high",
    "claims",
    "harness_verified",
    "reason",
    "imported",
    "imported_from",
    "errata",
    "profile",
    "watermark",
)
_COMPARED = ("reference", "difference")


def cell_values(table: TableData, block: BlockData, result: CellResult) -> dict[str, Any]:
    """One cell as plain values; lists for seeds, runs, evaluations and errata."""
    printed_table = block.printed
    row, column = printed_table.row(result.cell.row), printed_table.column(result.cell.column)
    return {
        "experiment": table.id,
        "block": block.id,
        "row": row.key,
        "label": row.label,
        "kind": row.kind,
        "preset": result.cell.preset,
        "column": column.key,
        "dataset": column.dataset,
        "split": result.cell.evaluations[0].eval.split if result.cell.evaluations else column.split,
        "metric": result.cell.metric,
        "source": result.cell.kind,
        "unit": unit_of(printed_table, row.key, column.key),
        "printed": result.printed,
        "printed_delta": row.delta.get(column.key),
        "reference": result.reference,
        "ours": result.value,
        "difference": result.difference,
        "interval_low": result.interval.low if result.interval else None,
        "interval_high": result.interval.high if result.interval else None,
        "seeds": {str(seed): value for seed, value in result.seeds},
        "samples": result.samples,
        "scored_at": result.scored_at,
        "split_by": result.split_by,
        "checkpoint": result.checkpoint,
        "epochs": list(result.epochs),
        "run_ids": list(result.run_ids),
        "eval_ids": list(result.eval_ids),
        "probe_ids": list(result.probe_ids),
        **verdict_values(block.verdicts.get((row.key, column.key))),
        "reason": result.reason,
        "imported": result.imported.value if result.imported else None,
        "imported_from": list(result.imported.places) if result.imported else [],
        "errata": [e.see for e in result.errata],
        "profile": table.profile,
        "watermark": table.watermark,
    }


def csv_text(table: TableData) -> str:
    """All cells, one a line. With a watermark the first line is a comment that says so, and nothing is compared."""
    fields = [f for f in FIELDS if not (table.watermark and f in _COMPARED)]
    out = io.StringIO()
    if table.watermark:
        out.write(f"# {table.stamp}: {table.watermark}\n")
    writer = csv.DictWriter(out, fields, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for block in table.blocks:
        for result in block.cells.values():
            values = cell_values(table, block, result)
            for name in ("printed", "printed_delta"):
                values[name] = values[name].text if values[name] is not None else None
            values["seeds"] = " ".join(f"{seed}:{value}" for seed, value in values["seeds"].items())
            values["claims"] = " ".join(f"{name}:{label}" for name, label in values["claims"].items())
            for name in ("epochs", "run_ids", "eval_ids", "probe_ids", "imported_from", "errata"):
                values[name] = " ".join(map(str, values[name]))
            writer.writerow(values)
    return out.getvalue()


def json_value(table: TableData) -> dict[str, Any]:
    """The whole table as a JSON value: cells, lines as shown, notes and checks."""
    blocks = []
    for block in table.blocks:
        cells = [cell_values(table, block, result) for result in block.cells.values()]
        for cell in cells if table.watermark else []:
            for name in _COMPARED:
                cell.pop(name)
        blocks.append(
            {
                "id": block.id,
                "title": block.title,
                "metric": block.metric,
                "columns": [asdict(column) for column in block.columns],
                "lines": [asdict(line) for line in block.lines],
                "cells": cells,
            }
        )
    return {
        "watermark": table.watermark,
        "id": table.id,
        "title": table.title,
        "printed_in": table.printed_in,
        "profile": table.profile,
        "preset": table.preset,
        "notes": list(table.notes),
        "footnotes": list(table.footnotes),
        "checks": [{**asdict(check), "verdict": check.verdict} for check in table.checks],
        "blocks": blocks,
    }
