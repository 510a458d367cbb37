"""What training takes here: images/s from the runs of a store in place of the paper's rates. Torch-free.

A GPU hour costs the same whether a run has one GPU or eight: images/s are divided by the processes that made them.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from amlrepro.config import RunConfig, load_config
from amlrepro.data.specs import SplitCounts
from amlrepro.errors import UserError
from amlrepro.files import read_jsonl
from amlrepro.rundir import RunDir
from amlrepro.suite.benched import read_costs
from amlrepro.suite.cost import (
    evaluation_hours,
    is_joint,
    paper_rate,
    probe_hours,
    training_hours,
    validation_hours,
)
from amlrepro.suite.inputs import Inputs
from amlrepro.suite.plan import Plan, PlannedRun
from amlrepro.suite.printed import load_printed
from amlrepro.suite.store import Store

PAPER_GPU = "A800"
_WITH_A_PACE = re.compile(rb'"images_per_s"')
Kind = tuple[str, str, int, bool]  # model, its size, side of its input, whether AML's first stage is in it


@dataclass(frozen=True)
class Measured:
    """Pace of one kind of training on one kind of GPU. images_per_s: of one process; images: how many it is the mean
    over; runs: how many runs these are of, 0 where it was benched."""

    kind: Kind
    gpu: str
    images_per_s: float
    images: float
    runs: int


@dataclass(frozen=True)
class Rates:
    """What a sample takes. gpu: of which hours are counted; measured: by kind of training, empty before there are runs;
    others: GPUs that were measured too and are not used."""

    gpu: str = PAPER_GPU
    measured: Mapping[Kind, Measured] = field(default_factory=dict)
    others: tuple[str, ...] = ()

    def hours_per_sample(self, config: RunConfig, with_aml: bool) -> float | None:
        """GPU hours that training takes for one sample: measured; or scaled from the nearest kind that was measured; or
        by the paper's rate where nothing was. None where none of them says anything."""
        if not self.measured:
            return paper_rate(config, with_aml)
        model, size, side, _ = kind = kind_of(config, with_aml)
        if kind in self.measured:
            return 1 / 3600 / self.measured[kind].images_per_s
        printed = paper_rate(config, with_aml)
        own = [each for each in self.measured.values() if each.kind[:2] == (model, size)]
        if not own and printed is None:  # small models: another one of that size is the best there is
            own = [each for each in self.measured.values() if each.kind[1] == size]
        same = [each for each in own if each.kind[3] == with_aml]
        if own:
            nearest = min(same or own, key=lambda each: (abs(each.kind[2] - side), each.kind))
            area = (side / nearest.kind[2]) ** 2
            return area * _stage_one(model, with_aml) / _stage_one(model, nearest.kind[3]) / 3600 / nearest.images_per_s
        return None if printed is None or self._factor is None else printed * self._factor

    def source(self, config: RunConfig, with_aml: bool) -> str:
        """Where that comes from: `measured`, `scaled` or `paper`."""
        if not self.measured:
            return "paper"
        return "measured" if kind_of(config, with_aml) in self.measured else "scaled"

    @property
    def _factor(self) -> float | None:
        """Hours here for an hour by the paper's rates, over all kinds that have both."""
        pairs = [(each.images, 1 / 3600 / each.images_per_s, _printed(each.kind)) for each in self.measured.values()]
        known = [(weight, here, there) for weight, here, there in pairs if there is not None]
        total = sum(weight * there for weight, _, there in known)
        return sum(weight * here for weight, here, _ in known) / total if total else None


PAPER = Rates()


@dataclass(frozen=True)
class Price:
    """GPU hours of one planned run; None where the rates say nothing."""

    training: float | None
    validation: float | None
    evaluation: float | None
    probes: float | None


def kind_of(config: RunConfig, with_aml: bool) -> Kind:
    """What the pace of a training depends on."""
    return config.model.name, config.model.size, config.data.image_size, with_aml


def measure_rates(store: Store) -> Rates:
    """The rates of a store: of its runs on the GPU that was used last; while no run has left a pace, what was benched
    at these sizes (`suite/benched.py`); without that the paper's."""
    return store.remembered("rates", lambda: _rates(store))


def _rates(store: Store) -> Rates:
    found: dict[str, dict[Kind, list[tuple[str, float, float]]]] = {}
    last: dict[str, float] = {}
    for run_id in store.run_ids():
        run = store.run(run_id)
        with contextlib.suppress(UserError, OSError):  # a run that cannot be read says nothing
            config = load_config(run.config)
            if is_joint(config):  # its step is another one, charged by its ratio to AML's
                continue
            kind = kind_of(config, config.strategy == "aml")
            for gpu, since, images, seconds in _paces(store, run):
                found.setdefault(gpu, {}).setdefault(kind, []).append((run_id, images, seconds))
                last[gpu] = max(since, last.get(gpu, since))
    if not found:
        return _benched(store)
    gpu = max(found, key=lambda name: (last[name], name))
    measured = {kind: _measured(kind, gpu, rows) for kind, rows in found[gpu].items()}
    return Rates(gpu, measured, tuple(sorted(set(found) - {gpu})))


