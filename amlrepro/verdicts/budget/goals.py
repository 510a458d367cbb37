"""What can be decided: claims as goals, each with the results it needs of every seed, and its chance by seeds. Pure."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

from amlrepro.verdicts.families import LOOK_LEVEL, LOOKS, Method
from amlrepro.verdicts.labels import LEVEL
from amlrepro.verdicts.noise import ENOUGH
from amlrepro.verdicts.power import (
    AFFORDABLE,
    POWER,
    chance_of_direction,
    chance_of_effect,
    chance_of_equivalence,
    seeds_needed,
)

Kind = Literal["effect", "equivalence", "best_of", "all_splits"]
Result = tuple[str, str]  # run, and what of it: `evals/<id>`, `probes/<id>`, `epochs/<n>`


class Need(NamedTuple):
    """What one seed's value of a cell takes of one run: to be trained so far, and perhaps a result."""

    run_id: str
    epochs: int
    result: str | None = None


@dataclass(frozen=True, eq=False)
class Arm:
    """A cell as one side of a comparison. recipe: whose seeds it has; group: whose noise (same metric, split and
    training data). needs: of each seed, in the order in which seeds are run."""

    recipe: Hashable
    group: Hashable
    needs: tuple[tuple[Need, ...], ...]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two arms; None is a cited number, a constant. effect: printed, positive where the first is better; the truth that
    planning assumes."""

    first: Arm | None
    second: Arm | None
    effect: float

    @property
    def arms(self) -> tuple[Arm, ...]:
        """Those that are run."""
        return tuple(arm for arm in (self.first, self.second) if arm is not None)

    @cached_property
    def groups(self) -> frozenset[Hashable]:
        """Whose noise is pooled for it."""
        return frozenset(arm.group for arm in self.arms)


@dataclass(frozen=True, eq=False)
class Goal:
    """A claim to be decided. sigma: of one seed, above 0, None where nothing is known of it; assumed: it is the prior
    and was not measured. margin: of an equivalence."""

    name: str
    family: str
    kind: Kind
    comparisons: tuple[Comparison, ...]
    sigma: float | None
    assumed: bool = True
    margin: float | None = None

    @cached_property
    def arms(self) -> tuple[Arm, ...]:
        """All that are run, each once."""
        return tuple(dict.fromkeys(arm for each in self.comparisons for arm in each.arms))

    @cached_property
    def effect(self) -> float:
        """The printed effect that is hardest to tell: the smallest; of an equivalence what is left of the margin."""
        if self.kind == "equivalence":
            return abs(float(self.margin or 0.0) - abs(self.comparisons[0].effect))
        return min((each.effect for each in self.comparisons), key=abs)

    @cached_property
    def seeds(self) -> int | None:
        """Seeds an arm that decide it with 80 % power, were sigma known and it judged alone; None: no number does."""
        if self.sigma is None:
            return None
        single = all(len(each.arms) == 1 for each in self.comparisons)
        sigma = self.sigma / math.sqrt(2) if single else self.sigma
        return seeds_needed(self.effect, sigma, POWER, LEVEL)

    @property
    def affordable(self) -> bool:
        """Whether that is no more than anyone can be asked for."""
        return self.seeds is not None and self.seeds <= AFFORDABLE

    def chance(self, seeds: int, nu: int, level: float) -> float:
        """Probability that it is decided at a look with so many seeds an arm, at a level, if the printed effects are
        true. Of several comparisons as if they were independent, which understates it."""
        key = (seeds, nu, level)
        if key not in self._chances:
            shape = [(each.effect, len(each.arms)) for each in self.comparisons]
            self._chances[key] = _chance(self, shape, *key)
        return self._chances[key]

    @cached_property
    def _chances(self) -> dict[tuple[int, int, float], float]:
        return {}


def look(seeds: int) -> int:
    """The last look that a number of seeds allows; 0 before the first."""
    return max((each for each in LOOKS if each <= seeds), default=0)


def family_level(method: Method, size: int, decided: int) -> float:
    """The level at which the members of a family are judged when so many of them are decided (`families.granted`)."""
    if method == "holm":
        return LOOK_LEVEL / max(1, size - max(0, decided - 1))
    return LOOK_LEVEL * max(1, decided) / size


def _chance(goal: Goal, shape: Sequence[tuple[float, int]], seeds: int, nu: int, level: float) -> float:
    """See `Goal.chance`. shape: effect and number of arms of each comparison."""
    if goal.sigma is None or not seeds or not shape or any(not arms for _, arms in shape) or nu < ENOUGH:
        return 0.0
    parts = [(effect, goal.sigma * math.sqrt(arms / seeds)) for effect, arms in shape]
    effect, spread = parts[0]
    if goal.kind == "equivalence":
        return chance_of_equivalence(effect, float(goal.margin or 0.0), spread, nu, level)
    if goal.kind == "effect":
        if effect > 0:
            return chance_of_effect(effect, effect, spread, nu, level)
        return chance_of_direction(-effect, spread, nu, level)
    corrected = level / len(parts)
    against = [(-effect, spread) for effect, spread in parts if effect <= 0]
    if against:
        return 1 - math.prod(1 - chance_of_direction(size, spread, nu, corrected) for size, spread in against)
    each = corrected if goal.kind == "best_of" else level
    return math.prod(chance_of_direction(effect, spread, nu, each) for effect, spread in parts)
