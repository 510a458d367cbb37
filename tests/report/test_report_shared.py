"""Tables and verdicts of a report read each cell once between them, and that changes no byte of what is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import pytest
from fake_store import fill, make_plan

from amlrepro.report.api import report
from amlrepro.suite import cells
from amlrepro.suite.snapshot import Snapshot
from amlrepro.suite.store import Store


def written(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_cells_are_read_once_for_tables_and_verdicts_and_nothing_else_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, plan = Store(tmp_path / "store", "paper"), make_plan("paper", (0, 1, 2))
    fill(store, plan)
    report(store, plan, tmp_path / "first")
    asked: Counter[tuple[Path, str, str]] = Counter()
    read = cells.read_metric

    def counted(meta: Path, name: str, subset: str, values: Any) -> Any:
        asked[meta, name, subset] += 1
        return read(meta, name, subset, values)  # type: ignore[arg-type]

    monkeypatch.setattr(cells, "read_metric", counted)
    report(store, plan, tmp_path / "shared")
    needed = {
        (store.run(r.run_id).eval_meta(r.eval_id), cell.metric, cell.subset)
        for cell in plan.cells
        for r in cell.evaluations
    }
    assert needed
    once = sum(asked.values())
    assert set(asked) == needed
    assert once == sum(len(cell.evaluations) for cell in plan.cells)

    def make(_: Snapshot, key: Hashable, make: Callable[[], Any]) -> Any:
        return make()

    monkeypatch.setattr(Snapshot, "remembered", make)
    report(store, plan, tmp_path / "apart")
    assert sum(asked.values()) > 3 * once  # that, and again for tables, claims and verdicts on cells
    assert written(tmp_path / "shared") == written(tmp_path / "apart") == written(tmp_path / "first")
