"""What the store says is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from amlrepro import config as schema
from amlrepro.config import EvalConfig, RunConfig, dump_config, load_config
from amlrepro.files import write_json, write_text
from amlrepro.suite import store as module
from amlrepro.suite.plan import PlannedRun
from amlrepro.suite.store import Store, discard

VAL = EvalConfig(dataset="refcoco", split="val")
TEST_A = EvalConfig(dataset="refcoco", split="testA")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path, "demo")


def planned(until: int = 50, milestones: tuple[int, ...] = ()) -> PlannedRun:
    return PlannedRun(RunConfig(), "baseline", until, milestones, [VAL, TEST_A])


def put_run(store: Store, epoch: int, state: str = "done", checkpoints: tuple[str, ...] = ("last",)) -> str:
    """A run's folder as the engine leaves it."""
    run_id = RunConfig().run_id
    run = store.run(run_id)
    write_text(run.config, dump_config(RunConfig()))
    run.write_state(state, epoch=epoch)  # type: ignore[arg-type]
    for name in checkpoints:
        write_text(run.checkpoint(name), "")
    return run_id


def put_eval(store: Store, run_id: str, evaluation: EvalConfig, epoch: int) -> None:
    run = store.run(run_id)
    write_text(run.eval_records(evaluation.eval_id), "")
    write_json(run.eval_meta(evaluation.eval_id), {"eval": evaluation.model_dump(), "epoch": epoch})


def test_an_empty_store_misses_everything_and_stays_empty(store: Store) -> None:
    missing = store.missing(planned())
    assert (missing.epochs, missing.evals) == (50, (VAL, TEST_A))
    assert store.status(RunConfig().run_id).state == "absent"
    assert store.run_ids() == []
    assert not store.folder.exists()


def test_a_complete_run_misses_nothing(store: Store) -> None:
    run_id = put_run(store, 50)
    put_eval(store, run_id, VAL, 50)
    assert store.missing(planned()).evals == (TEST_A,)
    put_eval(store, run_id, TEST_A, 50)
    assert store.missing(planned()).nothing
    assert store.missing_of([planned()]) == []


def test_an_interrupted_run_misses_the_rest(store: Store) -> None:
    run_id = put_run(store, 20, "running")
    assert store.missing(planned()).epochs == 30
    assert store.status(run_id).state == "interrupted"  # nobody holds its lease


def test_a_lost_checkpoint_is_trained_again(store: Store) -> None:
    put_run(store, 50, checkpoints=())
    assert store.missing(planned()).epochs > 0


def test_a_missing_milestone_is_made_up_for(store: Store) -> None:
    put_run(store, 50)
    assert store.missing(planned(milestones=(10,))).epochs > 0
    put_run(store, 50, checkpoints=("last", "epoch10"))
    assert store.missing(planned(milestones=(10,))).epochs == 0


def test_an_evaluation_of_earlier_weights_does_not_count(store: Store) -> None:
    run_id = put_run(store, 50)
    put_eval(store, run_id, VAL, 40)
    assert not store.eval_present(run_id, VAL)
    at_ten = VAL.model_copy(update={"checkpoint": "epoch10"})
    put_eval(store, run_id, at_ten, 10)
    assert store.eval_present(run_id, at_ten)


def test_records_without_their_description_do_not_count(store: Store) -> None:
    run_id = put_run(store, 50)
    write_text(store.run(run_id).eval_records(VAL.eval_id), "")
    assert not store.eval_present(run_id, VAL)


def test_results_of_an_older_version_are_shown_as_stale_and_not_used(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = put_run(store, 50)
    put_eval(store, run_id, VAL, 50)
    assert not store.status(run_id).stale
    monkeypatch.setitem(schema.VERSIONS, "loop", 2)
    store.run(run_id).config.touch()  # the name is remembered by path and time
    assert store.status(run_id).stale
    assert store.missing(planned()).epochs == 50  # the same settings have another name now


def test_discard_leaves_the_lease_alone(store: Store) -> None:
    run = store.run(put_run(store, 50))
    (run.path / "lease.json").write_text("{}")
    discard(run)
    assert [p.name for p in run.path.iterdir()] == ["lease.json"]


def test_initial_weights_alone_are_made_without_an_epoch(store: Store) -> None:
    """until 0 with milestone 0: the training is entered, and writes what it starts from."""
    first = store.missing(planned(0, (0,)))
    assert (first.epochs, first.trains, first.nothing) == (0, True, False)
    put_run(store, 0, checkpoints=("epoch0", "last"))
    there = store.missing(planned(0, (0,)))
    assert (there.trains, there.evals) == (False, (VAL, TEST_A))


def test_what_needs_no_weights_enters_no_training(store: Store) -> None:
    assert not store.missing(planned(0)).trains


def test_names_of_today_are_those_of_the_whole_configuration(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    configs = [RunConfig(seed=seed).with_changes({"train.batch": n}) for n in (3, 4) for seed in (0, 7, 10)]
    for config in configs:
        write_text(store.run(config.run_id).config, dump_config(config))
    first = store.run(configs[0].run_id).config
    renamed = store.run(configs[1].run_id.replace("-s7", "-s8")).config
    write_text(renamed, dump_config(configs[1]))
    parsed: list[str] = []
    read = module.read_recipe
    monkeypatch.setattr(module, "read_recipe", lambda text: parsed.append(text) or read(text))
    assert [store.status(config.run_id).stale for config in configs] == [False] * 6
    assert store.status(renamed.parent.name).stale
    assert len(parsed) == 2  # of a recipe's seeds one
    for text in ("seed: 1\n" + first.read_text(), first.read_text().replace("seed: 0", "seed: 00")):
        write_text(first, text)  # two seeds, or one that is written oddly: as the YAML reader takes it
        assert store.status(configs[0].run_id).stale == (load_config(first).run_id != configs[0].run_id)
    write_text(first, "- no\n- mapping\nseed: 0")
    assert store.status(configs[0].run_id).stale
