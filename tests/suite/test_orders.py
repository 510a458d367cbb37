"""What a command asked of a store is found again, as it was planned."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from watched_store import make_plan, ordered_store

from amlrepro import config as schema
from amlrepro.suite.lease import Owner
from amlrepro.suite.orders import at_work, order_of, read_orders
from amlrepro.suite.plan import Request
from amlrepro.suite.store import Store


def test_runs_come_back_as_they_were_planned(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, ["table3", "table13"], seeds=(0, 1))
    (order,) = read_orders(ordered_store(tmp_path, plan))
    again = order.plan(order.run_ids)
    assert list(again.runs) == list(plan.runs)
    for run_id, run in plan.runs.items():
        other = again.runs[run_id]
        assert (other.config, other.evals, other.probes) == (run.config, run.evals, run.probes)
        assert (other.run_id, other.until, other.milestones, other.used_by) == (
            run_id,
            run.until,
            run.milestones,
            run.used_by,
        )


def test_a_derived_cell_needs_what_its_parts_need(tmp_path: Path) -> None:
    """An average needs the evaluations of all the cells it is over."""
    plan = make_plan(tmp_path, ["table15"])
    derived = next(c for c in plan.cells if c.kind == "derived")
    parts = [c for c in plan.cells if (c.block, c.row, c.column) in derived.parts]
    expected = {(r.run_id, f"evals/{r.eval_id}") for c in parts for r in c.requests if isinstance(r, Request)}
    assert len(expected) == len(derived.parts) > 1
    assert expected in [set(needs) for needs in order_of(plan).needs("cells", "table15")]


def test_an_order_is_active_as_long_as_its_launcher_works(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, ["table2"])
    store = Store(tmp_path, "smoke")
    with at_work(store, plan):
        with at_work(store, plan):  # the same command given twice is one order with two launchers
            assert [len(order.launchers) for order in read_orders(store)] == [2]
        assert [order.active for order in read_orders(store)] == [True]
    assert [order.active for order in read_orders(store)] == [False]
    assert len(list((store.folder / "orders").iterdir())) == 1


def test_a_launcher_that_was_killed_is_at_work_no_more(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, ["table2"])
    store = ordered_store(tmp_path, plan)
    (path,) = (store.folder / "orders").iterdir()
    signature = path.with_name(f"{path.stem}.x.launcher")
    signature.write_text(json.dumps(asdict(replace(Owner.me(), started="0"))), "utf-8")
    (order,) = read_orders(store)
    assert (len(order.launchers), order.active) == (1, False)
    with at_work(store, plan):
        assert not signature.exists()
    signature.write_text(json.dumps(asdict(replace(Owner.me(), machine="elsewhere"))), "utf-8")
    assert read_orders(store)[0].active  # nobody here can tell


def test_other_choices_are_another_order(tmp_path: Path) -> None:
    store = ordered_store(tmp_path, make_plan(tmp_path, ["table2"]))
    ordered_store(tmp_path, make_plan(tmp_path, ["table2"], preset="literal"))
    ordered_store(tmp_path, make_plan(tmp_path, ["table2"], seeds=(3,)))
    assert sorted(order.label for order in read_orders(store)) == ["", "", "literal"]


def test_an_order_of_older_versions_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ordered_store(tmp_path, make_plan(tmp_path, ["table2"]))
    assert read_orders(store)[0].current
    monkeypatch.setitem(schema.VERSIONS, "loop", 2)
    assert not read_orders(store)[0].current


def test_a_broken_file_hides_no_other(tmp_path: Path) -> None:
    store = ordered_store(tmp_path, make_plan(tmp_path, ["table2"]))
    (store.folder / "orders" / "torn.json").write_text('{"format": 1, "runs"', "utf-8")
    (store.folder / "orders" / "foreign.json").write_text("[]", "utf-8")
    assert len(read_orders(store)) == 1
