"""What is concluded about single cells: the level of ours beside print, and the claims a cell takes part in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from amlrepro.suite.plan import Plan
from amlrepro.suite.store import Store
from amlrepro.verdicts.arms import Arm, Arms
from amlrepro.verdicts.budget import BudgetPlan
from amlrepro.verdicts.claims import CellRef, load_claims
from amlrepro.verdicts.evaluate import evaluate_claims
from amlrepro.verdicts.harness import Harness
from amlrepro.verdicts.labels import NOT_RUN
from amlrepro.verdicts.levels import Level, level_of
from amlrepro.verdicts.merging import LaboratoriesReport, PlanOf, evaluate_laboratories
from amlrepro.verdicts.verdict import ClaimsReport, Verdict

SHORT = {
    "inside": "≈ print",
    "printed is higher": "↑ print",
    "printed is lower": "↓ print",
    "variance unknown": "unknown",
    "direction holds here": "holds",
    "direction reversed here": "reversed",
    "before the first look": "too early",
}
ALL_SEEDS = 1_000_000  # a level is no claim and waits for no look


@dataclass(frozen=True)
class CellVerdict:
    """level: of ours beside print, None where nothing is printed or small models made it. claims: in which the cell is
    compared, that were run. reading: of the method, None for a row that masks nothing."""

    level: Level | None
    claims: tuple[Verdict, ...]
    reading: str | None
    harness: Harness
    watermark: bool

    @property
    def label(self) -> str:
        """The level, else what the first claim about the cell came to."""
        if self.level is not None:
            return self.level.label
        return self.claims[0].label if self.claims else ""

    @property
    def short(self) -> str:
        """The label as wide as a number."""
        return SHORT.get(self.label, self.label)

    @property
    def text(self) -> str:
        """Why, in sentences."""
        parts = [f"{self.level.text[0].upper()}{self.level.text[1:]}."] if self.level else []
        parts += [f"{verdict.claim.id}: {verdict.label}." for verdict in self.claims]
        if self.reading:
            parts.append(f"Reading {self.reading}.")
        if not self.harness.verified and not self.watermark:
            parts.append(f"{self.harness.says[0].upper()}{self.harness.says[1:]}.")
        return " ".join(parts)


@dataclass(frozen=True)
class Basis:
    """What verdicts rest on: the plan of every experiment with claims, since a verdict hangs on all recipes that
    tell of the noise and on its whole family; the like for another reading (None where there is none), and for
    another laboratory's store. budgets: some plans for budgets, the smallest first, when they are asked for."""

    plan: Plan
    other: Callable[[str], Plan | None] = lambda _: None
    of_laboratory: PlanOf | None = None
    budgets: Callable[[], Sequence[BudgetPlan]] | None = None


@dataclass(frozen=True)
class Judgement:
    """claims: verdicts on the claims that a plan's experiments are about; laboratories: the same over one's own runs
    and those that others sent, where there are any; budgets: as in `Basis`; cells: verdicts on cells."""

    claims: ClaimsReport
    laboratories: LaboratoriesReport | None
    budgets: Callable[[], Sequence[BudgetPlan]] | None
    cells: Mapping[CellRef, CellVerdict]


def judge(store: Store, plan: Plan, basis: Basis | None = None) -> Judgement:
    """Verdicts on what a plan's experiments show. basis: the plan itself by default."""
    basis = basis or Basis(plan)
    there = {experiment.id for experiment in plan.experiments}
    within = [claim for claim in load_claims() if there >= {*claim.experiments}]
    report = evaluate_claims(store, basis.plan, within, others=basis.other)
    merged = evaluate_laboratories(store, basis.plan, basis.of_laboratory, within) if basis.of_laboratory else None
    return Judgement(report, merged, basis.budgets, cell_verdicts(store, plan, report, basis))


def cell_verdicts(store: Store, plan: Plan, report: ClaimsReport, basis: Basis) -> Mapping[CellRef, CellVerdict]:
    """Of every cell of ours that has a number and either a printed one beside it or a claim about it."""
    arms, known = Arms.of(store, plan), Arms.of(store, basis.plan)
    claims = _claims_by_cell(report.verdicts)
    out = {}
    for cell in plan.cells:
        ref = CellRef(cell.experiment, cell.block, cell.row, cell.column)
        if cell.kind not in ("measured", "probe", "history", "derived"):
            continue
        arm = arms.arm(ref)
        about = claims.get(ref, ())
        level = None if plan.watermark else _level(known, arm)
        if arm.seeds and (level is not None or about):
            out[ref] = CellVerdict(level, tuple(about), _reading(arm), report.harness, bool(plan.watermark))
    return out


def _level(known: Arms, arm: Arm) -> Level | None:
    printed = arm.result.printed
    if printed is None or not arm.seeds or arm.constant is not None:
        return None
    return level_of([value for _, value in arm.seeds], float(printed), known.noise([arm], ALL_SEEDS))


def _reading(arm: Arm) -> str | None:
    return arm.cell.preset if arm.cell.preset not in (None, "baseline") else None


def _claims_by_cell(verdicts: Sequence[Verdict]) -> dict[CellRef, list[Verdict]]:
    out: dict[CellRef, list[Verdict]] = {}
    for verdict in verdicts:
        if verdict.label == NOT_RUN:
            continue
        for ref in dict.fromkeys(ref for pair in verdict.claim.pairs for ref in pair.refs):
            out.setdefault(ref, []).append(verdict)
    return out
