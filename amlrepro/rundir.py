"""Names and states inside one run's folder: what the engine writes and the suite reads. Torch-free.

runs/<run_id>/config.yaml provenance.json history.jsonl state.json heartbeat log.txt
              checkpoints/{last,best,epoch<E>}.safetensors (+ .json)   evals/<eval_id>.{parquet,json}
              probes/<probe_id>.{json,parquet,npz}   origin.json (of an imported run)
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from amlrepro.files import read_json, read_jsonl, write_json

State = Literal["queued", "running", "done", "failed", "preempted"]
STATES: tuple[str, ...] = get_args(State)


@dataclass(frozen=True)
class RunDir:
    """One run's folder; nothing is created by naming it."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def provenance(self) -> Path:
        return self.path / "provenance.json"

    @property
    def history(self) -> Path:
        return self.path / "history.jsonl"

    @property
    def state(self) -> Path:
        return self.path / "state.json"

    @property
    def origin(self) -> Path:
        """The mark of an imported run."""
        return self.path / "origin.json"

    @property
    def heartbeat(self) -> Path:
        return self.path / "heartbeat"

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    @cached_property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @cached_property
    def evals(self) -> Path:
        return self.path / "evals"

    @cached_property
    def probes(self) -> Path:
        return self.path / "probes"

    @property
    def replay(self) -> Path:
        """Where milestones that were asked for late are trained; gone when they are there."""
        return self.path / "replay"

    def probe(self, probe_id: str) -> Path:
        """What a probe found; what it keeps in bulk lies beside it."""
        return self.probes / f"{probe_id}.json"

    def checkpoint(self, name: str) -> Path:
        """Path of checkpoint `last`, `best` or `epoch<E>`."""
        return self.checkpoints / f"{name}.safetensors"

    def milestone(self, epoch: int) -> Path:
        """Weights after `epoch` whole epochs."""
        return self.checkpoint(f"epoch{epoch}")

    def eval_records(self, eval_id: str) -> Path:
        return self.evals / f"{eval_id}.parquet"

    def eval_meta(self, eval_id: str) -> Path:
        return self.evals / f"{eval_id}.json"

    def read_state(self) -> dict[str, Any]:
        """`state.json`: `state`, `reason`, `epoch` (whole epochs trained), `updated`; empty when there is none."""
        return dict(read_json(self.state)) if self.state.exists() else {}

    def write_state(self, state: State, **more: Any) -> None:
        """Replace `state.json`, keeping the known progress unless given anew."""
        previous = self.read_state()
        kept = {k: previous[k] for k in ("epoch", "step", "horizon") if k in previous}
        write_json(self.state, {**kept, "state": state, "updated": time.time(), **more})

    def beat(self) -> None:
        """Renew the heartbeat (its modification time)."""
        self.path.mkdir(parents=True, exist_ok=True)
        with self.heartbeat.open("w") as f:
            f.write(f"{os.getpid()}\n")

    def history_rows(self) -> list[dict[str, Any]]:
        """Rows of `history.jsonl` in order of writing."""
        return read_jsonl(self.history)
