"""A budget in hours to what it buys: tiers, runs, claims, and the next step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from amlrepro.aml.presets import READINGS
from amlrepro.config import EvalConfig
from amlrepro.data.specs import DATASETS
from amlrepro.suite.cost import evaluation_hours
from amlrepro.suite.inputs import Inputs
from amlrepro.suite.plan import Plan
from amlrepro.suite.planner import build_plan
from amlrepro.suite.profile import load_profile
from amlrepro.suite.rates import Rates, measure_rates, says
from amlrepro.suite.readings import catalogue, readings_experiment
from amlrepro.suite.rows import Choices
from amlrepro.suite.store import Store
from amlrepro.verdicts.budget.buying import (
    LEAST_GAIN,
    Basket,
    Bought,
    Problem,
    Tier,
    buy,
    needs_of,
    open_purchases,
)
from amlrepro.verdicts.budget.gather import (
    Gathered,
    PlanCosts,
    gather,
    headline_runs,
    needs_of_all,
    needs_of_run,
    what_is_there,
)
from amlrepro.verdicts.budget.goals import Goal, Need, look
from amlrepro.verdicts.budget.result import BudgetPlan, ChosenRun, ClaimOutlook, NextStep, Standing, TierResult
from amlrepro.verdicts.claims import Claim, load_claims
from amlrepro.verdicts.families import LOOKS
from amlrepro.verdicts.harness import read_harness
from amlrepro.verdicts.power import AFFORDABLE

SEEDS = tuple(range(max(LOOKS)))  # of a plan for a budget, unless others are named
HEADLINE_SEEDS = LOOKS[0]
REST = "claims"
TITLES = {
    "harness": "official checkpoints on their splits",
    "readings": "which preset of the method fits, epoch 1, two seeds",
    "headline": "R02 and R06 (CARIS, CARIS+AML on RefCOCO+), one seed",
    "headline seeds": f"R02 and R06, {HEADLINE_SEEDS} seeds",
    REST: "what else decides most claims an hour",
}
READING_SEEDS = (0, 1)
STEPS = 40  # budgets that are tried for the next step


@dataclass(frozen=True)
class Extra:
    """A tier that is no part of the plan. hours: GPU hours it takes; done: it is in the store; needs: what of it the
    plan has too, beside the hours."""

    hours: float
    done: bool = False
    needs: tuple[Need, ...] = ()


def plan_budget(
    store: Store,
    plan: Plan,
    budget: float,
    *,
    harness: Extra | None = None,
    readings: Extra | None = None,
    claims: Sequence[Claim] | None = None,
    rates: Rates | None = None,
) -> BudgetPlan:
    """What `budget` GPU hours buy of a plan with as many seeds as may be run (`SEEDS`), never more than they are.

    harness, readings: the first two tiers; by default what they still take, none for small models (they have no
    official checkpoints, and readings of the paper say nothing of them). claims: all of the paper by default. rates:
    those of the store by default. Raises `UserError` where nothing says what a training costs.
    """
    rates = measure_rates(store) if rates is None else rates
    claims = load_claims() if claims is None else claims
    gathered = gather(store, plan, claims)
    problem = Problem(
        gathered.goals,
        _tiers(
            plan, gathered, harness or harness_tier(store, plan, rates), readings or readings_tier(store, plan, rates)
        ),
        PlanCosts(plan, rates),
        gathered.sizes,
        what_is_there(store, plan),
    )
    bought = buy(problem, budget)
    return BudgetPlan(
        budget=budget,
        spent=bought.hours,
        expected=bought.score.total,
        expected_there=problem.score(problem.there).total,
        tiers=_tier_results(problem, bought, budget),
        runs=_runs(plan, problem, bought),
        claims=_outlooks(problem, bought, gathered, claims),
        next_step=_next_step(problem, bought, budget),
        gpu=rates.gpu,
        rates=says(rates, plan.runs.values()),
        profile=plan.profile,
        preset=plan.preset,
        seeds=plan.seeds,
        watermark=plan.watermark,
    )


def harness_tier(store: Store, plan: Plan, rates: Rates) -> Extra | None:
    """Scoring the official CARIS checkpoints on every split of their data sets, once; None for small models."""
    pairs = headline_runs(plan)
    if not pairs or plan.watermark:
        return None
    inputs = Inputs("refer", Path(plan.data_root) if plan.data_root else None)
    wanted = [
        EvalConfig(dataset=name, split=split)
        for name in ("refcoco", "refcoco+", "refcocog")
        for split in DATASETS[name].partition(None).splits
        if split != "train"
    ]
    hours = evaluation_hours(pairs[0][0].config, wanted, inputs.counts, rates.hours_per_sample)
    return None if hours is None else Extra(hours, read_harness(store).verified)


def readings_tier(store: Store, plan: Plan, rates: Rates) -> Extra | None:
    """What `amlris readings` of the presets still takes: epoch 1 of each with two seeds, and measuring it. None for
    small models. Their departures are left to the command itself, whose field takes up to 10 A800 hours (all of them
    42): in a small budget they would push out what decides claims."""
    if plan.watermark or plan.source != "refer":
        return None
    profile = load_profile(plan.profile)
    everything = catalogue(profile)
    inputs = Inputs("refer", Path(plan.data_root) if plan.data_root else None)
    choices = Choices(READING_SEEDS, plan.preset, plan.overrides)
    own = build_plan([readings_experiment(everything, everything.pick(READINGS))], profile, inputs, choices)
    needs = [need for run in own.runs.values() for need in needs_of_all(run)]
    known = {(run.run_id, need.result) for run in plan.runs.values() for need in needs_of_all(run)}
    shared = tuple(need for need in needs if (need.run_id, need.result) in known)
    there = what_is_there(store, own)
    done = all(map(there.has, needs))
    there.add(shared)
    return Extra(there.price(needs, PlanCosts(own, rates)), done, shared)


def _tiers(plan: Plan, gathered: Gathered, harness: Extra | None, readings: Extra | None) -> tuple[Tier, ...]:
    tiers = [
        Tier(name, extra.needs, extra.hours, there=extra.done)
        for name, extra in (("harness", harness), ("readings", readings))
        if extra is not None
    ]
    pairs = headline_runs(plan)
    needs = [
        tuple(need for run in pair for need in needs_of_run(run, gathered.goals)) for pair in pairs[:HEADLINE_SEEDS]
    ]
    if needs:
        tiers.append(Tier("headline", needs[0]))
    if len(needs) == HEADLINE_SEEDS:
        tiers.append(Tier("headline seeds", tuple(need for each in needs[1:] for need in each), after="headline"))
    return tuple(tiers)


def _tier_results(problem: Problem, bought: Bought, budget: float) -> tuple[TierResult, ...]:
    spent = {step.name: step.hours for step in bought.steps if step.name in TITLES}
    refused = {tier.name: hours for tier, hours in bought.refused}
    out, left = [], budget
    for number, tier in enumerate(problem.tiers):
        if tier.name in refused:
            hours = refused[tier.name]
            fits = f"does not fit into the {left:.1f} h that are left"
            reason = "goes on from the tier before" if tier.after in refused else fits
            out.append(TierResult(number, tier.name, TITLES[tier.name], hours, 0.0, False, reason))
            continue
        cost = spent[tier.name]
        left -= cost
        there = "there already" if tier.there or (not tier.hours and not cost) else None
        out.append(TierResult(number, tier.name, TITLES[tier.name], cost, cost, True, there))
    rest = bought.hours - sum(spent.values())
    out.append(TierResult(len(out), REST, TITLES[REST], rest, rest, rest > 0, None if rest else "nothing that fits"))
    return tuple(out)


def _runs(plan: Plan, problem: Problem, bought: Bought) -> tuple[ChosenRun, ...]:
    """Runs with anything to be bought, in the order in which they were."""
    basket, there = bought.basket, problem.there
    first: dict[str, str] = {}
    for step in bought.steps:
        for need in step.needs:
            first.setdefault(need.run_id, step.name if step.name in TITLES else REST)
    out = []
    for run_id, tier in first.items():
        run = plan.runs[run_id]
        after, until = there.trained.get(run_id, 0), basket.trained.get(run_id, 0)
        new = sorted(what for name, what in basket.results - there.results if name == run_id)
        if until <= after and not new:
            continue
        hours = problem.costs.training(run_id, after, until) if until > after else 0.0
        hours += sum(problem.costs.result(run_id, what) for what in new)
        evals, probes = ([w.partition("/")[2] for w in new if w.startswith(kind)] for kind in ("evals/", "probes/"))
        config = run.config
        out.append(
            ChosenRun(
                run_id,
                f"{config.model.name} {run.preset}",
                config.data.train,
                config.seed,
                after,
                max(after, until),
                tuple(evals),
                tuple(probes),
                hours,
                tier,
            )
        )
    return tuple(out)


def _outlooks(
    problem: Problem, bought: Bought, gathered: Gathered, claims: Sequence[Claim]
) -> tuple[ClaimOutlook, ...]:
    goals = {goal.name: goal for goal in problem.goals}
    chances = bought.score.chances
    out = []
    for claim in claims:
        blank = ClaimOutlook(claim.id, claim.says, claim.family, claim.kind, "outside")
        if claim.id not in goals:
            out.append(ClaimOutlook(**{**vars(blank), "reason": gathered.outside[claim.id]}))
        else:
            out.append(_outlook(problem, bought.basket, goals[claim.id], blank, chances[claim.id]))
    return tuple(out)


def _outlook(problem: Problem, basket: Basket, goal: Goal, blank: ClaimOutlook, chance: float) -> ClaimOutlook:
    there = min(problem.there.seeds(arm) for arm in goal.arms)
    seeds = min(basket.seeds(arm) for arm in goal.arms)
    wanted = LOOKS[0] if goal.seeds is None or goal.seeds <= LOOKS[0] else LOOKS[-1]
    price = problem.there.price(needs_of(goal, wanted), problem.costs)
    standing, reason = _standing(goal, there, seeds, chance)
    values = {
        "standing": standing,
        "effect": goal.effect,
        "sigma": goal.sigma,
        "assumed": goal.assumed,
        "seeds_needed": goal.seeds,
        "seeds_there": there,
        "seeds": seeds,
        "chance": chance,
        "hours": price,
        "hours_for": wanted,
        "reason": reason,
    }
    return ClaimOutlook(**{**vars(blank), **values})


def _standing(goal: Goal, there: int, seeds: int, chance: float) -> tuple[Standing, str | None]:
    if goal.sigma is None and not goal.assumed:
        return "noise unknown", "every seed so far gives the same number, which says nothing of the noise"
    if goal.sigma is None:
        return "noise unknown", "how much trainings differ in it is not known before two seeds of some have run"
    if not goal.affordable:
        needed = "no number of seeds" if goal.seeds is None else f"{goal.seeds} seeds an arm"
        return "undecidable", f"would take {needed}; {AFFORDABLE} are the most that can be afforded"
    if look(there) and look(there) == look(seeds):
        return "there", None
    if look(seeds):
        return "bought", None
    return "left out", None


def _next_step(problem: Problem, bought: Bought, budget: float) -> NextStep | None:
    """The least of the budgets tried that is expected to decide more: those at which a tier begins to fit, and those
    that buy one more claim beside what is bought."""
    tried = {bought.hours + hours for _, hours in bought.refused}
    together = sum(hours for _, hours in bought.refused)
    tried.add(sum(step.hours for step in bought.steps if step.name in TITLES) + together)
    tried.update(bought.hours + offer.hours for offer in open_purchases(problem, bought.basket))
    for hours in sorted(hours for hours in tried if hours > budget)[:STEPS]:
        more = buy(problem, hours + 1e-6)
        if more.score.total >= bought.score.total + LEAST_GAIN:
            return NextStep(hours, more.score.total, _what_is_new(bought, more))
    return None


def _what_is_new(before: Bought, after: Bought) -> str:
    """What decides most of what a larger budget buys beside: a tier, or a claim and the seeds bought for it."""
    known = {(step.name, step.seeds) for step in before.steps}
    new = [step for step in after.steps if (step.name, step.seeds) not in known]
    best = max(new, key=lambda step: (step.gain, step.name))
    return TITLES.get(best.name, f"{best.seeds} seeds for {best.name}")
