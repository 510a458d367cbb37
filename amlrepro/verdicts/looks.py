"""Every claim at every look it has reached, with the level that its family grants it there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from amlrepro.suite.plan import Plan
from amlrepro.verdicts.arms import Arm, Arms
from amlrepro.verdicts.best import BestTest
from amlrepro.verdicts.claims import Claim, direction, printed_effect
from amlrepro.verdicts.families import LOOKS, adjusted, granted, looks_at, method_of
from amlrepro.verdicts.labels import AllTest, ClaimTest, EffectTest, EquivalenceTest
from amlrepro.verdicts.noise import Difference, Noise, compare
from amlrepro.verdicts.verdict import FamilyState


@dataclass(frozen=True)
class Ready:
    """A claim's test at one look."""

    test: ClaimTest
    differences: tuple[Difference, ...]
    noises: tuple[Noise, ...]


class Looks:
    """Every claim of the file at every look it has reached, with the level that its family grants it there."""

    def __init__(self, arms: Arms, plan: Plan, claims: Sequence[Claim]) -> None:
        self._arms, self._plan = arms, plan
        self.ready: dict[tuple[str, int], Ready] = {}
        self.levels: dict[tuple[str, int], tuple[float, float]] = {}  # level, adjusted p
        for claim in claims:
            for look in looks_at(seeds_there(arms, claim) or 0) if not self.why_not(claim) else ():
                found = self._at(claim, look)
                if found:
                    self.ready[claim.id, look] = found
        self.families = tuple(self._family(name, claims) for name in dict.fromkeys(c.family for c in claims))

    def why_not(self, claim: Claim) -> str | None:
        """Why a claim has no arms to compare; None where it has."""
        for pair in claim.pairs:
            for ref in pair.refs:
                if not self._arms.has(ref):
                    return f"{ref.experiment} is not in the plan"
                arm = self._arms.arm(ref)
                if arm.constant is not None and self._plan.watermark:
                    return f"{ref.row} is cited: what the paper prints is never set beside small models"
                if arm.constant is None and not arm.seeds:
                    return f"{ref}: {arm.result.reason or 'no number'}"
        return None

    def pairs(self, claim: Claim) -> list[tuple[Arm, Arm]]:
        """The arms of each comparison, the same numbers once (`Arms.comparisons`)."""
        refs = (pair.refs for pair in self._arms.comparisons(claim))
        return [(self._arms.arm(first), self._arms.arm(second)) for first, second in refs]

    def noises(self, claim: Claim, look: int) -> tuple[Noise, ...]:
        """The noise of each pair at a look."""
        return tuple(self._arms.noise(pair, look) for pair in self.pairs(claim))

    def _at(self, claim: Claim, look: int) -> Ready | None:
        noises = self.noises(claim, look)
        if not all(noise.known for noise in noises):
            return None
        differences = tuple(
            compare(
                first.first(look),
                second.first(look) if second.constant is None else second.constant,
                noise,
                direction(first.ref),
            )
            for (first, second), noise in zip(self.pairs(claim), noises, strict=True)
        )
        return Ready(self.test_of(claim, differences), differences, noises)

    def test_of(self, claim: Claim, differences: tuple[Difference, ...]) -> ClaimTest:
        """The test of a claim on the differences of its pairs."""
        if claim.kind == "equivalence":
            return EquivalenceTest(differences[0], claim.margin or 0.0)
        if claim.kind == "best_of":
            return BestTest(differences)
        if claim.kind == "all_splits":
            return AllTest(differences)
        comparable = claim.size and not self._plan.watermark
        return EffectTest(differences[0], printed_effect(claim.pairs[0]) if comparable else None)

    def _family(self, name: str, claims: Sequence[Claim]) -> FamilyState:
        members = [claim for claim in claims if claim.family == name]
        method = method_of(name)
        decided: set[str] = set()
        for look in LOOKS:
            found = [self.ready.get((claim.id, look)) for claim in members]
            values = [ready.test.p if ready else 1.0 for ready in found]
            for claim, p, level, whole in zip(
                members, values, granted(values, method), adjusted(values, method), strict=True
            ):
                self.levels[claim.id, look] = level, whole
                if p <= level:
                    decided.add(claim.id)
        reached = sum(any((claim.id, look) in self.ready for look in LOOKS) for claim in members)
        return FamilyState(name, method, len(members), reached, len(decided))


def seeds_there(arms: Arms, claim: Claim) -> int | None:
    """Seeds an arm that a claim has: those of its arm with fewest. None where all its arms are constants."""
    counts = [len(arm.seeds) for pair in claim.pairs for arm in map(arms.arm, pair.refs) if arm.constant is None]
    return min(counts, default=None)
