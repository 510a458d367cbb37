"""What measuring a reading costs, by the paper's rates on the official data in the paper profile. Torch-free.

Whatever the profile, the machine and what is in the store: which readings are trained shall depend on none of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from amlrepro.suite.inputs import Inputs
from amlrepro.suite.plan import PlannedRun
from amlrepro.suite.planner import build_plan
from amlrepro.suite.profile import load_profile
from amlrepro.suite.readings import EXPERIMENT, FIRST, catalogue, readings_experiment
from amlrepro.suite.rows import Choices


@dataclass(frozen=True)
class ReadingCosts:
    """A800 hours. common: measuring all readings before training, and CARIS without masks after epoch 1; readings: by
    name, training a reading for epoch 1 and scoring it. All seeds together."""

    common: float
    readings: Mapping[str, float]


@cache
def reading_costs(seeds: int) -> ReadingCosts:
    """The costs with so many seeds, each the same: training by Table 9, validation, evaluation and probes by our
    estimates from it (`suite/cost.py`)."""
    profile = load_profile("paper")
    everything = catalogue(profile)
    experiment = readings_experiment(everything, everything.readings)
    plan = build_plan([experiment], profile, Inputs("refer"), Choices(tuple(range(seeds))))
    common, readings = 0.0, dict.fromkeys((reading.name for reading in everything.readings), 0.0)
    after = f"{EXPERIMENT}/{FIRST}/"
    for run in plan.runs.values():
        trained = [user.removeprefix(after) for user in run.used_by if user.startswith(after)]
        if trained:
            readings[trained[0]] += _hours(run)
        else:
            common += _hours(run)
    return ReadingCosts(common, MappingProxyType(readings))


def _hours(run: PlannedRun) -> float:
    parts = (run.cost_hours, run.validation_hours, run.evaluation_hours, run.probe_hours)
    if None in parts:
        raise AssertionError(f"the paper's rates say nothing of {run.run_id}")
    return sum(part for part in parts if part is not None)
