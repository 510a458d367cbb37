"""Chances of claims, and the level that a family grants."""

from __future__ import annotations

import pytest

from amlrepro.verdicts.budget.goals import Arm, Comparison, Goal, Need, family_level, look
from amlrepro.verdicts.budget.scoring import Scorer
from amlrepro.verdicts.power import chance_of_direction, chance_of_effect


def arm(name: str, group: str = "g") -> Arm:
    return Arm(name, group, tuple((Need(f"{name}-s{k}", 1),) for k in range(5)))


def goal(name: str, *effects: float, kind: str = "effect", family: str = "f") -> Goal:
    pairs = tuple(Comparison(arm(f"{name}{k}a"), arm(f"{name}{k}b"), d) for k, d in enumerate(effects))
    return Goal(name, family, kind, pairs, 0.45)  # type: ignore[arg-type]


def test_looks_are_at_three_and_five() -> None:
    assert [look(n) for n in range(7)] == [0, 0, 0, 3, 3, 5, 5]


def test_levels_of_a_family() -> None:
    """Half of 5 % at a look. Holm: the first of 4 at a quarter of it, the last at all; Benjamini-Hochberg: R
    quarters."""
    assert family_level("holm", 4, 1) == pytest.approx(0.025 / 4)
    assert family_level("holm", 4, 4) == pytest.approx(0.025)
    assert family_level("benjamini-hochberg", 4, 3) == pytest.approx(0.025 * 3 / 4)
    assert family_level("benjamini-hochberg", 4, 0) == pytest.approx(0.025 / 4)


def test_chances_are_those_of_the_t_test() -> None:
    spread = 0.45 * (2 / 3) ** 0.5
    assert goal("up", 1.5).chance(3, 4, 0.025) == chance_of_effect(1.5, 1.5, spread, 4, 0.025)
    assert goal("down", -1.5).chance(3, 4, 0.025) == chance_of_direction(1.5, spread, 4, 0.025)
    both = goal("both", 1.5, 2.0, kind="all_splits").chance(3, 4, 0.025)
    each = [chance_of_direction(d, spread, 4, 0.025) for d in (1.5, 2.0)]
    assert both == pytest.approx(each[0] * each[1])
    assert goal("best", 1.5, 2.0, kind="best_of").chance(3, 4, 0.025) < both
    assert goal("up", 1.5).chance(3, 3, 0.025) == 0  # the variance is unknown
    assert goal("up", 1.5).chance(0, 40, 0.025) == 0


def test_claims_of_a_family_help_each_other() -> None:
    """Alone of two, a claim is judged at half the level; with the other one decided, at all of it. Noise is pooled:
    four recipes with three seeds have nu 8."""
    goals = [goal("one", 1.2), goal("two", 6.0)]
    scorer = Scorer(goals, {"f": ("benjamini-hochberg", 2)})
    arms = [g.arms for g in goals]
    alone = scorer.score(dict.fromkeys(arms[0], 3))
    together = scorer.change(alone, dict.fromkeys(arms[1], 3))
    assert alone.chances["one"] == pytest.approx(goals[0].chance(3, 4, 0.0125))
    assert together.chances["two"] == pytest.approx(1.0, abs=1e-6)
    assert together.chances["one"] == pytest.approx(goals[0].chance(3, 8, 0.0125))
    assert together.chances == scorer.score(dict.fromkeys([*arms[0], *arms[1]], 3)).chances


def test_seeds_that_a_claim_takes() -> None:
    """The procedure's own table: 0.8 takes 5, 0.5 takes 13; against a cited number half the variance: 7."""
    assert goal("a", 0.8).seeds == 5
    assert (goal("b", 0.5).seeds, goal("b", 0.5).affordable) == (13, False)
    cited = Goal("c", "f", "effect", (Comparison(arm("a"), None, 0.5),), 0.45)
    assert (cited.seeds, cited.affordable) == (7, True)
    assert Goal("d", "f", "effect", goal("d", 2.0).comparisons, None).seeds is None
