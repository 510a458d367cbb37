"""Generated stores with orders: runs in every state, as the engine, the launchers and SLURM leave them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from amlrepro.config import dump_config
from amlrepro.files import write_json, write_text
from amlrepro.rundir import RunDir, State
from amlrepro.suite.experiment import load_experiments
from amlrepro.suite.inputs import Inputs
from amlrepro.suite.orders import at_work
from amlrepro.suite.plan import Plan, PlannedRun
from amlrepro.suite.planner import build_plan
from amlrepro.suite.profile import load_profile
from amlrepro.suite.rows import Choices
from amlrepro.suite.store import Store


def make_plan(root: Path, experiments: Sequence[str], seeds: Sequence[int] = (0,), preset: str = "inferred") -> Plan:
    """A plan in the smoke profile."""
    inputs = Inputs("synth", synth_folder=root.absolute() / "data")
    choices = Choices(tuple(seeds), preset)
    return build_plan(load_experiments(list(experiments)), load_profile("smoke"), inputs, choices)


def ordered_store(root: Path, plan: Plan) -> Store:
    """A store in which a plan was asked for, and whose launcher has gone."""
    store = Store(root, plan.profile)
    with at_work(store, plan):
        pass
    return store


def put_run(store: Store, planned: PlannedRun, state: State = "done", epoch: int | None = None, **more: Any) -> RunDir:
    """A run's configuration and state. epoch: as many as asked for by default."""
    run = store.run(planned.run_id)
    write_text(run.config, dump_config(planned.config))
    horizon = planned.config.train.horizon
    epochs = planned.until if epoch is None else epoch
    values = {"horizon": horizon, "until": planned.until, "steps_per_epoch": 2, "step": 2 * epochs, **more}
    run.write_state(state, epoch=epochs, **values)
    return run


def put_results(store: Store, planned: PlannedRun) -> None:
    """All its evaluations and probes, as far as names and epochs go, and its checkpoints."""
    run = store.run(planned.run_id)
    epochs = {"last": planned.until, **{f"epoch{epoch}": epoch for epoch in planned.milestones}}
    for evaluation in planned.evals:
        write_text(run.eval_records(evaluation.eval_id), "")
        meta = {"eval": evaluation.model_dump(mode="json"), "epoch": epochs[evaluation.checkpoint]}
        write_json(run.eval_meta(evaluation.eval_id), meta)
    for probe in planned.probes:
        write_json(run.probe(probe.probe_id), {"values": {}, "epoch": epochs.get(probe.checkpoint, 0)})
