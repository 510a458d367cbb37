"""All claims from a store: the procedure of docs/verdicts.md, from cells to verdicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from amlrepro.aml.presets import READINGS
from amlrepro.suite.plan import Plan
from amlrepro.suite.snapshot import Snapshot
from amlrepro.suite.store import Store
from amlrepro.verdicts.arms import Arm, Arms
from amlrepro.verdicts.best import BestTest
from amlrepro.verdicts.bootstrap import Secondary, generalises
from amlrepro.verdicts.claims import Claim, direction, load_claims, printed_effect
from amlrepro.verdicts.families import looks_at
from amlrepro.verdicts.gates import why_invalid
from amlrepro.verdicts.harness import Harness, read_harness
from amlrepro.verdicts.labels import (
    CONTRADICTED,
    DECIDED,
    HERE,
    INVALID,
    NOT_RUN,
    ONE_READING,
    TOO_EARLY,
    UNKNOWN,
    AllTest,
    ClaimTest,
    Label,
    Outcome,
)
from amlrepro.verdicts.lock import Lock, read_lock, why_exploratory
from amlrepro.verdicts.looks import Looks, Ready, seeds_there
from amlrepro.verdicts.noise import welch
from amlrepro.verdicts.power import PRIOR_SIGMA, seeds_needed
from amlrepro.verdicts.verdict import ClaimsReport, PairResult, Verdict
from amlrepro.verdicts.wording import sentence

BOTH = ("inferred", "released")  # readings that must fail before a claim counts as contradicted
Others = Callable[[str], Plan | None]


def evaluate_claims(
    store: Store,
    plan: Plan,
    claims: Sequence[Claim] | None = None,
    *,
    others: Others | None = None,
    secondary: bool = True,
) -> ClaimsReport:
    """Verdicts on claims from what is in the store, in the file's order.

    claims: those wanted, all by default; a verdict does not depend on which are asked for, as families and looks count
    every claim of the file, but it does on the plan: only recipes that the plan knows tell of the noise, and a claim
    with cells outside it is `not run`. others: the plan of another reading, asked for where a claim fails under this.
    secondary: whether to do the cluster bootstrap of claims about one pair. Raises `UserError` for broken files.
    """
    known = load_claims()
    wanted = {claim.id for claim in (known if claims is None else claims)}
    snapshot = store if isinstance(store, Snapshot) else Snapshot(store)
    harness, lock = read_harness(snapshot), read_lock(snapshot)
    arms = Arms.of(snapshot, plan)
    looks = Looks(arms, plan, known)
    verdicts = []
    for claim in known:
        if claim.id in wanted:
            verdict = _verdict(snapshot, plan, arms, looks, claim, harness, lock)
            if secondary and verdict.look and len(verdict.pairs) == 1:
                verdict = replace(verdict, secondary=_generalises(snapshot, arms, claim, verdict.look))
            verdicts.append(verdict)
    verdicts = _under_readings(snapshot, plan, arms, verdicts, others)
    if snapshot is not store:
        snapshot.keep()
    return ClaimsReport(
        verdicts=tuple(replace(verdict, text=sentence(verdict)) for verdict in verdicts),
        noise=tuple(arms.groups()),
        families=looks.families,
        lock=lock,
        harness=harness,
        watermark=plan.watermark,
        preset=plan.preset,
        profile=plan.profile,
        seeds=plan.seeds,
    )


def _verdict(
    store: Store, plan: Plan, arms: Arms, looks: Looks, claim: Claim, harness: Harness, lock: Lock | None
) -> Verdict:
    reason = looks.why_not(claim)
    if reason:
        printed = tuple(None if plan.watermark else printed_effect(pair) for pair in claim.pairs)
        effects = [abs(effect) for effect in printed if effect]
        needed = seeds_needed(min(effects), PRIOR_SIGMA) if effects and _in_points(arms, claim) else None
        blank = PairResult.printed_only(claim, printed)
        return Verdict(claim, NOT_RUN, blank, 0, why_not=reason, seeds_to_decide=needed, expected=True)
    there = seeds_there(arms, claim) or 0
    pairs = looks.pairs(claim)
    printed = tuple(None if plan.watermark else printed_effect(pair) for pair in arms.comparisons(claim))
    reached = [look for look in looks_at(there) if (claim.id, look) in looks.ready]
    seeds = sorted({seed for pair in pairs for arm in pair for seed, _ in arm.seeds[: max(reached, default=there)]})
    exploratory = why_exploratory(lock, claim, plan, seeds)
    if not reached:
        noises = looks.noises(claim, there)
        gates = why_invalid(store, plan, arms, pairs, noises, harness)
        unknown = not all(noise.known for noise in noises)
        results = tuple(
            PairResult.estimate_only(first, second, noise, effect, direction(first.ref), there)
            for (first, second), noise, effect in zip(pairs, noises, printed, strict=True)
        )
        return Verdict(
            claim, UNKNOWN if unknown else TOO_EARLY, results, there, gates=gates, why_exploratory=exploratory
        )
    outcomes = {look: looks.ready[claim.id, look].test.at(looks.levels[claim.id, look][0]) for look in reached}
    look = next((each for each in reversed(reached) if outcomes[each].label in DECIDED), reached[-1])
    outcome, ready = outcomes[look], looks.ready[claim.id, look]
    gates = why_invalid(store, plan, arms, pairs, ready.noises, harness)
    results = _pair_results(claim, pairs, ready, outcome, printed, look)
    label = HERE.get(outcome.label, outcome.label) if plan.watermark else outcome.label
    return Verdict(
        claim,
        INVALID if gates else label,
        results,
        there,
        look=look,
        provisional=label,
        leading=_leading(ready.test),
        outcome=outcome,
        later=outcomes[reached[-1]] if reached[-1] != look else None,
        p=ready.test.p,
        p_adjusted=looks.levels[claim.id, look][1],
        seeds_to_decide=outcome.seeds,
        gates=gates,
        why_exploratory=exploratory,
    )


def _pair_results(
    claim: Claim,
    pairs: Sequence[tuple[Arm, Arm]],
    ready: Ready,
    outcome: Outcome,
    printed: Sequence[float | None],
    look: int,
) -> tuple[PairResult, ...]:
    """Each pair with the interval at which the claim was judged: simultaneous ones for the best of several."""
    if isinstance(ready.test, BestTest):
        limits = ready.test.intervals(outcome.level)
    else:
        limits = [difference.interval(outcome.level) for difference in ready.differences]
        limits[_leading(ready.test)] = outcome.low, outcome.high  # what decided: of a failed split, a corrected one
    out = []
    for (first, second), difference, (low, high), effect in zip(pairs, ready.differences, limits, printed, strict=True):
        sides = first.first(look), second.first(look)
        out.append(
            PairResult(
                first.ref,
                second.ref,
                sides[0],
                second.constant if second.constant is not None else sides[1],
                effect,
                difference.estimate,
                low,
                high,
                difference.sigma,
                difference.nu,
                welch(*sides, direction(first.ref)) if second.constant is None else None,
            )
        )
    return tuple(out)


def _leading(test: ClaimTest) -> int:
    return test.weakest if isinstance(test, AllTest | BestTest) else 0


def _in_points(arms: Arms, claim: Claim) -> bool:
    """Whether the prior noise, in points, says anything of a claim: its first cell is an evaluation in percent."""
    ref = claim.pairs[0].refs[0]
    return arms.has(ref) and arms.arm(ref).cell.kind == "measured"


def _generalises(store: Store, arms: Arms, claim: Claim, look: int) -> Secondary | None:
    first, second = claim.pairs[0].refs
    return generalises(store, arms.arm(first), arms.arm(second), look, direction(first))


def _under_readings(
    store: Store, plan: Plan, arms: Arms, verdicts: Sequence[Verdict], others: Others | None
) -> list[Verdict]:
    """While one reading of the method has failed, that is all that is said; a claim is contradicted when `inferred` and
    `released` both fail."""
    verdicts = [replace(verdict, reading=plan.preset) for verdict in verdicts]
    failed = [v for v in verdicts if v.provisional in CONTRADICTED and about_aml(arms, v.claim)]
    if not failed:
        return verdicts
    rest = [name for name in BOTH if name != plan.preset]
    beside: Mapping[str, Label] = {}
    if plan.preset in BOTH and others is not None:
        other = others(rest[0])
        if other is not None:
            report = evaluate_claims(store, other, [v.claim for v in failed], secondary=False)
            beside = {v.claim.id: v.label if v.gates else v.failed_as or v.label for v in report.verdicts}
    out = []
    for verdict in verdicts:
        if verdict not in failed or beside.get(verdict.claim.id) in CONTRADICTED:
            out.append(verdict)
            continue
        seen = {rest[0]: beside[verdict.claim.id]} if verdict.claim.id in beside else {}
        label = INVALID if verdict.gates else ONE_READING
        out.append(replace(verdict, label=label, provisional=ONE_READING, failed_as=verdict.provisional, readings=seen))
    return out


def about_aml(arms: Arms, claim: Claim) -> bool:
    """Whether a reading of the method enters a claim."""
    presets = [arms.arm(ref).cell.preset or "" for pair in claim.pairs for ref in pair.refs]
    return any(preset.partition(",")[0] in READINGS for preset in presets)
