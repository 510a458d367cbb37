"""One training, from its first update or from its last checkpoint to its last update."""

from __future__ import annotations

import os
import shutil
from typing import Any

from amlrepro.config import RunConfig
from amlrepro.engine.history import Heartbeat, Journal, Observer
from amlrepro.engine.session import Session
from amlrepro.engine.signals import StopSignals
from amlrepro.rundir import RunDir


def train(config: RunConfig, run: RunDir, observer: Observer | None = None) -> None:
    """Train `config` in the folder `run`, up to `exec.until` epochs of a schedule that ends at `train.horizon`.

    Goes on from `last` if there is one. Killed at any moment and started again, it ends with the very weights of a run
    that was never killed (CPU, deterministic mode, same number of threads). `observer` is told every row of the history
    and the progress every few seconds. On SIGTERM or Ctrl-C it saves and raises `Preempted` or `KeyboardInterrupt`.
    Raises `UserError` for bad input, before anything is written, and when training diverges.
    """
    journal = Journal(run, observer)
    with journal.reporting(), StopSignals() as signals:
        session = Session(config, run, journal)
        session.begin()
        session.close_epoch(signals)

        for batch in signals.until_received(session.data.batches(session.step, session.stop)):
            session.after_update(*session.update(batch))
            session.close_epoch(signals)
            session.save_if_due()

        session.finish()
        if signals.received is not None:
            journal.state("preempted", **session.progress())
            signals.end()
        journal.state("done", **session.progress())
    replay_missing_milestones(config, run, observer)


def replay_missing_milestones(config: RunConfig, run: RunDir, observer: Observer | None) -> None:
    """Make milestones that were asked for only after the run had passed them, by training up to them once more."""
    done = run.read_state()["epoch"]
    missing = [epoch for epoch in config.exec.milestones if epoch <= done and not run.milestone(epoch).exists()]
    if not missing:
        return
    scratch = RunDir(run.path / "replay")
    changes = {"exec.until": max(missing), "exec.milestones": tuple(missing), "exec.validate_at": ()}

    def relay(row: dict[str, Any]) -> None:
        if row["kind"] == "progress":
            run.write_state(row["state"], replay=missing, reason=row.get("reason"))
        if observer:
            observer(row)

    with Heartbeat(run):
        train(config.with_changes(changes), scratch, relay)
        for epoch in missing:
            for suffix in (".safetensors", ".json"):
                source = scratch.milestone(epoch).with_suffix(suffix)
                os.replace(source, run.checkpoints / source.name)
        shutil.rmtree(scratch.path)
        run.write_state("done")
