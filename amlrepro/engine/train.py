"""One training, from its first update or from its last checkpoint to its last update."""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import Any

from amlrepro.config import RunConfig
from amlrepro.engine.distributed import ALONE, World
from amlrepro.engine.history import Heartbeat, Journal, Observer
from amlrepro.engine.session import Session
from amlrepro.engine.signals import StopSignals
from amlrepro.rundir import RunDir


def train(config: RunConfig, run: RunDir, observer: Observer | None = None, world: World = ALONE) -> None:
    """Train `config` in the folder `run`, up to `exec.until` epochs of a schedule that ends at `train.horizon`.

    Goes on from `last` if there is one. Killed at any moment and started again, it ends with the very weights of a run
    that was never killed (CPU, deterministic mode, same number of threads). `observer` is told every row of the history
    and the progress every few seconds. On SIGTERM or Ctrl-C it saves and raises `Preempted` or `KeyboardInterrupt`.
    Every process of `world` calls it; a signal to one stops all after the same update. Gradients are those of one
    process, so a run may go on with another number of them.
    Raises `UserError` for bad input, before anything is written, and when training diverges.
    """
    journal = Journal(run, observer, silent=not world.is_main)
    with journal.reporting(), StopSignals(world) as signals:
        session = Session(config, run, journal, world)
        session.begin()
        session.close_epoch(signals)

        for batch in signals.until_asked(session.batches()):
            session.after_update(*session.update(batch))
            session.close_epoch(signals)
            session.save_if_due(signals)

        session.finish()
        signals.agree()
        if signals.asked is not None:
            journal.state("preempted", **session.progress())
            signals.end()
        journal.state("done", **session.progress())
    replay_missing_milestones(config, run, observer, world)


def replay_missing_milestones(config: RunConfig, run: RunDir, observer: Observer | None, world: World = ALONE) -> None:
    """Make milestones that were asked for only after the run had passed them, by training up to them once more."""
    missing = world.from_main(_missing_milestones(config, run) if world.is_main else [])
    if not missing:
        return
    scratch = RunDir(run.replay)
    changes = {"exec.until": max(missing), "exec.milestones": tuple(missing), "exec.validate_at": ()}

    def relay(row: dict[str, Any]) -> None:
        if row["kind"] == "progress":
            run.write_state(row["state"], replay=missing, reason=row.get("reason"))
        if observer:
            observer(row)

    with Heartbeat(run) if world.is_main else contextlib.nullcontext():
        train(config.with_changes(changes), scratch, relay, world)
        if not world.is_main:
            return
        for epoch in missing:
            for suffix in (".safetensors", ".json"):
                source = scratch.milestone(epoch).with_suffix(suffix)
                os.replace(source, run.checkpoints / source.name)
        shutil.rmtree(scratch.path)
        run.write_state("done")


def _missing_milestones(config: RunConfig, run: RunDir) -> list[int]:
    done = run.read_state()["epoch"]
    return [epoch for epoch in config.exec.milestones if epoch <= done and not run.milestone(epoch).exists()]
