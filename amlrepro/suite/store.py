"""The result store: which runs and evaluations are there, how far they are, and whether they still count."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from amlrepro.config import VERSIONS, EvalConfig, ProbeConfig, load_config, named, read_recipe, split_seed
from amlrepro.errors import UserError
from amlrepro.files import read_json, read_jsonl, write_json
from amlrepro.rundir import RunDir
from amlrepro.schema import parse_strict
from amlrepro.suite.lease import Owner, held, lease_path
from amlrepro.suite.plan import PlannedRun

T = TypeVar("T")
_OF_AN_EPOCH = re.compile(rb'"kind"\s*:\s*"epoch"')


@dataclass(frozen=True)
class RunStatus:
    """What the store holds of a run.

    state: `absent`, or what `state.json` says; a `running` whose owner is dead counts as `interrupted`. reason: of a
    failure; of an absent run, why it was not started. epoch: whole
    epochs trained. stale: made by an older version of a component, so its name no longer matches its configuration.
    """

    run_id: str
    state: str
    epoch: int
    reason: str | None
    owner: Owner | None
    stale: bool


@dataclass(frozen=True)
class Missing:
    """What a planned run still needs. epochs: to train. initial: its weights before training, of a run whose later ones
    nobody asks for."""

    run: PlannedRun
    epochs: int
    evals: tuple[EvalConfig, ...]
    probes: tuple[ProbeConfig, ...] = ()
    initial: bool = False

    @property
    def trains(self) -> bool:
        """Whether the training is to be entered, if only to write the weights it starts from."""
        return self.epochs > 0 or self.initial

    @property
    def nothing(self) -> bool:
        return not (self.trains or self.evals or self.probes)


class Store:
    """The folder `<root>/<profile>`; nothing is created by naming it."""

    def __init__(self, root: Path, profile: str) -> None:
        self.root = root
        self.profile = profile
        self.folder = root / profile

    def run(self, run_id: str) -> RunDir:
        """The folder of a run."""
        return RunDir(self.folder / "runs" / run_id)

    def subject(self, subject_id: str) -> RunDir:
        """The folder of weights from a file, known by their SHA-256."""
        return RunDir(self.folder / "subjects" / subject_id)

    def run_ids(self) -> list[str]:
        """Names of all runs in the store."""
        folder = self.folder / "runs"
        return sorted(p.name for p in folder.iterdir() if (p / "config.yaml").exists()) if folder.is_dir() else []

    def read(self, path: Path) -> Any:
        """The JSON value of a file of the store; None where there is none."""
        return read_json(path) if path.exists() else None

    def calculated(self, kind: str, origin: Any, calculate: Callable[[], Any]) -> Any:
        """The JSON value that `calculate` gives. kind, origin: what it is and all it depends on (None where that is not
        known), for stores that keep such values."""
        return calculate()

    def remembered(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives. key: says what it is, for stores that give it only once."""
        return make()

    def state(self, run_id: str) -> dict[str, Any]:
        """The run's `state.json`; empty where there is none."""
        return dict(self.read(self.run(run_id).state) or {})

    def status(self, run_id: str) -> RunStatus:
        """State of one run."""
        run = self.run(run_id)
        state = self.state(run_id)
        owner = held(run)
        name = str(state.get("state", "queued" if run.config.exists() else "absent"))
        if name == "running" and owner is None:
            name = "interrupted"
        epoch, reason = int(state.get("epoch", 0)), state.get("reason")
        if name == "absent":
            reason = self.stopped_runs().get(run_id)
        return RunStatus(run_id, name, epoch, reason, owner, is_stale(run))

    @property
    def stopped(self) -> Path:
        """Runs that were asked for and not started, with the reason (`amlris run --until-decided`)."""
        return self.folder / "stopped.json"

    def stopped_runs(self) -> dict[str, str]:
        """Those runs, with the reasons."""
        return dict(self.read(self.stopped) or {})

    def write_stopped(self, reasons: Mapping[str, str], of: Iterable[str] = ()) -> None:
        """Note which runs are not started. of: runs that were looked at: what was noted of them before no longer holds.
        Notes on others stay, while these are not there."""
        seen = set(of)
        known = self.stopped_runs().items()
        before = {k: v for k, v in known if k not in seen and not self.run(k).config.exists()}
        if before or reasons or self.stopped.exists():
            write_json(self.stopped, {**before, **reasons})

    def has_checkpoint(self, run_id: str, name: str) -> bool:
        """Whether the weights of that checkpoint are there."""
        return self.run(run_id).checkpoint(name).exists()

    def eval_present(self, run_id: str, evaluation: EvalConfig) -> bool:
        """Whether the records of an evaluation are there and are of the run's present weights."""
        run = self.run(run_id)
        if not run.eval_records(evaluation.eval_id).exists():
            return False
        meta = self.eval_meta(run_id, evaluation.eval_id)
        if meta is None:
            return False
        return evaluation.checkpoint != "last" or meta["epoch"] == self.state(run_id).get("epoch")

    def eval_meta(self, run_id: str, eval_id: str) -> dict[str, Any] | None:
        """What an evaluation's records are records of; None without records."""
        found = self.read(self.run(run_id).eval_meta(eval_id))
        return None if found is None else dict(found)

    def probe_values(self, run_id: str, probe: ProbeConfig) -> dict[str, Any] | None:
        """What a probe wrote, None when it is not there or is of older weights of the run than the present ones."""
        found = self.read(self.run(run_id).probe(probe.probe_id))
        if found is None:
            return None
        current = (
            probe.kind == "cost" or probe.checkpoint != "last" or found["epoch"] == self.state(run_id).get("epoch")
        )
        return dict(found) if current else None

    def epoch_rows(self, run_id: str) -> dict[int, dict[str, Any]]:
        """The history's row of each epoch that is over, by number."""
        path = self.run(run_id).history
        return _epoch_rows(path, path.stat().st_mtime_ns) if path.exists() else {}

    def missing(self, planned: PlannedRun) -> Missing:
        """What is still to be trained and evaluated of a planned run. Weights of a milestone all of whose results are
        there are not missed (`amlris gc` removes them), and neither are those of an imported run."""
        epoch = self.status(planned.run_id).epoch
        weights = all(self._has_milestone(planned, f"epoch{e}") for e in planned.milestones)
        kept = epoch >= planned.until and weights and self.has_checkpoint(planned.run_id, "last")
        kept = kept or self._results_suffice(planned)
        epochs = 0 if kept or planned.until == 0 else max(planned.until - epoch, 1)
        initial = planned.until == 0 and not weights
        evals = tuple(e for e in planned.evals if epochs or not self.eval_present(planned.run_id, e))
        probes = tuple(p for p in planned.probes if self._to_probe(planned.run_id, p, retrained=epochs > 0))
        return Missing(planned, epochs, evals, probes, initial)

    def _has_milestone(self, planned: PlannedRun, name: str) -> bool:
        """Whether the weights are there, or everything that was asked of them."""
        if self.has_checkpoint(planned.run_id, name):
            return True
        evals = [e for e in planned.evals if e.checkpoint == name]
        probes = [p for p in planned.probes if p.checkpoint == name and p.kind != "cost"]
        return bool(evals or probes) and (
            all(self.eval_present(planned.run_id, e) for e in evals)
            and all(self.probe_values(planned.run_id, p) is not None for p in probes)
        )

    def without_weights(self, run_id: str) -> bool:
        """Whether a run was imported and its weights were not."""
        return self.run(run_id).origin.exists() and not self.has_checkpoint(run_id, "last")

    def _results_suffice(self, planned: PlannedRun) -> bool:
        """Whether a run without its weights has everything that is asked of them."""
        return (
            self.without_weights(planned.run_id)
            and self.status(planned.run_id).epoch >= planned.until
            and all(self.eval_present(planned.run_id, e) for e in planned.evals)
            and all(self.probe_values(planned.run_id, p) is not None for p in planned.probes if p.kind != "cost")
        )

    def _to_probe(self, run_id: str, probe: ProbeConfig, retrained: bool) -> bool:
        return (retrained and probe.checkpoint == "last" and probe.kind != "cost") or self.probe_values(
            run_id, probe
        ) is None

    def missing_of(self, runs: Iterable[PlannedRun]) -> list[Missing]:
        """`missing` of several runs, those that need nothing left out."""
        return [m for m in map(self.missing, runs) if not m.nothing]


