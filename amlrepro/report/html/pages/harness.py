"""The page on official checkpoints: does this harness score them as they were published?"""

from __future__ import annotations

from itertools import groupby

from amlrepro.report.html.content import Chapter, Grid, Page, Text, Tile, grid
from amlrepro.report.numbers import shown, signed
from amlrepro.suite.published import pick_published
from amlrepro.verdicts.harness import TOLERANCE, Harness, HarnessRow

_LEAD = (
    "Before our numbers are set against the paper's, the tools that make them have to score official checkpoints as "
    "their authors did. Until they have, every verdict says so."
)


def harness_page(harness: Harness) -> Page:
    """One row a published value, ours beside it where the checkpoint was evaluated."""
    return Page("harness", "Before any verdict", "Harness", _LEAD, (_outcome(harness), _values(harness)), runs=False)


def _outcome(harness: Harness) -> Chapter:
    needed = [row for row in harness.rows if row.required]
    there = [row for row in harness.rows if row.value is not None]
    distances = [abs(row.difference) for row in there if row.difference is not None]
    tiles = [
        Tile("Required values that came out", f"{sum(row.passed for row in needed)} of {len(needed)}"),
        Tile("Values evaluated", f"{len(there)} of {len(harness.rows)}"),
    ]
    if distances:
        tiles.append(Tile("Largest difference", f"{max(distances):.2f}", f"allowed {TOLERANCE:g}"))
    how = (
        "`amlris verify-harness` evaluates checkpoints that you have by their own protocol; this page judges anew "
        "what it found, so that changed weights, components or published values do not count."
    )
    says = harness.says[0].upper() + harness.says[1:] + "."
    return Chapter("outcome", "Outcome", (says, how), tuple(tiles))


def _values(harness: Harness) -> Chapter:
    grids = [_grid(name, list(rows)) for name, rows in groupby(harness.rows, key=lambda row: row.checkpoint)]
    return Chapter("values", "Published values", grids=tuple(grids))


def _grid(name: str, rows: list[HarnessRow]) -> Grid:
    published = pick_published(name)
    needed = ", required" if published.required else ""
    lines: list[list[Text | str]] = [
        [
            row.title,
            row.published.text,
            "–" if row.value is None else shown(row.value, 2),
            "–" if row.difference is None else signed(row.difference, 2),
            f"{row.allowed:.2f}",
            Text("as published", "good") if row.passed else Text(_state(row), "open" if row.value is None else "bad"),
        ]
        for row in rows
    ]
    headers = ["Value", ">Published", ">Here", ">Difference", ">Allowed", "Result"]
    remark = f" {published.remark[0].upper()}{published.remark[1:]}." if published.remark else ""
    note = f"Source: {published.source}.{remark}"
    return grid(f"{name}, {published.size}{needed}", headers, lines, note)


def _state(row: HarnessRow) -> str:
    return row.reason or "did not come out"
