"""How a store stands, told from its files alone."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from watched_store import make_plan, ordered_store, put_results, put_run

from amlrepro.cli.status_view import left_out_lines
from amlrepro.rundir import RunDir
from amlrepro.suite.cancel import request_cancel
from amlrepro.suite.lease import Owner, lease_path
from amlrepro.suite.orders import at_work, read_orders
from amlrepro.suite.overview import Pulse, RunView, look
from amlrepro.suite.plan import Plan, PlannedRun, Request
from amlrepro.suite.store import Store


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return make_plan(tmp_path_factory.mktemp("data"), ["table2"])


@pytest.fixture
def store(tmp_path: Path, plan: Plan) -> Store:
    return ordered_store(tmp_path, plan)


def planned(store: Store, number: int = 0) -> PlannedRun:
    (order,) = read_orders(store)
    return order.planned(order.run_ids[number])


def fill(run: RunDir, planned: PlannedRun, failed: bool) -> None:
    """A run with all its results, quickly: nothing is made durable."""
    run.evals.mkdir(parents=True)
    run.probes.mkdir()
    run.config.write_text("{}", "utf-8")
    state = {"state": "failed", "epoch": 1, "reason": "CUDA out of memory"} if failed else {"state": "done"}
    run.state.write_text(json.dumps({"epoch": planned.until, **state}), "utf-8")
    for evaluation in () if failed else planned.evals:
        run.eval_records(evaluation.eval_id).touch()
        run.eval_meta(evaluation.eval_id).touch()
    for probe in () if failed else planned.probes:
        run.probe(probe.probe_id).touch()


def own(run: RunDir, owner: Owner | None = None) -> None:
    """A lease: this process's, or another's."""
    run.path.mkdir(parents=True, exist_ok=True)
    lease_path(run).write_text(json.dumps(asdict(owner or Owner.me())), "utf-8")
    run.beat()


def view(store: Store, number: int = 0) -> RunView:
    name = read_orders(store)[0].run_ids[number]
    return next(run for run in look(store).runs if run.run_id == name)


def test_asked_for_and_not_begun(store: Store, plan: Plan) -> None:
    assert {run.state for run in look(store).runs} == {"to do"}
    with at_work(store, plan):
        assert {run.state for run in look(store).runs} == {"queued"}
        assert look(store).at_work


def test_done_means_that_all_results_are_there(store: Store) -> None:
    run = planned(store)
    put_run(store, run)
    assert (view(store).state, view(store).evals) == ("to do", (0, len(run.evals)))
    put_results(store, run)
    assert (view(store).state, view(store).evals) == ("done", (len(run.evals), len(run.evals)))


def test_running_needs_a_living_owner(store: Store) -> None:
    run = put_run(store, planned(store), "running", 1, loss=0.5, images_per_s=10.0, eta_s=60.0)
    assert view(store).state == "interrupted"
    own(run)
    seen = view(store)
    assert (seen.state, seen.phase, seen.epoch, seen.loss, seen.eta_s) == ("running", "training", 1, 0.5, 60.0)
    assert seen.fraction == 0.5  # update 2 of 2 x 2
    assert seen.pid == Owner.me().pid
    own(run, replace(Owner.me(), started="0"))  # the number of a process that ended is another's now
    assert view(store).state == "interrupted"


def test_a_held_run_that_has_said_nothing_yet_is_starting(store: Store) -> None:
    own(store.run(planned(store).run_id))
    assert (view(store).state, view(store).phase) == ("running", "starting")


def test_while_evaluating(store: Store) -> None:
    run = put_run(store, planned(store), "running", evaluation={"done": 1.5, "total": 6})
    own(run)
    assert (view(store).phase, view(store).fraction) == ("evaluating", 0.25)


def test_an_owner_elsewhere_is_judged_by_its_heartbeat_alone(store: Store) -> None:
    """No clock is read: only whether the heartbeat changes while one looks."""
    run = put_run(store, planned(store), "running", 1)
    own(run, replace(Owner.me(), machine="elsewhere", host="node7"))
    pulse = Pulse(expiry=0.05)

    def state() -> str:
        return next(r for r in look(store, pulse=pulse).runs if r.run_id == run.path.name).state

    assert state() == "running"
    time.sleep(0.06)
    run.heartbeat.write_text("again")
    assert state() == "running"
    time.sleep(0.06)
    assert state() == "interrupted"
    assert view(store).state == "running"  # who looks once cannot know


def test_cancelled_failed_preempted(store: Store) -> None:
    first, second, third = (planned(store, number) for number in (0, 1, 2))
    request_cancel(put_run(store, first, "preempted", 1, reason="cancelled"))
    put_run(store, second, "failed", 1, reason="out of memory", failure={"cause": "memory"})
    put_run(store, third, "preempted", 1)
    assert [view(store, number).state for number in (0, 1, 2)] == ["cancelled", "failed", "preempted"]
    assert view(store, 1).failure == {"cause": "memory"}


def test_a_run_that_is_to_end_and_has_not_yet(store: Store) -> None:
    run = put_run(store, planned(store), "running", 1)
    own(run)
    request_cancel(run)
    assert (view(store).state, view(store).cancelling) == ("running", True)


def test_what_slurm_has_is_known_by_its_job(store: Store) -> None:
    run = store.run(planned(store).run_id)
    run.path.mkdir(parents=True)
    run.write_state("queued", queued={"executor": "slurm", "job_id": "12_3", "since": 0.0})
    assert (view(store).state, view(store).job_id) == ("queued", "12_3")


def test_cells_are_filled_when_all_their_results_are_there(tmp_path: Path) -> None:
    """Counted by hand from the plan: a cell of two seeds needs both."""
    plan = make_plan(tmp_path, ["table2"], seeds=(0, 1))
    store = ordered_store(tmp_path, plan)
    cells = [c for c in plan.cells if c.kind == "measured"]
    first = cells[0]
    done = {r.run_id for r in first.requests[:1]}
    for run_id in done:
        put_run(store, plan.runs[run_id])
        put_results(store, plan.runs[run_id])
    (experiment,) = look(store).experiments
    assert (experiment.cells, experiment.filled) == (len([c for c in plan.cells if c.kind != "printed"]), 0)
    done |= {r.run_id for r in first.requests}
    for run_id in done:
        put_run(store, plan.runs[run_id])
        put_results(store, plan.runs[run_id])
    expected = sum(all(isinstance(r, Request) and r.run_id in done for r in c.requests) for c in cells)
    assert look(store).experiments[0].filled == expected > 0


def test_epochs_of_the_history_count_as_they_are_trained(tmp_path: Path) -> None:
    """Table 14 shows losses by epoch; its runs end at the smoke profile's second."""
    plan = make_plan(tmp_path, ["table14"])
    store = ordered_store(tmp_path, plan)
    for run in plan.runs.values():
        put_run(store, run, "preempted", 1)
    half = look(store).experiments[0]
    for run in plan.runs.values():
        put_run(store, run)
    whole = look(store).experiments[0]
    assert 0 < half.filled < whole.filled == whole.cells


