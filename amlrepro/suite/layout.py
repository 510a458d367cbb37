"""Tables of our own: rows and columns that the paper does not print (a clean reference, an ablation)."""

from __future__ import annotations

from typing import Literal

from amlrepro.schema import Strict
from amlrepro.suite.printed import PrintedColumn, PrintedRow, PrintedTable


class LayoutColumn(Strict):
    """A column; its key is the layout's. derived: computed from others, the mean of all that are not unless told."""

    header: str
    metric: str = "oiou"
    dataset: str | None = None
    split: str | None = None
    unit: str = "percent"
    better: Literal["higher", "lower", "none"] = "higher"
    derived: bool = False


class Layout(Strict):
    """Columns by key and labels of rows by key, in the order they are shown."""

    columns: dict[str, LayoutColumn]
    rows: dict[str, str]

    def table(self, key: str, title: str) -> PrintedTable:
        """The same as a table without numbers."""
        columns = tuple(PrintedColumn(key=k, attrs={}, **column.model_dump()) for k, column in self.columns.items())
        blank = {column.key: None for column in columns}
        rows = tuple(PrintedRow(k, label, "ours", False, {}, blank, {}) for k, label in self.rows.items())
        metrics = tuple(dict.fromkeys(column.metric for column in columns))
        return PrintedTable(key, title, "table", "", (), metrics, (), columns, rows, (), (), own=True)
