"""Verdicts on cells as tables show them: a symbol beside our number, a note that explains it, values for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from amlrepro.report.lines import Line
from amlrepro.verdicts.cells import CellVerdict
from amlrepro.verdicts.levels import LevelLabel

Judged = Mapping[tuple[str, str], CellVerdict]  # by row and column key
# What stands beside our number; nothing while the noise is unknown, which a note says once.
SYMBOLS: dict[LevelLabel, str] = {"inside": "≈", "printed is higher": "↑", "printed is lower": "↓"}


def with_levels(lines: Sequence[Line], columns: Sequence[str], judged: Judged) -> tuple[Line, ...]:
    """The lines with symbols beside our numbers. columns: keys, in the order of the entries."""
    return tuple(_marked(line, columns, judged) if line.kind == "here" else line for line in lines)


def _marked(line: Line, columns: Sequence[str], judged: Judged) -> Line:
    symbols = [_symbol(judged.get((line.row, column))) for column in columns]
    entries = [
        replace(entry, level=symbol if entry.number is not None else "")
        for entry, symbol in zip(line.entries, symbols, strict=True)
    ]
    return replace(line, entries=tuple(entries))


def _symbol(verdict: CellVerdict | None) -> str:
    return "" if verdict is None or verdict.level is None else SYMBOLS.get(verdict.level.label, "")


def level_notes(judged: Sequence[CellVerdict]) -> list[str]:
    """What the symbols mean, or why there are none."""
    levels = [verdict.level for verdict in judged if verdict.level is not None]
    if not levels:
        return []
    unknown = sum(level.low is None for level in levels)
    notes = []
    if unknown < len(levels):
        notes.append(
            f"Beside ours: {SYMBOLS['inside']} print lies in the 95 % prediction interval of one more training, "
            f"{SYMBOLS['printed is higher']} above it, {SYMBOLS['printed is lower']} below it."
        )
    if unknown:
        which = "" if unknown == len(levels) else f" on {unknown} of {len(levels)} numbers"
        notes.append(
            f"No verdict on the level{which}: the noise between seeds is unknown (under 4 degrees of freedom)."
        )
    return notes


def verdict_values(verdict: CellVerdict | None) -> dict[str, Any]:
    """A cell's verdicts as plain values."""
    level = verdict.level if verdict else None
    return {
        "level": level.label if level else None,
        "level_low": level.low if level else None,
        "level_high": level.high if level else None,
        "claims": {each.claim.id: each.label for each in verdict.claims} if verdict else {},
        "harness_verified": verdict.harness.verified if verdict else None,
    }