def test_five_hundred_runs_take_one_file_each_and_no_torch(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, ["all"], seeds=range(17))
    assert len(plan.runs) >= 500
    store = ordered_store(tmp_path, plan)
    for number, run in enumerate(plan.runs.values()):
        fill(store.run(run.run_id), run, failed=number % 3 == 0)
    code = f"""
import sys
from pathlib import Path
from amlrepro.suite.overview import look
from amlrepro.suite.store import Store
opened = []
def note(event, arguments):
    if event in ("open", "os.scandir", "os.listdir") and str(arguments[0]).startswith({str(tmp_path)!r}):
        opened.append((event, str(arguments[0])))
sys.addaudithook(note)
overview = look(Store(Path({str(tmp_path)!r}), "smoke"))
files = [name for event, name in opened if event == "open"]
assert len(files) == len(set(files)) <= {len(plan.runs)} + 5, (len(files), len(set(files)))
assert len(opened) <= 5 * {len(plan.runs)}, len(opened)  # a run's folder, its checkpoints, evaluations and probes
assert len(overview.runs) == {len(plan.runs)}
assert sum(each.filled for each in overview.experiments) > 0
assert not {{"torch", "pandas"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_left_out_is_neither_to_do_nor_missing(tmp_path: Path, plan: Plan) -> None:
    """A run noted as not worth starting: its state and reason say so, the cells count without it, and once it has begun
    the note no longer holds."""
    plan = make_plan(tmp_path / "data", ["table2"], seeds=(0, 1))
    store = ordered_store(tmp_path, plan)
    (order,) = read_orders(store)
    runs = [order.planned(run_id) for run_id in order.run_ids]
    for run in runs:
        if run.config.seed == 0:
            put_run(store, run)
            put_results(store, run)
    later = [run for run in runs if run.config.seed == 1]
    assert [view.filled for view in look(store).experiments] == [0]
    store.write_stopped({run.run_id: "settled" for run in later[:2]})
    seen = look(store)
    assert {run.run_id: run.reason for run in seen.runs if run.state == "left out"} == store.stopped_runs()
    assert [run.state for run in seen.runs].count("to do") == len(later) - 2
    cells = seen.experiments[0].cells // len(later)  # of each method
    assert (seen.experiments[0].filled, seen.experiments[0].fewer) == (2 * cells, 2 * cells)
    text = "\n".join(left_out_lines(seen.runs))
    assert "left out: 2 runs, settled" in text
    assert "without --until-decided" in text
    put_run(store, later[0], state="failed")
    assert [run.state for run in look(store).runs].count("left out") == 1
    store.write_stopped({}, of=[later[1].run_id])  # asked for after all
    assert look(store).experiments[0].fewer == 0
    assert store.stopped_runs() == {}
