"""How often the procedure says what: simulated seeds, normal, through the very functions that judge real ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from amlrepro.verdicts.families import LOOK_LEVEL, LOOKS, Method, granted
from amlrepro.verdicts.labels import (
    CONTRADICTED,
    DECIDED,
    LEVEL,
    REPRODUCED,
    WRONG_SIGN,
    ClaimTest,
    EffectTest,
    EquivalenceTest,
    Label,
    Outcome,
)
from amlrepro.verdicts.noise import compare, pool
from amlrepro.verdicts.power import PRIOR_SIGMA

DRAWS = 10_000


@dataclass(frozen=True)
class Truth:
    """One claim of a simulated paper. effect: the true one. printed: what was printed. margin: of an equivalence."""

    effect: float
    printed: float | None = None
    margin: float | None = None


def simulate(
    effect: float,
    printed: float | None,
    *,
    sigma: float = PRIOR_SIGMA,
    seeds: int = 3,
    level: float = LEVEL,
    margin: float | None = None,
    draws: int = DRAWS,
    random_seed: int = 0,
) -> dict[Label, float]:
    """Rates of each label for one claim, one look at `level`, and no other recipe to pool with, so that
    nu = 2 (seeds - 1)."""
    random = np.random.default_rng(random_seed)
    truth = Truth(effect, printed, margin)
    counts = Counter(_test(truth, _arms(truth, sigma, seeds, random), seeds).at(level).label for _ in range(draws))
    return {label: count / draws for label, count in counts.items()}


@dataclass(frozen=True)
class FamilyRates:
    """Of a simulated family. labels: rates of the labels of each claim, after both looks. any_wrong: how often at least
    one claim is decided against its truth. wrong_share: mean share of wrong ones among the decided, 0 where none is."""

    labels: tuple[Mapping[Label, float], ...]
    any_wrong: float
    wrong_share: float


def simulate_family(
    truths: Sequence[Truth],
    method: Method,
    *,
    sigma: float = PRIOR_SIGMA,
    looks: Sequence[int] = LOOKS,
    level: float = LOOK_LEVEL,
    draws: int = DRAWS,
    random_seed: int = 0,
) -> FamilyRates:
    """Rates for a family of independent claims, each with arms and noise of its own, looked at as real ones are: the
    last look that decides a claim gives its label."""
    random = np.random.default_rng(random_seed)
    counts: list[Counter[Label]] = [Counter() for _ in truths]
    any_wrong, shares = 0, 0.0
    for _ in range(draws):
        arms = [_arms(truth, sigma, max(looks), random) for truth in truths]
        by_look = []
        for look in looks:
            tests = [_test(truth, pair, look) for truth, pair in zip(truths, arms, strict=True)]
            levels = granted([test.p for test in tests], method, level)
            by_look.append([test.at(own) for test, own in zip(tests, levels, strict=True)])
        labels = [last_decided(outcomes).label for outcomes in zip(*by_look, strict=True)]
        for counter, label in zip(counts, labels, strict=True):
            counter[label] += 1
        decided = [k for k, label in enumerate(labels) if label in DECIDED]
        wrong = sum(is_wrong(labels[k], truths[k]) for k in decided)
        any_wrong += wrong > 0
        shares += wrong / len(decided) if decided else 0.0
    rates = tuple({label: count / draws for label, count in counter.items()} for counter in counts)
    return FamilyRates(rates, any_wrong / draws, shares / draws)


def last_decided(outcomes: Sequence[Outcome]) -> Outcome:
    """The outcome of the last look that decides, or of the last look."""
    return next((outcome for outcome in reversed(outcomes) if outcome.label in DECIDED), outcomes[-1])


def is_wrong(label: Label, truth: Truth) -> bool:
    """Whether a decision is false of the true effect; what it says of size beyond d/2 is not counted."""
    if truth.margin is not None:
        inside = abs(truth.effect) < truth.margin
        return (label in REPRODUCED and not inside) or (label in CONTRADICTED and inside)
    if label in REPRODUCED:
        return truth.effect <= 0
    if label == WRONG_SIGN:
        return truth.effect >= 0
    return label in CONTRADICTED and truth.printed is not None and truth.effect >= truth.printed / 2


def _arms(truth: Truth, sigma: float, seeds: int, random: np.random.Generator) -> tuple[list[float], list[float]]:
    drawn = random.normal(0.0, sigma, (2, seeds))
    return (drawn[0] + truth.effect).tolist(), drawn[1].tolist()


def _test(truth: Truth, arms: tuple[list[float], list[float]], seeds: int) -> ClaimTest:
    first, second = (arm[:seeds] for arm in arms)
    difference = compare(first, second, pool([first, second]))
    return EffectTest(difference, truth.printed) if truth.margin is None else EquivalenceTest(difference, truth.margin)
