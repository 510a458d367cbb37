"""`amlris plan --budget`: what so many GPU hours decide, and the commands that run just that."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from amlrepro.aml.presets import READINGS
from amlrepro.cli.options import Opened, PlanOptions, hours_text, say_headline, wide_console
from amlrepro.errors import UserError
from amlrepro.suite.chosen import Choice, Chosen, write_chosen
from amlrepro.suite.rates import measure_rates
from amlrepro.verdicts.families import LOOKS

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from amlrepro.verdicts.budget import BudgetPlan
    from amlrepro.verdicts.budget.result import ClaimOutlook

SEEDS = tuple(range(max(LOOKS)))  # planned for unless others are named
DEFAULT_FILE = "chosen.json"
GAP = 3  # between two columns
ELSEWHERE = "needs "  # how the reason begins of a claim about experiments that were not asked for
_HOURS = {"": 1.0, "h": 1.0, "min": 1 / 60, "d": 24.0}


def parse_budget(text: str) -> float:
    """`100h`, `100`, `90min` or `3d` as hours; raises `UserError` for anything else."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(h|min|d)?\s*", text)
    if found is None:
        raise UserError("not a budget", where="--budget", found=text, expected="GPU hours, as 100h (or 90min, 3d)")
    return float(found[1]) * _HOURS[found[2] or ""]


def count(number: int) -> str:
    """`1 claim`, `3 claims`."""
    return f"{number} claim{'s' * (number != 1)}"


def seeds_for(options: PlanOptions) -> PlanOptions:
    """The options with all seeds that a verdict may take, unless some were named."""
    return replace(options, seeds=options.seeds or " ".join(map(str, SEEDS)))


def show_budget(
    opened: Opened,
    options: PlanOptions,
    names: Sequence[str],
    budget: float,
    file: Path | None,
    as_json: bool,
    force: bool,
) -> None:
    """Plan for a budget, print it, and write the chosen runs where a file is named."""
    from amlrepro.verdicts.budget import as_json as as_value
    from amlrepro.verdicts.budget import plan_budget

    rates = measure_rates(opened.store)
    plan = plan_budget(opened.store, opened.plan, budget, rates=rates)
    if file is not None:
        if opened.inputs.assumed:
            hint = "leave out --assume-data: without the data the names of runs are provisional"
            raise UserError("nothing can be chosen on assumed data", where="--write", hint=hint)
        runs = {k: Choice(v["until"], frozenset(v["evals"]), frozenset(v["probes"])) for k, v in plan.chosen.items()}
        write_chosen(file, Chosen(plan.profile, plan.preset, runs), force)
    if as_json:
        typer.echo(json.dumps(as_value(plan), indent=1, ensure_ascii=False))
        return
    say_headline(opened)
    print_budget(wide_console(), plan)
    for line in _commands(plan, options, names, file, opened.inputs.assumed):
        typer.echo(line)


def print_budget(console: Console, plan: BudgetPlan) -> None:
    """The plan for people."""

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False)

    if plan.watermark:
        say(f"{plan.watermark}; effects are the paper's, as a stand-in")
    spent = f"{hours_text(plan.spent)} spent, {hours_text(plan.left)} buy nothing more"
    say(f"{plan.budget:g} {plan.gpu} hours, by {plan.rates}; {spent}.")
    console.print()
    console.print(_tiers(plan))
    if plan.runs:
        console.print()
        console.print(_runs(plan))
    console.print()
    expected = f"{plan.expected:.1f} claims expected to be decided"
    there = f", {plan.expected_there:.1f} of them by what is in the store" if plan.expected_there >= 0.05 else ""
    say(f"{expected}{there} (sum of the chances below, of claims that affordable seeds can decide).")
    bought = plan.standing("bought", "there")
    if bought:
        console.print(_claims(bought, True, console.width))
    else:
        say("A claim takes 3 seeds of each of its arms; no claim's fit into what the tiers leave.")
    left = sorted(plan.standing("left out"), key=lambda c: (c.hours or 0.0, c.id))
    if left:
        console.print()
        say(f"Left out: {count(len(left))} that more hours could decide, the cheapest first.")
        console.print(_claims(left[:8], False, console.width))
        if len(left) > 8:
            say(f"and {len(left) - 8} more (--json has all)")
    if plan.next_step is not None:
        step = plan.next_step
        say(f"Next step: {hours_text(step.budget)} h decide {step.expected:.1f} ({step.why}).")
    _beyond(plan, say)


def _beyond(plan: BudgetPlan, say: Callable[[str], None]) -> None:
    """Claims that no budget decides, or of which nothing can be said."""
    never = sorted(plan.standing("undecidable"), key=lambda c: (c.seeds_needed is None, c.seeds_needed or 0, c.id))
    if never:
        listed = ", ".join(f"{c.id} ({c.seeds_needed or 'no number of'} seeds)" for c in never)
        say(f"\nNo affordable budget decides {count(len(never))} (seeds an arm, 10 at most): {listed}.")
    for assumed, why in ((True, "until some seeds have run"), (False, "where every seed so far gives the same number")):
        unknown = [c for c in plan.standing("noise unknown") if c.assumed == assumed]
        if unknown:
            names = ", ".join(c.id for c in unknown)
            say(f"\nNothing is known of the noise of {count(len(unknown))} {why}: {names}.")
    outside = [c for c in plan.standing("outside") if not (c.reason or "").startswith(ELSEWHERE)]
    if outside:
        say(f"\nNot decided by these runs: {'; '.join(f'{c.id} ({c.reason})' for c in outside)}.")
    elsewhere = len(plan.standing("outside")) - len(outside)
    if elsewhere:
        say(f"\nAbout other tables and figures: {count(elsewhere)}; amlris plan all --budget ... weighs them too.")


