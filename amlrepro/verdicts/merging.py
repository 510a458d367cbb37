"""Claims judged over several laboratories: one's own runs and those that others sent (`amlris import`).

Every laboratory is read by the procedure of docs/verdicts.md for itself: its seeds, noise, looks and gates. The merged
difference then takes the place of one laboratory's in the claim's test, at the level that the claim's family grants.
Whether another laboratory's harness is verified no archive tells; one's own counts for all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from amlrepro.config import EvalConfig, ProbeConfig
from amlrepro.suite.plan import Plan
from amlrepro.suite.sharing.compare import same_records
from amlrepro.suite.sharing.origins import laboratories
from amlrepro.suite.snapshot import Snapshot
from amlrepro.suite.store import Store
from amlrepro.verdicts.arms import Arms
from amlrepro.verdicts.claims import Claim, load_claims
from amlrepro.verdicts.evaluate import about_aml
from amlrepro.verdicts.families import LOOK_LEVEL, adjusted, granted, looks_at, method_of
from amlrepro.verdicts.gates import why_invalid
from amlrepro.verdicts.harness import Harness, read_harness
from amlrepro.verdicts.labels import (
    BEST,
    CONTRADICTED,
    DIRECTION,
    HERE,
    INVALID,
    ONE_READING,
    UNDECIDABLE,
    UNDECIDED,
    AllTest,
    ClaimTest,
    Label,
    Outcome,
)
from amlrepro.verdicts.laboratories import Merged, merge_laboratories
from amlrepro.verdicts.looks import Looks, seeds_there

OWN = "own runs"
PlanOf = Callable[[Store], Plan]


@dataclass(frozen=True)
class LaboratoryState:
    """What a laboratory has of a claim. seeds: an arm. look: how many of them take part, None where it takes no part,
    with the reason."""

    name: str
    seeds: int
    look: int | None
    reason: str | None = None


@dataclass(frozen=True)
class MergedVerdict:
    """A claim over laboratories.

    label: what stands; provisional: what would stand without `gates`, the reasons why it is invalid, by laboratory.
    pairs: each comparison merged; leading: the one that decides. outcome: with the interval. p: by itself; p_adjusted:
    in its family. states: every laboratory's, also of those that take no part.
    """

    claim: Claim
    label: Label
    provisional: Label
    pairs: tuple[Merged, ...]
    leading: int
    outcome: Outcome
    p: float
    p_adjusted: float
    states: tuple[LaboratoryState, ...]
    gates: tuple[str, ...] = ()
    text: str = ""

    @property
    def lead(self) -> Merged:
        """The comparison that decides."""
        return self.pairs[self.leading]


@dataclass(frozen=True)
class LaboratoriesReport:
    """Claims that two laboratories or more have come to a look of. names: of all laboratories, one's own first.
    copies: by laboratory, runs whose very records an earlier one has, which are left out."""

    names: tuple[str, ...]
    verdicts: tuple[MergedVerdict, ...]
    copies: dict[str, tuple[str, ...]]
    watermark: str | None


@dataclass(frozen=True)
class _Side:
    """A laboratory's arms and looks."""

    name: str
    store: Store
    plan: Plan
    arms: Arms
    looks: Looks

    def look(self, claim: Claim) -> tuple[int, int | None, str | None]:
        """Seeds an arm, the last look that they allow, or why there is none."""
        reason = self.looks.why_not(claim)
        seeds = 0 if reason else seeds_there(self.arms, claim) or 0
        reached = [look for look in looks_at(seeds) if (claim.id, look) in self.looks.ready]
        if reached or reason:
            return seeds, reached[-1] if reached else None, reason
        return seeds, None, "the noise between its seeds is unknown" if looks_at(seeds) else "fewer than 3 seeds"

    def gates(self, claim: Claim, look: int, harness: Harness) -> list[str]:
        """Why its numbers do not count."""
        noises = self.looks.ready[claim.id, look].noises
        found = why_invalid(self.store, self.plan, self.arms, self.looks.pairs(claim), noises, harness)
        return [f"{self.name}: {reason}" for reason in found]


class _Distinct(Snapshot):
    """A store without the results of some runs."""

    def __init__(self, store: Store, hidden: frozenset[str]) -> None:
        super().__init__(store)
        self._hidden = hidden

    def eval_present(self, run_id: str, evaluation: EvalConfig) -> bool:
        """As in the store; never of a hidden run."""
        return run_id not in self._hidden and super().eval_present(run_id, evaluation)

    def probe_values(self, run_id: str, probe: ProbeConfig) -> dict[str, Any] | None:
        """As in the store; None of a hidden run."""
        return None if run_id in self._hidden else super().probe_values(run_id, probe)

    def epoch_rows(self, run_id: str) -> dict[int, dict[str, Any]]:
        """As in the store; none of a hidden run."""
        return {} if run_id in self._hidden else super().epoch_rows(run_id)


