"""Buying results: what they cost beyond what is there, tiers in order, then claims by value. Pure.

Value: claims expected to be decided for each hour. A result that several claims need is paid once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from amlrepro.verdicts.budget.goals import Arm, Goal, Need, Result
from amlrepro.verdicts.budget.scoring import Score, Scorer, Sizes
from amlrepro.verdicts.families import LOOKS

LEAST_GAIN = 0.05  # expected decisions, below which a purchase is left
SLACK = 1e-9  # hours


class Costs(Protocol):
    """GPU hours."""

    def training(self, run_id: str, after: int, until: int) -> float:
        """Of training a run from one epoch to another, validation included."""

    def result(self, run_id: str, what: str) -> float:
        """Of an evaluation or a probe."""


@dataclass(frozen=True)
class Tier:
    """Something bought whole or not at all, before claims are weighed. hours: what it costs beside its needs. after: a
    tier without which it is not bought. there: it is done already."""

    name: str
    needs: tuple[Need, ...] = ()
    hours: float = 0.0
    after: str | None = None
    there: bool = False


@dataclass
class Basket:
    """What is there or bought: how far runs are trained, and which results."""

    trained: dict[str, int] = field(default_factory=dict)
    results: set[Result] = field(default_factory=set)

    def copy(self) -> Basket:
        """One that can be filled without this one."""
        return Basket(dict(self.trained), set(self.results))

    def has(self, need: Need) -> bool:
        """Whether a need is met."""
        trained = self.trained.get(need.run_id, 0) >= need.epochs
        return (trained and need.result is None) or (need.run_id, need.result) in self.results

    def price(self, needs: Iterable[Need], costs: Costs) -> float:
        """What the needs cost beyond what is in it."""
        until: dict[str, int] = {}
        results: set[Result] = set()
        for need in needs:
            if self.has(need):
                continue
            if need.epochs > self.trained.get(need.run_id, 0):
                until[need.run_id] = max(need.epochs, until.get(need.run_id, 0))
            if need.result is not None:
                results.add((need.run_id, need.result))
        training = sum(costs.training(run, self.trained.get(run, 0), epochs) for run, epochs in until.items())
        return training + sum(costs.result(run, what) for run, what in results)

    def add(self, needs: Iterable[Need]) -> None:
        """Put in what meets the needs."""
        for need in needs:
            if not self.has(need):
                self.trained[need.run_id] = max(need.epochs, self.trained.get(need.run_id, 0))
                if need.result is not None:
                    self.results.add((need.run_id, need.result))

    def seeds(self, arm: Arm) -> int:
        """Of how many seeds an arm has its value."""
        return sum(all(map(self.has, needs)) for needs in arm.needs)


@dataclass(frozen=True)
class Purchase:
    """One step of buying. name: of the tier or the claim; seeds: an arm, for a claim. gain: claims more that are
    expected to be decided."""

    name: str
    seeds: int
    hours: float
    gain: float
    needs: tuple[Need, ...] = ()


@dataclass(frozen=True)
class Problem:
    """sizes: method and number of claims of each family, run or not. there: what the store has."""

    goals: tuple[Goal, ...]
    tiers: tuple[Tier, ...]
    costs: Costs
    sizes: Sizes
    there: Basket = field(default_factory=Basket)

    @cached_property
    def scorer(self) -> Scorer:
        """What tells how many claims are expected to be decided."""
        return Scorer(self.goals, self.sizes)

    def score(self, basket: Basket) -> Score:
        """Of what is in a basket."""
        return self.scorer.score({arm: basket.seeds(arm) for arm in self.scorer.arms})

    @cached_property
    def arms_of(self) -> Mapping[str, tuple[Arm, ...]]:
        """By run, the arms that need it."""
        found: dict[str, dict[Arm, None]] = {}
        for goal in self.goals:
            for arm in goal.arms:
                for need in (need for one in arm.needs for need in one):
                    found.setdefault(need.run_id, {})[arm] = None
        return {run_id: tuple(arms) for run_id, arms in found.items()}

    def score_with(self, basket: Basket, score: Score, needs: Iterable[Need]) -> Score:
        """What `score`, that of the basket, would be with more in it."""
        more = basket.copy()
        more.add(needs)
        touched = {arm for run_id in {need.run_id for need in needs} for arm in self.arms_of.get(run_id, ())}
        return self.scorer.change(score, {arm: more.seeds(arm) for arm in touched})


@dataclass(frozen=True)
class Bought:
    """What a budget buys. refused: tiers left out, and what they would have cost."""

    basket: Basket
    steps: tuple[Purchase, ...]
    refused: tuple[tuple[Tier, float], ...]
    score: Score

    @property
    def hours(self) -> float:
        """Spent."""
        return sum(step.hours for step in self.steps)


def buy(problem: Problem, budget: float) -> Bought:
    """Spend at most `budget` hours: first the tiers, in order, each whole or not at all; what is left goes to claims,
    the best value first, those that no longer fit left out."""
    basket, left = problem.there.copy(), budget
    steps: list[Purchase] = []
    refused: list[tuple[Tier, float]] = []
    for tier in problem.tiers:
        hours = 0.0 if tier.there else tier.hours + basket.price(tier.needs, problem.costs)
        without = tier.after is not None and tier.after in {other.name for other, _ in refused}
        if without or hours > left + SLACK:
            refused.append((tier, hours))
            continue
        score = problem.score(basket)
        after = problem.score_with(basket, score, tier.needs)
        basket.add(tier.needs)
        left -= hours
        steps.append(Purchase(tier.name, 0, hours, after.total - score.total, tier.needs))
    found = _by_value(problem, basket, left)
    return Bought(basket, (*steps, *found), tuple(refused), problem.score(basket))


def needs_of(goal: Goal, seeds: int) -> tuple[Need, ...]:
    """What so many seeds of all its arms take."""
    return tuple(dict.fromkeys(need for arm in goal.arms for one in arm.needs[:seeds] for need in one))


def open_purchases(problem: Problem, basket: Basket) -> list[Purchase]:
    """Every way to decide more of a claim than the basket does, with its price and gain."""
    score = problem.score(basket)
    found = (_offer(problem, basket, score, *way) for way in _ways(problem))
    return [each for each in found if each is not None]


def _ways(problem: Problem) -> Sequence[tuple[Goal, int]]:
    return [
        (goal, seeds)
        for goal in problem.goals
        if goal.affordable
        for seeds in LOOKS
        if goal.arms and all(len(arm.needs) >= seeds for arm in goal.arms)
    ]


def _by_value(problem: Problem, basket: Basket, left: float) -> list[Purchase]:
    """Fill the basket, the best value first. A value is only calculated anew where it may have changed: what shares a
    run with the last purchase, and the best before it is taken."""
    score = problem.score(basket)
    offers = {way: _offer(problem, basket, score, *way) for way in _ways(problem)}
    steps: list[Purchase] = []
    while True:
        fitting = [(_value(o), o, way) for way, o in offers.items() if o is not None and o.hours <= left + SLACK]
        if not fitting:
            return steps
        _, old, way = max(fitting, key=lambda each: (each[0], -each[1].hours, each[1].name))
        offers[way] = best = _offer(problem, basket, score, *way)
        if best is None or _value(best) < _value(old) - 1e-12 or best.hours > left + SLACK:
            continue
        basket.add(best.needs)
        left -= best.hours
        score = problem.score(basket)
        steps.append(best)
        touched = {need.run_id for need in best.needs}
        for other in offers:
            if touched & {need.run_id for need in needs_of(*other)}:
                offers[other] = _offer(problem, basket, score, *other)


def _offer(problem: Problem, basket: Basket, score: Score, goal: Goal, seeds: int) -> Purchase | None:
    """One purchase; None where it adds nothing worth having. score: of the basket."""
    needs = needs_of(goal, seeds)
    if all(map(basket.has, needs)):
        return None
    gain = problem.score_with(basket, score, needs).total - score.total
    if gain < LEAST_GAIN:
        return None
    return Purchase(goal.name, seeds, basket.price(needs, problem.costs), gain, needs)


def _value(offer: Purchase) -> float:
    return offer.gain / max(offer.hours, SLACK)
