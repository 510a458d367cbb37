"""What readings are compared with: the printed numbers, or those of a reading's own run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from amlrepro.suite.plan import Plan
from amlrepro.suite.readings import TARGET
from amlrepro.suite.store import Store
from amlrepro.verdicts.readings.distances import Distances, Floats, Term
from amlrepro.verdicts.readings.gather import Resampler, measure
from amlrepro.verdicts.readings.ranking import Scale

PRINTED = "printed"


@dataclass(frozen=True, eq=False)
class Target:
    """What readings are compared with. values, raw [K]: transformed, and in the unit of the cells."""

    name: str
    seed: int | None
    values: Floats
    raw: Floats
    shifts: Floats | None = None


def find_target(
    store: Store, plan: Plan, name: str | None, terms: Sequence[Term], rules: Distances, resampler: Resampler | None
) -> Target | None:
    """The printed numbers, or those of a reading's own run. A known target prints Table 13 in one variant, as the paper
    does, and does not tell which; None where that run is not in the store. resampler: for the noise of its pairs."""
    if name is None:
        printed = [[term.printed(rules.floor), term.printed_raw] for term in terms]
        values, raw = np.asarray(printed, dtype=np.float64).T
        return Target(PRINTED, None, values, raw)
    found = measure(store, plan, TARGET, [name], terms, rules.floor)[0]
    if not found.values:
        return None
    source = [_as_printed(k, terms, rules.known_target) for k in range(len(terms))]
    seed, values = next(iter(found.values.items()))
    raw = np.asarray([found.raw[term.name] for term in terms])
    shifts = None if resampler is None else resampler.shifts(TARGET, found, terms, rules.floor)
    return Target(name, seed, values[source], raw[source], None if shifts is None else shifts[:, source])


def _as_printed(k: int, terms: Sequence[Term], variant: str) -> int:
    """Where the number lies that a target prints for term k."""
    term = terms[k]
    if term.variant is None:
        return k
    wanted = (term.group, variant, term.statistic.id)
    return next(i for i, each in enumerate(terms) if (each.group, each.variant, each.statistic.id) == wanted)


def scale_of(terms: Sequence[Term], rules: Distances) -> Scale:
    """How these terms become a distance."""
    variants = list(rules.variants)
    groups = list(dict.fromkeys(term.group for term in terms))
    return Scale(
        tolerance=np.asarray([term.statistic.tolerance for term in terms]),
        weight=np.asarray([term.weight for term in terms]),
        variant=np.asarray([-1 if term.variant is None else variants.index(term.variant) for term in terms]),
        group=np.asarray([groups.index(term.group) for term in terms]),
        cap=rules.cap,
    )