def evaluate_laboratories(
    store: Store, plan: Plan, plan_of: PlanOf, claims: Sequence[Claim] | None = None
) -> LaboratoriesReport | None:
    """Verdicts over one's own runs and those of other laboratories; None where there are no others.

    plan_of: the plan of another laboratory's store, which has seeds of its own. claims: those wanted, all by default;
    a family's size does not depend on it.
    """
    others = laboratories(store)
    if not others:
        return None
    known, stores = load_claims(), [(OWN, store), *others]
    wanted = {claim.id for claim in (known if claims is None else claims)}
    copies = _copies(stores)
    sides = []
    for name, each in stores:
        its = plan if name == OWN else plan_of(each)
        distinct = _Distinct(each, frozenset(copies.get(name, ())))
        arms = Arms(distinct, its)
        sides.append(_Side(name, distinct, its, arms, Looks(arms, its, known)))
    merged = {claim.id: found for claim in known if (found := _merge(claim, sides)) is not None}
    harness = read_harness(store)
    verdicts = []
    for claim in known:
        if claim.id in wanted and claim.id in merged:
            family = [each.id for each in known if each.family == claim.family]
            values = [merged[each][1].p if each in merged else 1.0 for each in family]
            place, method = family.index(claim.id), method_of(claim.family)
            levels = granted(values, method, LOOK_LEVEL)[place], adjusted(values, method)[place]
            verdicts.append(_verdict(claim, sides, merged[claim.id], levels, harness, plan.watermark))
    return LaboratoriesReport(tuple(name for name, _ in stores), tuple(verdicts), copies, plan.watermark)


def as_json(report: LaboratoriesReport) -> dict[str, Any]:
    """The report as a JSON value."""
    return {
        "laboratories": list(report.names),
        "copies": {name: list(runs) for name, runs in report.copies.items()},
        "claims": [
            {
                "id": verdict.claim.id,
                "label": verdict.label,
                "provisional": verdict.provisional,
                "gates": list(verdict.gates),
                "text": verdict.text,
                "low": verdict.outcome.low,
                "high": verdict.outcome.high,
                "level": verdict.outcome.level,
                "p": verdict.p,
                "p_adjusted": verdict.p_adjusted,
                "states": [asdict(state) for state in verdict.states],
                "pairs": [asdict(pair) for pair in verdict.pairs],
            }
            for verdict in report.verdicts
        ],
    }


def _copies(stores: Sequence[tuple[str, Store]]) -> dict[str, tuple[str, ...]]:
    """By laboratory: runs whose records an earlier one has already, as happens when an archive is sent round."""
    out: dict[str, tuple[str, ...]] = {}
    for number, (name, store) in enumerate(stores):
        earlier = [each for _, each in stores[:number]]
        found = [r for r in store.run_ids() if any(same_records(each.run(r), store.run(r)) for each in earlier)]
        if found:
            out[name] = tuple(found)
    return out


def _merge(claim: Claim, sides: Sequence[_Side]) -> tuple[tuple[Merged, ...], ClaimTest] | None:
    """A claim's merged comparisons and their test; None where fewer than two laboratories have come to a look."""
    looks = {side.name: side.look(claim)[1] for side in sides}
    found = [(s.name, s.looks.ready[claim.id, look].differences) for s in sides if (look := looks[s.name]) is not None]
    if len(found) < 2:
        return None
    names = [name for name, _ in found]
    columns = zip(*(differences for _, differences in found), strict=True)
    pairs = tuple(merge_laboratories(list(zip(names, each, strict=True))) for each in columns)
    return pairs, AllTest(pairs) if claim.kind == "best_of" else sides[0].looks.test_of(claim, pairs)


def _verdict(
    claim: Claim,
    sides: Sequence[_Side],
    merged: tuple[tuple[Merged, ...], ClaimTest],
    levels: tuple[float, float],
    harness: Harness,
    watermark: str | None,
) -> MergedVerdict:
    """levels: granted, and the adjusted p. Contradicted is more than one reading of the method can be."""
    pairs, test = merged
    outcome, leading = _outcome(claim, test, levels[0])
    label = HERE.get(outcome.label, outcome.label) if watermark else outcome.label
    if label in CONTRADICTED and about_aml(sides[0].arms, claim):
        label = ONE_READING
    states = tuple(LaboratoryState(side.name, *side.look(claim)) for side in sides)
    gates = tuple(
        gate
        for side, state in zip(sides, states, strict=True)
        if state.look is not None
        for gate in side.gates(claim, state.look, harness)
    )
    verdict = MergedVerdict(
        claim, INVALID if gates else label, label, pairs, leading, outcome, test.p, levels[1], states, gates
    )
    return replace(verdict, text=_sentence(verdict))


def _outcome(claim: Claim, test: ClaimTest, level: float) -> tuple[Outcome, int]:
    """What the test says, and which pair leads. More seeds do not decide what is open between laboratories, so none
    are named. The best of several is better than each."""
    outcome = replace(test.at(level), seeds=None)
    if outcome.label == UNDECIDABLE:
        outcome = replace(outcome, label=UNDECIDED)
    if claim.kind == "best_of" and outcome.label == DIRECTION:
        outcome = replace(outcome, label=BEST)
    return outcome, test.weakest if isinstance(test, AllTest) else 0


def _sentence(verdict: MergedVerdict) -> str:
    """The verdict in one sentence, with what laboratories differ by."""
    lead, outcome = verdict.lead, verdict.outcome
    number = len(lead.laboratories)
    apart = f"sd {lead.tau2**0.5:.2f} between laboratories, I^2 {lead.i2:.0%}, Q {lead.q:.2f} with p {lead.q_p:.2g}"
    wide = ""
    if number < 5:
        wide = f"; with {number} laboratories the interval is {lead.width(outcome.level):.1f} times that of many"
    interval = f"{lead.estimate:+.2f} ({outcome.low:+.2f} to {outcome.high:+.2f})"
    why = f"; {verdict.gates[0]}" if verdict.gates else ""
    return f"{verdict.label}: {interval} over {number} laboratories; {apart}{wide}{why}"
