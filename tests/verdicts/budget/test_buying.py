"""Buying by value on made-up claims whose best answer is plain, and rules that hold of any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amlrepro.verdicts.budget.buying import Basket, Problem, Tier, buy, needs_of
from amlrepro.verdicts.budget.goals import Arm, Comparison, Goal, Need

SEEDS = 5


@dataclass(frozen=True)
class ByEpoch:
    """An hour an epoch times a factor of the recipe, a tenth of an hour a result."""

    factors: dict[str, float]

    def training(self, run_id: str, after: int, until: int) -> float:
        return self.factors[run_id.split("-")[0]] * (until - after)

    def result(self, run_id: str, what: str) -> float:
        return 0.1


def arm(recipe: str, epochs: int = 10, what: str = "val") -> Arm:
    needs = tuple((Need(f"{recipe}-s{seed}", epochs, f"evals/{what}"),) for seed in range(SEEDS))
    return Arm(recipe, "group", needs)


def goal(name: str, first: Arm, second: Arm, effect: float = 3.0, family: str | None = None) -> Goal:
    return Goal(name, family or name, "effect", (Comparison(first, second, effect),), 0.45)


def problem(goals: Sequence[Goal], factors: dict[str, float], tiers: Sequence[Tier] = (), **more: Basket) -> Problem:
    sizes = {g.family: ("benjamini-hochberg", sum(o.family == g.family for o in goals)) for g in goals}
    return Problem(tuple(goals), tuple(tiers), ByEpoch(factors), sizes, **more)  # type: ignore[arg-type]


def test_three_seeds_of_both_arms_are_bought_or_nothing() -> None:
    """2 arms, 3 seeds, 10 epochs and an evaluation: 2 * 3 * 10.1 = 60.6 h decide an effect of 3; 60.5 h decide
    nothing."""
    one = problem([goal("one", arm("a"), arm("b"))], {"a": 1.0, "b": 1.0})
    assert buy(one, 60.5).steps == ()
    bought = buy(one, 60.7)
    assert [(step.name, step.seeds) for step in bought.steps] == [("one", 3)]
    assert bought.hours == pytest.approx(60.6)
    assert bought.score.total == pytest.approx(1.0, abs=0.01)


def test_a_shared_arm_is_paid_once() -> None:
    """The second claim costs its own arm alone: 3 * 10.1."""
    goals = [goal("one", arm("a"), arm("b")), goal("two", arm("a"), arm("c"))]
    bought = buy(problem(goals, {"a": 1.0, "b": 1.0, "c": 1.0}), 91.0)
    assert bought.hours == pytest.approx(3 * 3 * 10.1)
    assert bought.score.total == pytest.approx(2.0, abs=0.01)


def test_the_better_value_comes_first_and_what_does_not_fit_is_passed_over() -> None:
    """60.6 h for one claim against 12.6 h for another; with 65 h the dear one no longer fits, a cheap third does."""
    cheap, dear = goal("cheap", arm("c", 2), arm("d", 2)), goal("dear", arm("a"), arm("b"))
    third = goal("third", arm("e", 8), arm("f", 8))
    bought = buy(problem([dear, cheap, third], dict.fromkeys("abcdef", 1.0)), 65.0)
    assert [step.name for step in bought.steps] == ["cheap", "third"]


def test_a_run_that_another_claim_needs_longer_is_gone_on_with() -> None:
    """Epochs 1 to 3 for one claim, 4 to 10 for the other: each epoch is paid once."""
    short = goal("short", arm("a", 3, "early"), arm("b", 3, "early"))
    bought = buy(problem([short, goal("long", arm("a"), arm("b"))], {"a": 1.0, "b": 1.0}), 1000.0)
    results = 0.1 * len(bought.basket.results)
    seeds = {run for run, _ in bought.basket.results}
    assert bought.hours == pytest.approx(10 * len(seeds) + results)


def test_what_is_there_costs_nothing() -> None:
    one = goal("one", arm("a"), arm("b"))
    there = Basket()
    there.add(needs_of(one, 2))
    bought = buy(problem([one], {"a": 1.0, "b": 1.0}, there=there), 20.3)
    assert bought.hours == pytest.approx(20.2)  # the third seed of both
    assert bought.score.total > 0.95


def test_an_effect_that_takes_too_many_seeds_is_never_bought() -> None:
    """0.29 takes 38 seeds an arm."""
    small = goal("small", arm("a"), arm("b"), 0.29)
    assert (small.seeds, small.affordable) == (38, False)
    assert buy(problem([small], {"a": 1.0, "b": 1.0}), 10_000.0).steps == ()


def test_a_cited_number_is_a_constant() -> None:
    """One arm: half the variance, and 5 seeds before the variance is known (nu 4)."""
    cited = Goal("cited", "f", "effect", (Comparison(arm("a"), None, 3.0),), 0.45)
    bought = buy(problem([cited], {"a": 1.0}), 1000.0)
    assert [step.seeds for step in bought.steps] == [5]


def test_tiers_come_first_whole_or_not_at_all_and_the_rest_goes_on() -> None:
    """Tier one does not fit into 50 h and tier two hangs on it: what is left decides the claim that fits."""
    tiers = [
        Tier("zero", hours=1.0),
        Tier("one", (Need("a-s0", 60),)),
        Tier("two", (Need("a-s1", 10),), after="one"),
    ]
    one = problem([goal("cheap", arm("c", 2), arm("d", 2))], dict.fromkeys("acd", 1.0), tiers)
    bought = buy(one, 50.0)
    assert [step.name for step in bought.steps][:2] == ["zero", "cheap"]
    assert [(tier.name, hours) for tier, hours in bought.refused] == [("one", 60.0), ("two", 10.0)]
    assert buy(one, 0.5).steps == ()


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Up to five claims over four recipes, some sharing arms, trained for different lengths, in one or two families."""
    names = "abcd"
    factors = {name: draw(st.sampled_from([0.1, 1.0, 3.0])) for name in names}
    arms = {(n, e): arm(n, e, f"epoch{e}") for n in names for e in (1, 10)}
    goals = []
    for number in range(draw(st.integers(1, 5))):
        first, second = draw(st.lists(st.sampled_from(names), min_size=2, max_size=2, unique=True))
        epochs, effect = draw(st.sampled_from([1, 10])), draw(st.sampled_from([-2.0, 0.3, 0.8, 1.5, 4.0]))
        family = draw(st.sampled_from(["x", "y"]))
        goals.append(goal(f"g{number}", arms[first, epochs], arms[second, epochs], effect, family))
    tiers = [Tier("first", (Need("a-s0", 10), Need("b-s0", 10)))] if draw(st.booleans()) else []
    return problem(goals, factors, tiers)


