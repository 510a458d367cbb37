"""The page on budgets: what so many GPU hours can decide, and what none can."""

from __future__ import annotations

from collections.abc import Sequence

from amlrepro.report.html.content import Chapter, Grid, Page, Text, Tone, grid
from amlrepro.verdicts.budget import BudgetPlan
from amlrepro.verdicts.budget.result import ClaimOutlook, Standing

_LEAD = (
    "What so many GPU hours decide, before they are spent: from the printed effects, the noise that is known, and what "
    "a training costs."
)
_TONES: dict[Standing, Tone] = {"there": "good", "bought": "good", "undecidable": "bad", "left out": "open"}
_HOW = "`amlris plan all --budget 100h` plans for a budget of your own and prints the commands that run just that."


def budget_page(plans: Sequence[BudgetPlan]) -> Page:
    """Several budgets side by side, the smallest first."""
    if not plans:
        empty = Chapter("budgets", "Budgets", ("Nothing says yet what a training costs here.", _HOW))
        return Page("budget", "Before the bill", "Budget", _LEAD, (empty,))
    return Page("budget", "Before the bill", "Budget", _LEAD, (_budgets(plans), _claims(plans), _beyond(plans[-1])))


def _budgets(plans: Sequence[BudgetPlan]) -> Chapter:
    last = plans[-1]
    stand_in = ("Effects are the paper's, as a stand-in: this shows how the planner works.",) if last.watermark else ()
    says = f"Hours of {last.gpu}, by {last.rates}. Evaluation, validation and probes are counted."
    tiers = [
        [Text(tier.title, detail=f"{tier.hours:.3g} h"), *("yes" if plan.tiers[k].bought else "–" for plan in plans)]
        for k, tier in enumerate(last.tiers)
    ]
    lines: list[list[Text | str]] = [
        ["Hours spent", *(f"{plan.spent:.3g}" for plan in plans)],
        *tiers,
        ["Trainings", *(str(len(plan.runs)) for plan in plans)],
        ["Claims expected to be decided", *(f"{plan.expected:.1f}" for plan in plans)],
        ["Claims likelier decided than not", *(str(len(plan.likely)) for plan in plans)],
        ["Decides more from", *(f"{plan.next_step.budget:.3g} h" if plan.next_step else "–" for plan in plans)],
    ]
    headers = ["Budget", *(f">{plan.budget:.3g} h" for plan in plans)]
    note = "Tiers are bought in this order where they fit whole; what is left buys what decides most claims an hour."
    return Chapter(
        "budgets", "Budgets", (says, *stand_in, _HOW), grids=(grid("What each budget buys", headers, lines, note),)
    )


def _claims(plans: Sequence[BudgetPlan]) -> Chapter:
    """The chance of each claim to be decided, by budget; those that no budget decides stand further below."""
    chances = [{claim.id: claim for claim in plan.claims} for plan in plans]
    open_ = [claim for claim in plans[-1].claims if claim.standing in ("there", "bought", "left out")]
    ordered = sorted(open_, key=lambda claim: (-max(by[claim.id].chance for by in chances), claim.id))
    lines = [
        [
            Text(claim.says, detail=f"{claim.id}, {claim.family}", href=f"claims.html#claim-{claim.id}"),
            *_numbers(claim),
            *(_chance(by[claim.id]) for by in chances),
        ]
        for claim in ordered
    ]
    headers = ["Claim", ">Effect", ">Noise s", ">Seeds needed", ">Hours", *(f">{plan.budget:.3g} h" for plan in plans)]
    note = (
        "Effect: printed, the hardest of a claim's comparisons. Seeds needed: an arm, for 80 % power. Hours: for three "
        "seeds of its arms by themselves. Under a budget: the chance that the claim is decided."
    )
    return Chapter("claims", "What becomes of each claim", grids=(grid("Chances", headers, lines, note),))


def _beyond(plan: BudgetPlan) -> Chapter:
    never = sorted(plan.standing("undecidable"), key=lambda each: (each.seeds_needed is None, each.seeds_needed or 0))
    says = (
        "Their effects are too small for the noise: they take more than ten seeds an arm. A table with one seed says "
        "nothing about them, whoever prints it."
    )
    grids = [_never(never)] if never else []
    others = [*plan.standing("noise unknown"), *plan.standing("outside")]
    points = tuple(f"{claim.id}: {claim.reason}." for claim in others if claim.reason)
    return Chapter(
        "never",
        "What no affordable budget decides",
        (says,) if never else ("None.",),
        points=points,
        grids=tuple(grids),
    )


def _never(claims: Sequence[ClaimOutlook]) -> Grid:
    lines = [[Text(claim.says, detail=claim.id), *_numbers(claim)[:3]] for claim in claims]
    return grid("Undecidable", ["Claim", ">Effect", ">Noise s", ">Seeds needed"], lines)


def _numbers(claim: ClaimOutlook) -> list[Text | str]:
    effect = "–" if claim.effect is None else f"{claim.effect:+.2f}"
    sigma = "–" if claim.sigma is None else f"{claim.sigma:.2f}{' (assumed)' if claim.assumed else ''}"
    seeds = "no number" if claim.seeds_needed is None else str(claim.seeds_needed)
    return [effect, sigma, seeds, "–" if claim.hours is None else f"{claim.hours:.3g}"]


def _chance(claim: ClaimOutlook) -> Text:
    if claim.standing not in ("there", "bought"):
        return Text("–", detail=claim.standing)
    return Text(f"{100 * claim.chance:.0f} %", detail=f"{claim.seeds} seeds")
