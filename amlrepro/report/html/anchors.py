"""Names of places on the page, so that cells lead to runs and runs back to cells."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from amlrepro.report.tabledata import BlockData, TableData
from amlrepro.suite.cells import CellResult


@lru_cache(maxsize=1 << 16)  # each cell is named by its table, its card and every run that it needs
def anchor(*parts: str) -> str:
    """An id for these names; characters that would need quoting in a link become underscores."""
    return "-".join(re.sub(r"[^\w.+-]", "_", part) for part in parts)


def run_anchor(run_id: str) -> str:
    """The place of a run."""
    return anchor("run", run_id)


def cell_anchor(table: TableData, block: BlockData, result: CellResult) -> str:
    """The place of a cell."""
    return anchor("cell", table.id, block.id, result.cell.row, result.cell.column)


@dataclass(frozen=True)
class Use:
    """Cells of one row that need a run. row: block and method; cells: anchor and column of each."""

    table: str
    row: str
    cells: tuple[tuple[str, str], ...]


Uses = Mapping[str, list[Use]]  # by run id, in the page's order


def uses(tables: Iterable[TableData]) -> Uses:
    """Which cells need which runs: those that are planned for them as well as those they were computed from."""
    out: dict[str, list[Use]] = {}
    for table in tables:
        for block in table.blocks:
            labels = row_labels(block)
            headers = column_titles(block)
            for (run_id, row), columns in _needed(block).items():
                cells = tuple((anchor("cell", table.id, block.id, row, key), headers[key]) for key in columns)
                text = f"{block.title}, {labels.get(row, row)}"
                out.setdefault(run_id, []).append(Use(table.printed_in or table.id, text, cells))
    return out


def _needed(block: BlockData) -> dict[tuple[str, str], list[str]]:
    """Columns by run id and row."""
    out: dict[tuple[str, str], list[str]] = {}
    for (row, column), result in block.cells.items():
        for run_id in dict.fromkeys([*(request.run_id for request in result.cell.requests), *result.run_ids]):
            out.setdefault((run_id, row), []).append(column)
    return out


def row_labels(block: BlockData) -> Mapping[str, str]:
    """What each row of a block is called: by our own name where it is run here."""
    named = {line.row: line.label for line in block.lines if line.kind in ("cited", "printed")}
    return named | {line.row: line.label for line in block.lines if line.kind == "here"}


def column_titles(block: BlockData) -> Mapping[str, str]:
    """Both storeys of each column's header."""
    return {column.key: f"{column.group} {column.name}".strip() for column in block.columns}