@settings(max_examples=60, deadline=None)
@given(problems(), st.floats(0, 300))
def test_never_more_hours_than_given(made: Problem, budget: float) -> None:
    """And the steps add up to what the basket costs."""
    bought = buy(made, budget)
    assert bought.hours <= budget + 1e-6
    needs = [need for step in bought.steps for need in step.needs]
    assert bought.hours == pytest.approx(Basket().price(needs, made.costs))
    assert 0 <= bought.score.total <= len(made.goals)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([1, 2, 5, 9]), st.sampled_from([0.8, 1.5, 4.0])), min_size=1, max_size=4),
    st.floats(0, 200),
    st.floats(0, 100),
)
def test_more_hours_never_decide_less_where_claims_share_nothing(
    sizes: list[tuple[int, float]], budget: float, more: float
) -> None:
    """A purchase that only the larger budget can take has the best value of all that is open, and costs more than the
    smaller one has left. Claims of two arms of their own, one family each; up to what a purchase too small to make is
    worth."""
    goals = [
        Goal(f"g{k}", f"f{k}", "effect", (Comparison(only(f"a{k}", e), only(f"b{k}", e), effect),), 0.45)
        for k, (e, effect) in enumerate(sizes)
    ]
    factors = {f"{side}{k}": 1.0 for side in "ab" for k in range(len(sizes))}
    made = problem(goals, factors)
    assert buy(made, budget + more).score.total >= buy(made, budget).score.total - 1e-9


def only(recipe: str, epochs: int) -> Arm:
    """An arm that can have three seeds, and a noise group of its own."""
    three = arm(recipe, epochs).needs[:3]
    return Arm(recipe, recipe[1:], three)


@settings(max_examples=60, deadline=None)
@given(problems(), st.floats(0, 200), st.floats(0, 100))
def test_more_hours_cost_a_claim_at_most(made: Problem, budget: float, more: float) -> None:
    """Where claims share runs and families the greedy choice may go another way: by no more than one claim. Tiers are
    left aside, which may take hours from claims as soon as they fit."""
    free = Problem(made.goals, (), made.costs, made.sizes)
    assert buy(free, budget + more).score.total >= buy(free, budget).score.total - 1
