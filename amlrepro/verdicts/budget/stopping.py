"""When more seeds are wasted: a claim that three seeds decided, or that five can no longer decide. Pure, but for
`settle`, which asks the claims' verdicts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from amlrepro.suite.plan import Plan
from amlrepro.suite.store import Store
from amlrepro.verdicts.budget.gather import gather
from amlrepro.verdicts.budget.goals import Goal
from amlrepro.verdicts.claims import Claim, load_claims
from amlrepro.verdicts.families import LOOK_LEVEL, LOOKS
from amlrepro.verdicts.labels import DECIDED
from amlrepro.verdicts.noise import quantile
from amlrepro.verdicts.verdict import PairResult, Verdict

FUTILE = 0.05  # chance of a decision at the last look, below which a claim is given up
FIRST, LAST = LOOKS[0], LOOKS[-1]


@dataclass(frozen=True)
class Settled:
    """A claim on which more seeds would be wasted. decided: at the first look; else chance is what five seeds had."""

    claim: str
    decided: bool
    reason: str
    chance: float | None = None


@dataclass(frozen=True)
class Stopping:
    """What is not started. skipped: by run, the reason; settled: claims, by id; open: claims that go on."""

    skipped: Mapping[str, str]
    settled: Mapping[str, Settled]
    open: tuple[str, ...]


def settle(store: Store, plan: Plan, claims: Sequence[Claim] | None = None) -> Stopping:
    """Which runs of the plan's later seeds serve settled claims only. A run that serves no claim was asked for by
    itself and stays; so does one whose claims have not all had their first look (a run of it failed, say)."""
    from amlrepro.verdicts.evaluate import evaluate_claims

    known = load_claims() if claims is None else claims
    goals = gather(store, plan, known).goals
    report = evaluate_claims(store, plan, list(known), secondary=False)
    verdicts = {verdict.claim.id: verdict for verdict in report.verdicts}
    found = {goal.name: why_settled(verdicts[goal.name]) for goal in goals}
    settled = {name: each for name, each in found.items() if each is not None}
    served = runs_served(goals, plan)
    skipped = {}
    for run_id, names in served.items():
        if names and names <= settled.keys():
            skipped[run_id] = _together([settled[name] for name in sorted(names)])
    return Stopping(skipped, settled, tuple(sorted(found.keys() - settled.keys())))


def _together(settled: Sequence[Settled]) -> str:
    """The reasons; of many how many there are of each kind."""
    if len(settled) < 3:
        return "; ".join(each.reason for each in settled)
    decided = sum(each.decided for each in settled)
    counts = {"decided": decided, "past deciding": len(settled) - decided}
    said = ", ".join(f"{number} {kind}" for kind, number in counts.items() if number)
    return f"{len(settled)} claims settled at {FIRST} seeds: {said}"


def runs_served(goals: Sequence[Goal], plan: Plan) -> dict[str, set[str]]:
    """Claims that each run of the seeds after the first look serves."""
    later = {run_id for run_id, run in plan.runs.items() if run.config.seed in later_seeds(plan.seeds)}
    served: dict[str, set[str]] = {}
    for goal in goals:
        for need in (need for arm in goal.arms for one in arm.needs for need in one):
            if need.run_id in later:
                served.setdefault(need.run_id, set()).add(goal.name)
    return served


def later_seeds(seeds: Sequence[int]) -> tuple[int, ...]:
    """The seeds that wait for the first look; verdicts take seeds by their number."""
    return tuple(sorted(seeds)[FIRST:])


def why_settled(verdict: Verdict) -> Settled | None:
    """Why more seeds would change nothing; None where they may. Gates do not count: more seeds open none."""
    name = verdict.claim.id
    if verdict.look is None or verdict.outcome is None:
        return None
    if verdict.outcome.label in DECIDED:
        return Settled(name, True, f"{name} decided at {verdict.look} seeds")
    if verdict.look >= LAST:
        return Settled(name, False, f"{name} has had its last look", 0.0)
    chance = last_chance(verdict.pairs, verdict.claim.kind, verdict.claim.margin)
    if chance < FUTILE:
        said = f"{100 * chance:.0f} %" if chance >= 0.005 else "under 1 %"
        return Settled(name, False, f"{name} undecided, with a chance of {said} that {LAST} seeds decide it", chance)
    return None


def last_chance(pairs: Sequence[PairResult], kind: str, margin: float | None = None) -> float:
    """An upper bound of the chance that the last look decides, given the first: with the noise as it is estimated, the
    most generous level that a family can grant, and of the truths that speak for a decision (what is estimated, what is
    printed, no effect at all) the best."""
    chances = [_pair_chances(pair, kind, margin) for pair in pairs]
    if any(each is None for each in chances) or not chances:
        return 1.0
    known = [each for each in chances if each is not None]
    return min(1.0, min(won for won, _ in known) + sum(lost for _, lost in known))


def _pair_chances(pair: PairResult, kind: str, margin: float | None) -> tuple[float, float] | None:
    """That a pair is reproduced, and that it is contradicted, at the last look; None where nothing can be said."""
    if pair.estimate is None or pair.sigma is None or pair.nu < 1 or not pair.n_first:
        return None
    arms = 1 if pair.n_second is None else 2
    nu = pair.nu * (LAST - 1) / (FIRST - 1)
    half = quantile(LOOK_LEVEL, nu) * pair.sigma * math.sqrt(arms / LAST)
    one_sided = quantile(2 * LOOK_LEVEL, nu) * pair.sigma * math.sqrt(arms / LAST)
    new = (LAST - FIRST) / LAST
    spread = new * pair.sigma * math.sqrt(arms / (LAST - FIRST))
    truths = {pair.estimate, 0.0, pair.printed if pair.printed is not None else pair.estimate}
    centres = [(1 - new) * pair.estimate + new * truth for truth in truths]
    if kind == "equivalence":
        edge = float(margin or 0.0)
        won = max(_between(one_sided - edge, edge - one_sided, centre, spread) for centre in centres)
        lost = max(_below(-edge - half, c, spread) + _below(-edge - half, -c, spread) for c in centres)
        return won, lost
    against = pair.printed / 2 if kind == "effect" and pair.printed is not None and pair.printed > 0 else 0.0
    won = max(_below(-half, -centre, spread) for centre in centres)
    lost = max(_below(against - half, centre, spread) for centre in centres)
    return won, lost


def _below(bound: float, centre: float, spread: float) -> float:
    """P(X < bound) of a normal X."""
    if spread == 0:
        return float(centre < bound)
    return 0.5 * math.erfc((centre - bound) / spread / math.sqrt(2))


def _between(low: float, high: float, centre: float, spread: float) -> float:
    return max(0.0, _below(high, centre, spread) - _below(low, centre, spread))
