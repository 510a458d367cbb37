"""How many claims are expected to be decided with so many seeds of each arm; quick where few arms change. Pure."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from amlrepro.verdicts.budget.goals import Arm, Goal, family_level, look
from amlrepro.verdicts.families import Method

Sizes = Mapping[str, tuple[Method, int]]  # of families: how they are judged, and how many claims they have, run or not


@dataclass(frozen=True)
class Score:
    """seeds: of each arm. families: the chance of every goal, by family and name."""

    seeds: Mapping[Arm, int] = field(default_factory=dict)
    families: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    affordable: frozenset[str] = frozenset()

    @property
    def chances(self) -> dict[str, float]:
        """The chance of every goal, by name."""
        return {name: chance for members in self.families.values() for name, chance in members.items()}

    @cached_property
    def total(self) -> float:
        """Claims expected to be decided, of those that affordable seeds can decide."""
        chances = (each for members in self.families.values() for each in members.items())
        return sum(chance for name, chance in chances if name in self.affordable)


class Scorer:
    """Scores seeds for some goals."""

    def __init__(self, goals: Sequence[Goal], sizes: Sizes) -> None:
        self._sizes = sizes
        self._families: dict[str, list[Goal]] = {}
        self._recipes: dict[Hashable, dict[Hashable, list[Arm]]] = {}  # by noise group
        self._touching: dict[Arm, set[str]] = {}  # families whose chances an arm's seeds change
        self._affordable = frozenset(goal.name for goal in goals if goal.affordable)
        self.arms = tuple(dict.fromkeys(arm for goal in goals for arm in goal.arms))
        by_group: dict[Hashable, set[str]] = {}
        for goal in goals:
            self._families.setdefault(goal.family, []).append(goal)
            for arm in goal.arms:
                by_group.setdefault(arm.group, set()).add(goal.family)
        for arm in self.arms:
            self._recipes.setdefault(arm.group, {}).setdefault(arm.recipe, []).append(arm)
            self._touching[arm] = by_group[arm.group]

    def score(self, seeds: Mapping[Arm, int]) -> Score:
        """With so many seeds of each arm."""
        nu: dict[Hashable, int] = {}
        families = {name: self._family(name, seeds, nu) for name in self._families}
        return Score(seeds, families, self._affordable)

    def change(self, score: Score, seeds: Mapping[Arm, int]) -> Score:
        """The same with other numbers of seeds of some arms."""
        changed = {arm for arm, n in seeds.items() if n != score.seeds.get(arm, 0)}
        together = {**score.seeds, **seeds}
        nu: dict[Hashable, int] = {}
        names = {name for arm in changed for name in self._touching[arm]}
        families = {name: self._family(name, together, nu) for name in names}
        return Score(together, {**score.families, **families}, self._affordable)

    def _family(self, name: str, seeds: Mapping[Arm, int], nu: dict[Hashable, int]) -> dict[str, float]:
        """The chances of a family's goals. The level follows from how many are decided: the largest number that agrees
        with itself. nu: of groups, as far as known."""
        method, size = self._sizes[name]
        members = [(goal, *self._state(goal, seeds, nu)) for goal in self._families[name]]
        decided = size
        while True:
            level = family_level(method, size, decided)
            chances = {goal.name: goal.chance(reached, freedom, level) for goal, reached, freedom in members}
            whole = math.floor(sum(chances.values()) + 1e-9)
            if whole >= decided or decided <= 1:
                return chances
            decided = max(1, whole)

    def _state(self, goal: Goal, seeds: Mapping[Arm, int], nu: dict[Hashable, int]) -> tuple[int, int]:
        """The look a goal has reached, and the degrees of freedom of its noise."""
        reached = look(min((seeds.get(arm, 0) for arm in goal.arms), default=0))
        if not reached:
            return 0, 0
        return reached, min(sum(self._degrees(group, seeds, nu) for group in each.groups) for each in goal.comparisons)

    def _degrees(self, group: Hashable, seeds: Mapping[Arm, int], nu: dict[Hashable, int]) -> int:
        """The sum of (n - 1) over a group's recipes."""
        if group not in nu:
            counts = [max(seeds.get(arm, 0) for arm in arms) for arms in self._recipes[group].values()]
            nu[group] = sum(max(0, n - 1) for n in counts)
        return nu[group]
