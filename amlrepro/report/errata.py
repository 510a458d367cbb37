"""Printed numbers and headers that the paper itself contradicts, as marks and footnotes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from amlrepro.metrics.compute import METRICS
from amlrepro.suite.printed import Erratum, PrintedNumber, PrintedTable


@dataclass
class Footnotes:
    """Footnotes of a table, each text once, numbered in order of appearance."""

    texts: list[str] = field(default_factory=list)

    def mark(self, text: str) -> int:
        """The number of a footnote with this text."""
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text) + 1


def erratum_note(erratum: Erratum) -> str:
    """What a footnote says: what is printed, what follows from the paper's own numbers, and the audit entry."""
    printed, recomputed = (_text(value) for value in (erratum.printed, erratum.recomputed))
    if erratum.row == "*":
        return f"headed {printed} in print; by the paper's own numbers it is {recomputed} (audit {erratum.see})"
    what = "difference printed as +" if erratum.field == "delta" else "printed as "
    return f"{what}{printed}; by the paper's own numbers: {recomputed} (audit {erratum.see})"


def _text(value: object) -> str:
    """A number with its digits, the name of a metric as titles write it."""
    text = value.text if isinstance(value, PrintedNumber) else str(value)
    return re.sub(r"[a-z]+", lambda word: METRICS[word[0]].title if word[0] in METRICS else word[0], text)


def cell_marks(table: PrintedTable, row: str, column: str, footnotes: Footnotes) -> tuple[int, ...]:
    """Marks of a printed cell."""
    found = [e for e in table.errata_of(row, column) if e.row == row]
    return tuple(footnotes.mark(erratum_note(e)) for e in found)


def column_marks(table: PrintedTable, column: str, footnotes: Footnotes) -> tuple[int, ...]:
    """Marks of a column's header: errata of all its rows."""
    found = dict.fromkeys(e for row in table.rows for e in table.errata_of(row.key, column) if e.row == "*")
    return tuple(footnotes.mark(erratum_note(e)) for e in found)
