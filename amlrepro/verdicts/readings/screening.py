"""Which readings are trained: chosen from what was measured before training, by a rule that was written down first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from amlrepro.errors import UserError
from amlrepro.suite.plan import Plan
from amlrepro.suite.reading_costs import ReadingCosts, reading_costs
from amlrepro.suite.readings import EXPERIMENT, INITIAL, Reading
from amlrepro.suite.store import Store
from amlrepro.verdicts.readings.aim import find_target, scale_of
from amlrepro.verdicts.readings.distances import Floats, ScreeningRule, load_distances
from amlrepro.verdicts.readings.gather import Numbers, measure
from amlrepro.verdicts.readings.ranking import deviations, distances

TIE = 9  # decimals of a distance that count


@dataclass(frozen=True)
class ScreenedReading:
    """One reading before training. distance: from the target, of the statistics of epoch 0 alone, None where it was not
    measured; hours: A800 hours that training and scoring it takes; reason: why it is trained or not. same_as: readings
    with the very same numbers before training: they differ in the step alone, or their shares are 0 and 1."""

    name: str
    title: str
    distance: float | None
    hours: float
    trained: bool
    reason: str
    same_as: tuple[str, ...] = ()


@dataclass(frozen=True)
class Screening:
    """What came of it. readings: nearest before training first. hours: that all may take; common: what is spent
    whichever are trained; spent: all that is trained, with it. More than `hours` only where what is always trained
    alone takes more."""

    hours: float
    common: float
    spent: float
    readings: tuple[ScreenedReading, ...]

    @property
    def trained(self) -> tuple[str, ...]:
        """Names of the readings that are trained."""
        return tuple(reading.name for reading in self.readings if reading.trained)

    @property
    def left_out(self) -> tuple[ScreenedReading, ...]:
        """The readings that are not trained, nearest before training first."""
        return tuple(reading for reading in self.readings if not reading.trained)

    @property
    def exceeded(self) -> bool:
        """Whether what is always trained takes more than the hours given."""
        return self.spent > self.hours

    def place(self, name: str) -> int:
        """The rank of a reading before training, from 1."""
        return 1 + [reading.name for reading in self.readings].index(name)


def choose(
    readings: Sequence[Reading], found: Mapping[str, float], costs: ReadingCosts, rule: ScreeningRule, hours: float
) -> Screening:
    """The readings that are trained for so many hours, by the rule of `experiments/paper/readings.yaml`.

    found: distances before training by name, without those that are not measured.
    """
    order = {reading.name: number for number, reading in enumerate(readings)}

    def key(reading: Reading) -> tuple[float, float, int]:
        distance = round(found.get(reading.name, np.inf), TIE)
        return distance, costs.readings[reading.name], order[reading.name]

    spent = costs.common + sum(costs.readings[name] for name in order if name in rule.always)
    out = []
    for reading in sorted(readings, key=key):
        price, distance = costs.readings[reading.name], found.get(reading.name)
        left = hours - spent
        if reading.name in rule.always:
            trained, reason = True, "always"
        elif distance is None:
            trained, reason = False, "not measured"
        elif price <= left:
            spent += price
            trained, reason = True, "fits"
        else:
            trained, reason = False, f"only {left:.1f} h left" if left >= 0.05 else "no hours left"
        out.append(ScreenedReading(reading.name, reading.title, distance, price, trained, reason))
    return Screening(hours, costs.common, spent, tuple(out))


def screen(
    store: Store, plan: Plan, readings: Sequence[Reading], *, target: str | None, hours: float | None = None
) -> Screening:
    """Choose from what the store has of the plan, which holds `readings_experiment` of these readings and of the
    target.

    hours: those of `experiments/paper/readings.yaml` by default. Raises `UserError` where nothing can be compared.
    """
    rules, numbers = load_distances(), Numbers(store)
    terms = rules.terms((INITIAL,))
    measured = measure(numbers, plan, EXPERIMENT, [reading.name for reading in readings], terms, rules.floor)
    aim = find_target(numbers, plan, target, terms, rules, None)
    there = [each for each in measured if each.values]
    if not there or aim is None:
        raise nothing_measured((each.reason for each in measured), target)
    means = {each.name: np.mean(list(each.values.values()), axis=0) for each in there}
    scale = scale_of(terms, rules)
    found = {name: float(distances(deviations(mean, aim.values, scale), scale).min()) for name, mean in means.items()}
    hours = rules.screening.hours if hours is None else hours
    return _with_twins(choose(readings, found, reading_costs(len(plan.seeds)), rules.screening, hours), means)


def nothing_measured(reasons: Iterable[str | None], target: str | None) -> UserError:
    """Why no reading can be compared, as an error of the user's choices."""
    found = "; ".join(dict.fromkeys(reason for reason in reasons if reason)) or (
        f"no measurement of the target, {target}" if target else "not run yet"
    )
    return UserError(
        "no reading can be told from another here",
        where="amlris readings",
        found=found,
        expected="S and the masked share of the ground truth, measured on the evaluated pairs",
        hint="profile smoke is too small for it unless pictures are larger (--set data.image_size=112 --set "
        "data.synth.image_size=112); --profile demo measures all",
    )


def _with_twins(screening: Screening, means: Mapping[str, Floats]) -> Screening:
    """The readings with those that measured the same."""

    def same_as(name: str) -> tuple[str, ...]:
        own = means.get(name)
        if own is None:
            return ()
        return tuple(other for other, mean in means.items() if other != name and np.array_equal(mean, own))

    rows = tuple(replace(each, same_as=same_as(each.name)) for each in screening.readings)
    return replace(screening, readings=rows)


def parse_screening(values: Mapping[str, Any]) -> Screening:
    """The screening from its plain values."""
    rows = [ScreenedReading(**{**each, "same_as": tuple(each["same_as"])}) for each in values["readings"]]
    return Screening(**{**values, "readings": tuple(rows)})


def presets_alone(seeds: int) -> tuple[float, float, float]:
    """A800 hours with so many seeds: of what is trained whatever is measured, with all that is measured; of the
    cheapest and of the dearest of the others."""
    costs, always = reading_costs(seeds), load_distances().screening.always
    others = [hours for name, hours in costs.readings.items() if name not in always]
    return costs.common + sum(costs.readings[name] for name in always), min(others), max(others)
