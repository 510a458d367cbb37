"""Plans of chosen runs: what stays, what tables say of the rest, and files of choices."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_store import finish_run, make_plan, make_records, write_records

from amlrepro.errors import UserError
from amlrepro.files import write_json
from amlrepro.suite.cells import CellReader
from amlrepro.suite.chosen import LEFT_OUT, Choice, Chosen, read_chosen, reduce_plan, write_chosen
from amlrepro.suite.orders import order_of
from amlrepro.suite.store import Store


def test_only_what_was_chosen_is_asked_for(tmp_path: Path) -> None:
    """Of table 10: epoch 10 of CARIS, one evaluation."""
    plan, store = make_plan("paper", (0, 1), ("table10",)), Store(tmp_path, "paper")
    run = next(run for run in plan.runs.values() if run.config.strategy == "plain")
    early = next(e for e in run.evals if e.checkpoint == "epoch10")
    chosen = Chosen("paper", "inferred", {run.run_id: Choice(10, frozenset({early.eval_id}))})
    small = reduce_plan(plan, chosen, store)
    kept = small.runs[run.run_id]
    assert list(small.runs) == [run.run_id]
    assert (kept.until, kept.config.exec.until, kept.milestones, kept.evals) == (10, 10, (10,), [early])
    assert kept.run_id == run.run_id == kept.config.run_id
    assert store.missing(kept).epochs == 10
    states = {(cell.row, cell.column): (cell.kind, cell.reason) for cell in small.cells}
    assert states["caris", "ep10.oiou"] == ("measured", None)
    assert states["caris", "ep50.oiou"] == ("unavailable", LEFT_OUT)
    assert order_of(small).run_ids == [run.run_id]
    assert plan.runs[run.run_id].until == 50  # the plan itself is as it was


def test_what_the_store_has_stays(tmp_path: Path) -> None:
    plan, store = make_plan("paper", (0, 1), ("table2",)), Store(tmp_path, "paper")
    there, wanted = (run for run in plan.runs.values() if run.config.model.name == "caris" and run.config.seed == 0)
    finish_run(store, there)
    for evaluation in there.evals:
        write_records(store, there, evaluation, make_records(0.7, 30, 10, seed=1))
    everything = frozenset(e.eval_id for e in wanted.evals)
    small = reduce_plan(plan, Chosen("paper", "inferred", {wanted.run_id: Choice(50, everything)}), store)
    assert set(small.runs) == {there.run_id, wanted.run_id}
    shown = CellReader(store, small, "table2").block("oiou")
    assert [seed for seed, _ in shown["caris", "refcoco+.val"].seeds] == [0]
    assert shown["caris_aml", "refcoco+.val"].reason == "not run yet"
    assert shown["detris", "refcoco+.val"].reason == LEFT_OUT


def test_a_file_of_choices_comes_back_and_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "chosen.json"
    chosen = Chosen("paper", "inferred", {"a-s0": Choice(3, frozenset({"e"}), frozenset({"p"}))})
    write_chosen(path, chosen)
    assert read_chosen(path) == chosen
    write_chosen(path, chosen)  # the same again
    other = Chosen("paper", "inferred", {})
    with pytest.raises(UserError, match="there is another file"):
        write_chosen(path, other)
    write_chosen(path, other, force=True)
    assert read_chosen(path) == other


def test_wrong_choices_are_refused(tmp_path: Path) -> None:
    plan, store = make_plan("paper", (0,), ("table2",)), Store(tmp_path, "paper")
    run = next(iter(plan.runs.values()))
    wrong = [
        (Chosen("demo", "inferred", {}), "another profile"),
        (Chosen("paper", "literal", {}), "another preset"),
        (Chosen("paper", "inferred", {"nobody-s0": Choice(1)}), "not in this plan"),
        (Chosen("paper", "inferred", {run.run_id: Choice(50, frozenset({"nothing"}))}), "not asked for that"),
    ]
    for chosen, said in wrong:
        with pytest.raises(UserError, match=said):
            reduce_plan(plan, chosen, store)
    for value in ({"format": 99, "runs": {}}, {"runs": 3}, []):
        write_json(tmp_path / "bad.json", value)
        with pytest.raises(UserError):
            read_chosen(tmp_path / "bad.json")
    with pytest.raises(UserError, match="no such file"):
        read_chosen(tmp_path / "none.json")
