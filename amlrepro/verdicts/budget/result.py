"""What a budget decides, as plain data ready to be shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Standing = Literal["there", "bought", "left out", "undecidable", "noise unknown", "outside"]
LIKELY = 0.5  # chance from which a claim counts as expected to be decided


@dataclass(frozen=True)
class TierResult:
    """One tier. hours: what it costs beyond what is there; spent: on it, 0 where it is left out. reason: why it is."""

    number: int
    name: str
    title: str
    hours: float
    spent: float
    bought: bool
    reason: str | None = None


@dataclass(frozen=True)
class ChosenRun:
    """One training to be done or gone on with. after, until: epochs it has and is to have. evals, probes: to be made.
    tiers: for which it was chosen first. hours: of all of it."""

    run_id: str
    method: str
    train: str
    seed: int
    after: int
    until: int
    evals: tuple[str, ...]
    probes: tuple[str, ...]
    hours: float
    tier: str


@dataclass(frozen=True)
class ClaimOutlook:
    """What becomes of a claim. effect: printed, the hardest of its comparisons; sigma: used for it, assumed or
    measured. seeds_needed: an arm, for 80 % power; None where no number is enough. seeds_there, seeds: an arm, in the
    store and with the plan. chance: that it is decided with the plan. hours: that three (or `hours_for`) seeds of its
    arms would cost by themselves, beyond what is there. reason: in words, where it is not bought."""

    id: str
    says: str
    family: str
    kind: str
    standing: Standing
    effect: float | None = None
    sigma: float | None = None
    assumed: bool = True
    seeds_needed: int | None = None
    seeds_there: int = 0
    seeds: int = 0
    chance: float = 0.0
    hours: float | None = None
    hours_for: int = 3
    reason: str | None = None


@dataclass(frozen=True)
class NextStep:
    """The least budget known to decide more. budget: hours in all; expected: claims decided then; why: what is
    bought."""

    budget: float
    expected: float
    why: str


@dataclass(frozen=True)
class BudgetPlan:
    """What so many GPU hours buy. spent: of them; expected: claims expected to be decided, of those that affordable
    seeds can decide at all, summed over their chances. gpu, rates: of which hours are, and where they come from. seeds:
    in the order in which they are run."""

    budget: float
    spent: float
    expected: float
    expected_there: float
    tiers: tuple[TierResult, ...]
    runs: tuple[ChosenRun, ...]
    claims: tuple[ClaimOutlook, ...]
    next_step: NextStep | None
    gpu: str
    rates: str
    profile: str
    preset: str
    seeds: tuple[int, ...]
    watermark: str | None = None

    @property
    def left(self) -> float:
        """Hours that buy nothing more."""
        return self.budget - self.spent

    def standing(self, *names: Standing) -> tuple[ClaimOutlook, ...]:
        """Claims that stand so, the likeliest first."""
        return tuple(sorted((c for c in self.claims if c.standing in names), key=lambda c: (-c.chance, c.id)))

    @property
    def likely(self) -> tuple[ClaimOutlook, ...]:
        """Claims more likely decided than not."""
        return tuple(c for c in self.standing("there", "bought") if c.chance >= LIKELY)

    @property
    def chosen(self) -> Mapping[str, dict[str, Any]]:
        """By run, what `amlris run --chosen` is to do: epochs to reach, evaluations and probes to have."""
        return {r.run_id: {"until": r.until, "evals": list(r.evals), "probes": list(r.probes)} for r in self.runs}


def as_json(plan: BudgetPlan) -> dict[str, Any]:
    """The plan as a JSON value."""
    return {**asdict(plan), "left": plan.left, "likely": [claim.id for claim in plan.likely]}
