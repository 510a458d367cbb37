"""How numbers are written: with the decimals of print, beside which ours stand with as many."""

from __future__ import annotations

from amlrepro.suite.printed import PrintedTable

# Where nothing is printed that would say it: decimals by unit.
UNIT_DECIMALS = {
    "percent": 2,
    "points": 2,
    "fraction": 4,
    "loss": 4,
    "none": 4,
    "MB": 0,
    "minutes per epoch": 2,
    "samples": 0,
    "batches": 0,
    "scores": 0,
}
DEFAULT_DECIMALS = 2


def unit_of(table: PrintedTable, row: str, column: str) -> str:
    """The unit of a cell: the row's own where it has one (Table 14's improvement among losses), else the column's."""
    return str(table.row(row).attrs.get("unit", table.column(column).unit))


def decimals(table: PrintedTable, row: str, column: str) -> int:
    """Decimals of a cell: as printed there; else as in its column, at the same unit; else by its unit."""
    printed = table.value(row, column)
    if printed is not None:
        return printed.decimals
    unit = unit_of(table, row, column)
    same = [other for other in table.rows if unit_of(table, other.key, column) == unit]
    found = [number.decimals for other in same if (number := other.values[column]) is not None]
    return max(found) if found else UNIT_DECIMALS.get(unit, DEFAULT_DECIMALS)


def shown(value: float, places: int) -> str:
    """A number with that many decimals; a minus sign proper, and none before a zero."""
    text = f"{value:.{places}f}".replace("-", "−")
    return text.removeprefix("−") if not text.strip("−0.") else text


def signed(value: float, places: int) -> str:
    """A difference: with its sign, unless it is zero at that many decimals."""
    text = shown(value, places)
    return text if text.startswith("−") or not text.strip("0.") else f"+{text}"
