"""The store that reports are timed on: everything that takes long is in its cache, and tables are full."""

from __future__ import annotations

from pathlib import Path

import pytest

from amlrepro.bench import reporting
from amlrepro.bench.catalogue import find
from amlrepro.bench.large_store import fill_cache, fill_large, large_plan
from amlrepro.bench.scaling import exponent
from amlrepro.bench.spec import Setting
from amlrepro.report import checks
from amlrepro.report.tabledata import build_table
from amlrepro.suite import cells
from amlrepro.suite.snapshot import Snapshot
from amlrepro.suite.store import Store
from amlrepro.verdicts import bootstrap
from amlrepro.verdicts.cells import judge


@pytest.mark.slow
def test_nothing_is_left_to_calculate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, plan = Store(tmp_path, "paper"), large_plan(3)
    fill_large(store, plan)
    fill_cache(store, plan)

    def never(*_: object) -> None:
        raise AssertionError("this is cached")

    for module, name in ((cells, "read_image_sums"), (checks, "_own_and_other"), (bootstrap, "bootstrap_difference")):
        monkeypatch.setattr(module, name, never)
    snapshot = Snapshot(store)
    judgement = judge(snapshot, plan)
    assert any(verdict.secondary for verdict in judgement.claims.verdicts)
    for experiment in plan.experiments:
        table = build_table(snapshot, plan, experiment, judgement.cells, judgement.claims.harness)
        results = [
            result for block in table.blocks for result in block.cells.values() if result.cell.kind == "measured"
        ]
        assert all(result.interval is not None for result in results if result.value is not None)
        assert all(len(result.seeds) == 3 for result in results if result.value is not None)


@pytest.mark.slow
def test_sizes_are_reported_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest one's seconds are held against the target, and the exponents are those of the rounds."""
    monkeypatch.setattr(reporting, "SEEDS", {"smoke": (1, 2)})
    bench = find("report")
    measured = bench.run(Setting("smoke", rounds=1))
    assert measured.details["runs"] == [30, 60]
    assert measured.details["evaluations"] == [243, 486]
    assert bench.values(measured) == measured.sides["60 runs"]
    (growth,) = (exponent([30, 60], each) for each in zip(*measured.sides.values(), strict=True))
    assert measured.details["growth"]["median"] == pytest.approx(growth)