def discard(run: RunDir) -> None:
    """Delete everything a run left, for `--force`. The caller holds its lease."""
    for path in run.path.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path != run.heartbeat and not path.name.startswith((lease_path(run).name, ".lease")):
            path.unlink()


def is_stale(run: RunDir) -> bool:
    """Whether a run's name is not what its configuration is called today (a component changed its meaning)."""
    if not run.config.exists():
        return False
    try:
        return _name_today(run.config, run.config.stat().st_mtime_ns) != run.path.name
    except UserError:
        return True


@lru_cache(maxsize=1024)
def _epoch_rows(path: Path, stamp: int) -> dict[int, dict[str, Any]]:
    rows = (row for row in read_jsonl(path, _OF_AN_EPOCH) if row.get("kind") == "epoch")
    return {int(row["epoch"]): row for row in rows}


@lru_cache(maxsize=4096)
def _name_today(path: Path, stamp: int) -> str:
    """What the configuration in a file is called today."""
    text, seed = split_seed(path.read_text("utf-8"))
    return load_config(path).run_id if seed is None else named(_recipe_today(text, tuple(VERSIONS.items())), seed)


@lru_cache(maxsize=256)
def _recipe_today(text: str, versions: tuple[tuple[str, int], ...]) -> str:
    """A recipe's name, worked out once for all its seeds. versions: of the components, which names depend on."""
    return read_recipe(text).recipe_name


def read_eval_config(meta: dict[str, Any], where: Path) -> EvalConfig:
    """The evaluation that records belong to."""
    return parse_strict(EvalConfig, meta["eval"], where)
