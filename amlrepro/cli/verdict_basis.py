"""What verdicts rest on, for commands that show them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from amlrepro.cli.options import Opened
from amlrepro.errors import UserError
from amlrepro.suite.experiment import load_experiments
from amlrepro.suite.plan import Plan
from amlrepro.suite.planner import build_plan
from amlrepro.suite.rows import Choices
from amlrepro.suite.snapshot import Snapshot
from amlrepro.suite.store import Store
from amlrepro.verdicts.claims import load_claims
from amlrepro.verdicts.lock import read_lock

if TYPE_CHECKING:
    from amlrepro.verdicts.budget import BudgetPlan
    from amlrepro.verdicts.cells import Basis

BUDGETS = (10.0, 55.0, 165.0, 900.0)  # GPU hours: a look, the headline, its seeds, the whole
SHARES = (0.1, 0.3)
EVERYTHING = 1e9


def verdict_basis(opened: Opened) -> Basis:
    """The plan of every experiment with claims, under the settings of the one that is open."""
    from amlrepro.verdicts.cells import Basis

    own = tuple(verdict_seeds(opened.store)) or opened.plan.seeds

    def plan(preset: str, seeds: tuple[int, ...] = own) -> Plan:
        choices = Choices(seeds, preset, dict(opened.plan.overrides))
        return build_plan(load_experiments(claim_experiments()), opened.profile, opened.inputs, choices)

    def of_laboratory(store: Store) -> Plan:
        return plan(opened.plan.preset, tuple(verdict_seeds(store)))

    return Basis(plan(opened.plan.preset), plan, of_laboratory, lambda: _budgets(opened))


def _budgets(opened: Opened) -> list[BudgetPlan]:
    """Budgets for a page: fixed ones for full-size models, shares of the whole for small ones; none where nothing says
    what a training costs."""
    from amlrepro.verdicts.budget import SEEDS, plan_budget

    choices = Choices(SEEDS, opened.plan.preset, dict(opened.plan.overrides))
    plan = build_plan(load_experiments(["all"]), opened.profile, opened.inputs, choices)
    store = Snapshot(opened.store)
    try:
        if not plan.watermark:
            return [plan_budget(store, plan, hours) for hours in BUDGETS]
        whole = plan_budget(store, plan, EVERYTHING)
    except UserError:
        return []
    return [*(plan_budget(store, plan, share * whole.spent) for share in SHARES), replace(whole, budget=whole.spent)]


def claim_experiments() -> list[str]:
    """Every experiment that a claim is about."""
    return list(dict.fromkeys(each for claim in load_claims() for each in claim.experiments))


def verdict_seeds(store: Store) -> list[int]:
    """Seeds that verdicts take: those of the lock, else all that the store has."""
    lock = read_lock(store)
    return seeds_there(store) if lock is None else list(lock.seeds)


def seeds_there(store: Store) -> list[int]:
    """Seeds of the runs in a store."""
    endings = (run_id.rpartition("-s")[2] for run_id in store.run_ids())
    return sorted({int(ending) for ending in endings if ending.isdecimal()})