def _tiers(plan: BudgetPlan) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in ("tier", ""):
        table.add_column(name, overflow="fold")
    table.add_column("hours", justify="right")
    table.add_column("")
    for tier in plan.tiers:
        cost = hours_text(tier.hours) if tier.hours else "-"
        said = tier.reason or ("bought" if tier.bought else "left out")
        table.add_row(str(tier.number), tier.title, cost, said, style="" if tier.bought else "dim")
    return table


def _runs(plan: BudgetPlan) -> Table:
    """Chosen runs, those that differ by their seed in one row."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("run", overflow="fold")
    table.add_column("seeds")
    for name in ("epochs", "evals", "probes", "hours"):
        table.add_column(name, justify="right")
    rows: dict[tuple[str, str, int, int], list[int]] = {}
    costs: dict[tuple[str, str, int, int], float] = {}
    for run in plan.runs:
        name = run.run_id.rpartition("-s")[0]
        epochs = f"{run.after} to {run.until}" if run.after and run.after < run.until else str(run.until)
        key = name, epochs, len(run.evals), len(run.probes)
        rows.setdefault(key, []).append(run.seed)
        costs[key] = costs.get(key, 0.0) + run.hours
    for key, seeds in rows.items():
        name, epochs, evals, probes = key
        counts = [str(n) if n else "-" for n in (evals, probes)]
        table.add_row(name, " ".join(map(str, sorted(seeds))), epochs, *counts, hours_text(costs[key]))
    return table


def _claims(claims: Sequence[ClaimOutlook], chance: bool, width: int) -> Table:
    """Claims with what decides them; sigma in a column where it is not the same for all."""
    from rich import box
    from rich.table import Table

    sigmas = [f"{c.sigma:.2f}{'*' if c.assumed else ''}" if c.sigma is not None else "-" for c in claims]
    several = len(set(sigmas)) > 1
    rows = []
    for claim, sigma in zip(claims, sigmas, strict=True):
        last = [str(claim.seeds), f"{100 * claim.chance:.0f} %"] if chance else [hours_text(claim.hours or 0.0)]
        middle = [f"{claim.effect:+.2f}", *([sigma] if several else []), str(claim.seeds_needed or "-")]
        rows.append([claim.id, claim.says, *middle, *last])
    names = ["effect", *(["sigma"] if several else []), "needs", *(["seeds", "chance"] if chance else ["hours"])]
    widths = [max(len(name), *(len(row[k]) for row in rows)) for k, name in enumerate(("claim", "says", *names))]
    room = max(8, width - sum(widths) + widths[1] - GAP * (len(widths) - 1))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("claim", no_wrap=True, min_width=widths[0])
    table.add_column("says", no_wrap=True)
    for k, name in enumerate(names, start=2):
        table.add_column(name, justify="right", no_wrap=True, min_width=widths[k])
    for row in rows:
        table.add_row(row[0], row[1] if len(row[1]) <= room else f"{row[1][: room - 1]}…", *row[2:])
    noise = "*: sigma is assumed, not measured" if several else f"sigma {sigmas[0].replace('*', ', assumed')}"
    table.caption = f"needs: seeds an arm for 80 % power, judged alone; {noise}"
    table.caption_justify = "left"
    return table


def _commands(
    plan: BudgetPlan, options: PlanOptions, names: Sequence[str], file: Path | None, assumed: bool
) -> list[str]:
    """What to type to run just this. assumed: planned without looking at any data, so that runs have no names yet."""
    bought = {tier.name for tier in plan.tiers if tier.bought and tier.spent}
    base = _flags(options)
    lines = [""]
    if "harness" in bought:
        places = _flags(replace(options, profile="paper", preset="inferred", seeds=None, set_=None))
        lines.append(f"{shlex.join(['amlris', 'verify-harness', *places])} --folder FOLDER_OF_OFFICIAL_CHECKPOINTS")
    if "readings" in bought:
        lines.append(shlex.join(["amlris", "readings", "--readings", *READINGS, *_flags(replace(options, seeds=None))]))
    if plan.runs:
        target = str(file or DEFAULT_FILE)
        if file is None:
            how = "with the data, the same command without --assume-data and" if assumed else "the same command"
            lines.append(f"To run just these: {how} with " + shlex.join(["--write", target]) + ", then")
        lines.append(shlex.join(["amlris", "run", *names, *base, "--chosen", target]))
    return lines if len(lines) > 1 else []


def _flags(options: PlanOptions) -> list[str]:
    flags = [] if options.profile == "paper" else ["--profile", options.profile]
    flags += [] if options.preset == "inferred" else ["--preset", options.preset]
    flags += ["--seeds", *options.seeds.replace(",", " ").split()] if options.seeds else []
    for value in options.set_ or []:
        flags += ["--set", value]
    flags += ["--data-root", str(options.data_root)] if options.data_root else []
    flags += ["--image-root", str(options.image_root)] if options.image_root else []
    return flags + ([] if str(options.store) == "results" else ["--store", str(options.store)])
