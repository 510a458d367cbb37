"""What the masks did in training, said under a table: a reading that blacks pictures out must not do so silently."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import fmean

from amlrepro.suite.cells import CellResult
from amlrepro.suite.plan import Plan
from amlrepro.suite.store import Store

DARK = 0.5  # share of masked blocks from which the note warns


def masking_notes(store: Store, plan: Plan, results: Iterable[CellResult]) -> list[str]:
    """Share of masked blocks and of wholly masked pictures, a method: means over the epochs of its runs' histories."""
    runs: dict[str, dict[str, None]] = {}
    for result in results:
        for request in result.cell.requests:
            if result.cell.preset and plan.runs[request.run_id].config.strategy != "plain":
                runs.setdefault(result.cell.preset, {})[request.run_id] = None
    notes = []
    for preset, run_ids in runs.items():
        rows = [row for run_id in run_ids for row in _epochs(store, run_id)]
        if not rows:
            continue
        blocks, whole = (100 * fmean(row[name] for row in rows) for name in ("masked_blocks", "fully_masked"))
        warning = ": the model hardly saw a picture" if blocks > 100 * DARK else ""
        parts = "positions of the deepest map" if "level feature" in preset else "blocks"
        weak = [row["weak_blocks"] for row in rows if row.get("weak_blocks") is not None]
        of = f" ({100 * fmean(weak):.1f} % are weak)" if weak and "random" not in preset else ""
        shares = f"{blocks:.1f} % of {parts} hidden{of}, {whole:.1f} % of pictures wholly"
        notes.append(f"Masks of {preset}, mean over training: {shares}{warning}.")
    return notes


def _epochs(store: Store, run_id: str) -> list[dict[str, float]]:
    return [row for row in store.epoch_rows(run_id).values() if row.get("masked_blocks") is not None]