def _benched(store: Store) -> Rates:
    """What was benched, of the official precision: the runs of experiments have it."""
    costs = [each for each in read_costs(store.root, store.profile) if each.numerics == "faithful"]
    if not costs:
        return PAPER
    gpu = device_title(costs[0].device)
    kinds = {(each.model, each.size, each.image_size, each.aml): each.images_per_s for each in costs}
    return Rates(gpu, {kind: Measured(kind, gpu, pace, 1.0, 0) for kind, pace in kinds.items()})


def price(run: PlannedRun, plan: Plan, rates: Rates = PAPER) -> Price:
    """What a planned run costs in all, by those rates."""
    counts, rate = PlanCounts(plan, run.config), rates.hours_per_sample
    return Price(
        training_hours(run.config, run.until, run.refs, rate),
        validation_hours(run.config, run.until, counts, rate),
        evaluation_hours(run.config, run.evals, counts, rate),
        probe_hours(run.config, run.probes, rate),
    )


@dataclass(frozen=True)
class PlanCounts:
    """Sizes of splits as a run of a plan finds them: of its data root; of synthetic data those that are drawn."""

    plan: Plan
    config: RunConfig

    def __call__(self, dataset: str, split: str, split_by: str | None = None) -> SplitCounts:
        if self.plan.source == "synth":
            return Inputs("refer", Path(str(self.config.exec.data_root))).counts(dataset, split, split_by)
        root = Path(self.plan.data_root) if self.plan.data_root else None
        return Inputs("refer", root).counts(dataset, split, split_by)


def says(rates: Rates, runs: Iterable[PlannedRun]) -> str:
    """One sentence: by which rates the runs are charged, and on which GPU."""
    if not rates.measured:
        return "the paper's rates (Table 9, A800)"
    trained = [run for run in runs if run.until]
    ours = [run for run in trained if rates.source(run.config, run.config.strategy == "aml") == "measured"]
    paces = "; ".join(
        f"{name}{'+AML' if aml else ''} {each.images_per_s:.3g} images/s"
        for (name, _, _, aml), each in sorted(rates.measured.items())
    )
    rest = f", {len(trained) - len(ours)} scaled from those" if len(ours) < len(trained) else ""
    how = "measured here" if any(each.runs for each in rates.measured.values()) else "benched (amlris bench)"
    return f"what was {how} on {rates.gpu} ({paces}): {len(ours)} trainings directly{rest}"


def _measured(kind: Kind, gpu: str, rows: list[tuple[str, float, float]]) -> Measured:
    images, seconds = sum(row[1] for row in rows), sum(row[2] for row in rows)
    return Measured(kind, gpu, images / seconds, images, len({row[0] for row in rows}))


def _paces(store: Store, run: RunDir) -> Iterator[tuple[str, float, float, float]]:
    """GPU, start of the session, images and seconds of each stretch of training that left its pace: whole epochs;
    before the first has ended windows of updates, the first of which (it warms up) does not count."""
    sessions = (store.read(run.provenance) or {}).get("sessions", [])
    rows = [row for row in read_jsonl(run.history, _WITH_A_PACE) if row.get("images_per_s")]
    epochs = [row for row in rows if row.get("kind") == "epoch" and row.get("seconds")]
    windows = [row for row in rows if row.get("kind") == "step"][1:]
    for row in epochs or windows:
        session = next((s for s in reversed(sessions) if s.get("from_step", 0) < row["step"]), None)
        if session is None:
            continue
        processes = max(1, int(session.get("world_size") or 1))
        pace = float(row["images_per_s"]) / processes
        seconds = float(row.get("seconds") or 1.0) * processes
        yield _gpu(session), float(session.get("start") or 0.0), pace * seconds, seconds


def _gpu(session: Mapping[str, Any]) -> str:
    """What a session ran on, without the maker's name."""
    devices = [name for name in session.get("devices") or [] if name]
    gpus = (session.get("hardware") or {}).get("gpus") or []
    names = devices or ([] if session.get("device") == "cpu" else gpus)
    name = str(names[0]) if names else "cpu"
    return device_title(name)


def device_title(name: str) -> str:
    """A device's name without its maker's and a processor's details."""
    return "CPU" if name.upper().startswith("CPU") else name.removeprefix("NVIDIA ").strip()


def _stage_one(model: str, with_aml: bool) -> float:
    """How much longer a step takes with AML, by Table 9; of ReLA, which is not in it, as of CARIS."""
    if not with_aml:
        return 1.0
    name = model if model in ("caris", "detris") else "caris"
    table = load_printed("table9")
    with_it, plain = (table.value(row, "time_min_per_epoch") for row in (f"{name}_aml", name))
    return float(with_it) / float(plain) if with_it is not None and plain is not None else 1.0


def _printed(kind: Kind) -> float | None:
    """The paper's rate for a kind of training, where it has one."""
    model, size, side, with_aml = kind
    config = RunConfig.model_validate({"model": {"name": model, "size": size}, "data": {"image_size": side}})
    return paper_rate(config, with_aml)
