"""What may go from a store, and what must stay."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from watched_store import make_plan, ordered_store, put_results, put_run

from amlrepro import config as schema
from amlrepro.errors import UserError
from amlrepro.files import write_json
from amlrepro.suite.lease import LeaseHeld, Owner, lease_path
from amlrepro.suite.orders import at_work, read_orders
from amlrepro.suite.plan import Plan, PlannedRun
from amlrepro.suite.retention import Removal, asked_of, removable, remove
from amlrepro.suite.safetensors_file import leave_out, read_header
from amlrepro.suite.store import Store

TENSORS: dict[str, np.ndarray] = {
    "model/a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "model/b": np.arange(3, dtype=np.int8),
    "strategy/p": np.ones((4,), np.float64),
    "optimizer/a/exp_avg": np.full((50,), 2.0, np.float32),
    "optimizer/a/step": np.array(7, dtype=np.float32),
}


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """Table 3 evaluates ReLA after an early epoch, Table 11 again at the end."""
    return make_plan(tmp_path, ["table11"])


@pytest.fixture
def store(tmp_path: Path, plan: Plan) -> Store:
    return ordered_store(tmp_path, plan)


def put(store: Store, run: PlannedRun, results: bool = True) -> None:
    """A finished run with all its checkpoints."""
    folder = put_run(store, run)
    for name in ("last", "best", *(f"epoch{epoch}" for epoch in run.milestones)):
        path = folder.checkpoint(name)
        path.parent.mkdir(exist_ok=True)
        tensors = TENSORS if name == "last" else {k: v for k, v in TENSORS.items() if k.startswith("model/")}
        save_file(tensors, path, metadata={"amlris": json.dumps({"epoch": run.until})})
        write_json(path.with_suffix(".json"), {"tensors": len(tensors)})
    if results:
        put_results(store, run)


def found(store: Store, plans: Sequence[Plan], best: bool = False) -> dict[str, list[Removal]]:
    orders = read_orders(store)
    out: dict[str, list[Removal]] = {}
    for removal in removable(store, orders, asked_of(plans, orders), best=best):
        out.setdefault(removal.kind, []).append(removal)
    return out


def with_milestone(plan: Plan) -> PlannedRun:
    return next(run for run in plan.runs.values() if run.milestones and run.until == run.config.train.horizon)


def test_the_optimiser_of_a_finished_run_goes_and_all_else_stays(store: Store, plan: Plan) -> None:
    run = with_milestone(plan)
    put(store, run, results=False)
    # the run lacks results, so it is not done: nothing of it may go
    assert found(store, [plan]) == {}
    put_results(store, run)
    (removal,) = found(store, [plan])["optimiser"]
    assert removal.size == 50 * 4 + 4
    path = store.run(run.run_id).checkpoint("last")
    before = path.stat().st_size
    remove(store, removal)
    assert before - path.stat().st_size >= removal.size
    left = load_file(path)
    assert set(left) == {"model/a", "model/b", "strategy/p"}
    assert all(np.array_equal(left[name], TENSORS[name]) and left[name].dtype == TENSORS[name].dtype for name in left)
    with safe_open(path, "np") as file:
        assert json.loads(file.metadata()["amlris"]) == {"epoch": run.until}
    assert json.loads(path.with_suffix(".json").read_text("utf-8")) == {"tensors": 3}
    assert "optimiser" not in found(store, [plan])


def test_a_milestone_goes_when_every_experiment_has_its_results(store: Store, plan: Plan) -> None:
    run = with_milestone(plan)
    put(store, run)
    (removal,) = found(store, [plan])["milestone"]
    assert removal.paths[0].stem == f"epoch{run.milestones[0]}"
    extra = plan.runs[run.run_id].evals[0].model_copy(update={"checkpoint": removal.paths[0].stem, "text": "other"})
    other = make_plan(store.root, ["table11"])
    other.runs[run.run_id].evals.append(extra)  # another experiment, whose result is not there
    assert "milestone" not in found(store, [plan, other])
    assert store.missing(run).nothing
    remove(store, removal)
    assert not removal.paths[0].exists()
    assert not removal.paths[1].exists()
    assert store.missing(run).nothing  # what was evaluated is not trained again
    for evaluation in run.evals:
        store.run(run.run_id).eval_records(evaluation.eval_id).unlink()
    assert store.missing(run).epochs > 0  # but when its results are lost too


def test_weights_of_runs_that_no_experiment_is_known_to_use_stay(tmp_path: Path, plan: Plan) -> None:
    store = Store(tmp_path, "smoke")  # without orders
    put(store, with_milestone(plan))
    assert set(found(store, [])) == {"optimiser"}


def test_milestones_that_a_command_named_stay(store: Store, plan: Plan) -> None:
    run = with_milestone(plan)
    put(store, run)
    assert "milestone" in found(store, [plan])
    plan.overrides = {"exec.milestones": [run.milestones[0]]}
    ordered_store(store.root, plan)
    assert "milestone" not in found(store, [plan])


def test_best_goes_only_when_asked(store: Store, plan: Plan) -> None:
    put(store, with_milestone(plan))
    assert "best" not in found(store, [plan])
    assert len(found(store, [plan], best=True)["best"]) == 1


def test_runs_at_work_or_waited_for_are_left_alone(store: Store, plan: Plan) -> None:
    run = with_milestone(plan)
    put(store, run)
    removals = [removal for each in found(store, [plan]).values() for removal in each]
    with at_work(store, plan):
        assert found(store, [plan]) == {}
    lease_path(store.run(run.run_id)).write_text(json.dumps(asdict(Owner.me())), "utf-8")
    assert found(store, [plan]) == {}
    with pytest.raises(LeaseHeld):
        remove(store, removals[0])


def test_a_run_that_may_go_on_keeps_everything(store: Store, plan: Plan) -> None:
    run = with_milestone(plan)
    put(store, run)
    store.run(run.run_id).write_state("done", epoch=run.until, horizon=run.until + 5)
    assert found(store, [plan], best=True) == {}


def test_stale_runs_go_whole(store: Store, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    run = with_milestone(plan)
    put(store, run)
    monkeypatch.setitem(schema.VERSIONS, "loop", 2)
    (removal,) = found(store, [plan])["stale run"]
    assert removal.size > 1000
    remove(store, removal)
    assert not store.run(run.run_id).path.exists()


def test_old_temporary_files_are_leftovers(store: Store, plan: Plan) -> None:
    run = with_milestone(plan)
    put(store, run)
    folder = store.run(run.run_id)
    old, young = folder.evals / ".x.json.abc.tmp", folder.checkpoints / ".last.safetensors.q.tmp"
    for path in (old, young, store.folder / ".cache.json.u.tmp"):
        path.write_bytes(b"torn")
        if path != young:
            os.utime(path, (1e9, 1e9))
    removals = found(store, [plan])["temporary files"]
    assert {path for removal in removals for path in removal.paths} == {old, store.folder / ".cache.json.u.tmp"}
    for removal in removals:
        remove(store, removal)
    assert not old.exists()
    assert young.exists()
    assert not list(store.folder.glob(".clock*"))


@pytest.mark.parametrize("damage", [b"", b"\x05\x00", b"\xff" * 64])
def test_a_torn_checkpoint_is_left_alone(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "last.safetensors"
    path.write_bytes(damage)
    with pytest.raises(UserError, match="torn"):
        read_header(path)
    save_file(TENSORS, path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match="torn"):
        leave_out(path, lambda name: True)
