"""Imported runs among one's own: complete as long as nothing more is asked of their weights, never trained over."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from watched_store import make_plan, put_results, put_run

from amlrepro.errors import UserError
from amlrepro.files import write_text
from amlrepro.launch.job import make_tasks
from amlrepro.suite.plan import PlannedRun
from amlrepro.suite.sharing.origins import Origin, write_origin
from amlrepro.suite.store import Store


@pytest.fixture
def merged(tmp_path: Path) -> tuple[Store, PlannedRun]:
    """A run with all its results, imported without weights."""
    plan = make_plan(tmp_path, ["table5"])
    store, planned = Store(tmp_path, "smoke"), next(iter(plan.runs.values()))
    put_results(store, planned)
    write_origin(put_run(store, planned), Origin("lab-a", "0" * 64, "0.1.0", 1.0))
    return store, planned


def test_it_is_complete(merged: tuple[Store, PlannedRun]) -> None:
    store, planned = merged
    assert store.missing(planned).nothing
    assert make_tasks(store, [planned]) == []
    store.run(planned.run_id).origin.unlink()  # one's own run would need its weights
    assert store.missing(planned).epochs > 0


@pytest.mark.parametrize("more", ["an evaluation", "epochs"])
def test_it_is_not_trained_over(merged: tuple[Store, PlannedRun], more: str) -> None:
    store, planned = merged
    if more == "epochs":
        planned = dataclasses.replace(planned, until=planned.until + 1)
    else:
        evaluation = planned.evals[0]
        store.run(planned.run_id).eval_records(evaluation.eval_id).unlink()
    with pytest.raises(UserError, match="imported without its weights") as error:
        make_tasks(store, [planned])
    assert ("further epochs" if more == "epochs" else evaluation.eval_id) in str(error.value)
    (task,) = make_tasks(store, [planned], fresh=True)
    assert task.job.train


def test_with_weights_it_goes_on(merged: tuple[Store, PlannedRun]) -> None:
    store, planned = merged
    run = store.run(planned.run_id)
    write_text(run.checkpoint("last"), "")
    run.eval_records(planned.evals[0].eval_id).unlink()
    (task,) = make_tasks(store, [planned])
    assert not task.job.train
    assert task.job.evals == [planned.evals[0]]
