"""`amlris claims`: what the results in the store say of the paper's statements; `lock` fixes them beforehand."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from amlrepro.cli.groups import with_groups
from amlrepro.cli.lists import items
from amlrepro.cli.options import JsonOption, Opened, PlanOptions, open_plan, say_headline, wide_console
from amlrepro.cli.verdict_basis import claim_experiments, verdict_seeds
from amlrepro.errors import UserError, unknown_name
from amlrepro.suite.experiment import load_experiments
from amlrepro.suite.plan import Plan
from amlrepro.suite.store import Store
from amlrepro.verdicts.claims import Claim, load_claims, pick_claim
from amlrepro.verdicts.families import LOOKS
from amlrepro.verdicts.lock import write_lock

if TYPE_CHECKING:
    from amlrepro.verdicts.verdict import ClaimsReport

IN_DETAIL = 3  # of so many named claims everything is told


@with_groups
def claims(
    options: PlanOptions,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CLAIM...]", help="Claims by id, or `lock` to fix all of them.", show_default="all"),
    ] = None,
    family: Annotated[str | None, typer.Option("--family", help="Only claims of this family.")] = None,
    experiment: Annotated[str | None, typer.Option("--experiment", help="Only claims on this table or figure.")] = None,
    details: Annotated[bool, typer.Option("--details", help="Tell everything of each claim.")] = False,
    all_: Annotated[bool, typer.Option("--all", help="List claims that have not been run one by one, too.")] = False,
    force: Annotated[bool, typer.Option("--force", help="With `lock`: lock anew; the earlier hash is kept.")] = False,
    assume_data: Annotated[
        bool, typer.Option("--assume-data", help="With `lock`: fix the claims without looking at any data.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Judge the paper's comparative statements by the results there are: pooled noise between seeds, looks at 3 and 5
    seeds, families of claims. Nothing is trained.

    `amlris claims lock` writes claims, readings, margins, seeds and the checkpoint rule with their hash into the store,
    before the results; what changes later is labelled exploratory.
    """
    if names and names[0] == "lock":
        _lock(
            options, names[1:], force, as_json, picked=family is not None or experiment is not None, assume=assume_data
        )
        return
    if assume_data:
        raise UserError("--assume-data belongs to `amlris claims lock`: results know their data", where="--assume-data")
    if force:
        raise UserError("--force belongs to `amlris claims lock`", where="--force")
    chosen = _chosen(names or [], family, experiment)
    opened = _open(options, "amlris claims")
    if not as_json:
        say_headline(opened)
    from amlrepro.verdicts.evaluate import evaluate_claims

    def other(preset: str) -> Plan:
        seeds = ",".join(map(str, opened.plan.seeds))
        return _open(replace(options, preset=preset, seeds=seeds), "amlris claims").plan

    from amlrepro.verdicts.merging import as_json as merged_value
    from amlrepro.verdicts.merging import evaluate_laboratories

    def of_laboratory(store: Store) -> Plan:
        seeds = ",".join(map(str, verdict_seeds(store)))
        return _open(replace(options, store=store.root, seeds=seeds), "amlris claims").plan

    report = evaluate_claims(opened.store, opened.plan, chosen, others=other)
    merged = evaluate_laboratories(opened.store, opened.plan, of_laboratory, chosen)
    if as_json:
        from amlrepro.verdicts.verdict import as_json as as_value

        more = {"laboratories": merged_value(merged)} if merged else {}
        typer.echo(json.dumps({**as_value(report), **more}, ensure_ascii=False))
        return
    _print(report, details or (bool(names) and len(chosen) <= IN_DETAIL), all_ or bool(names or family or experiment))
    if merged:
        from amlrepro.cli.laboratories_view import merged_claims

        for part in merged_claims(merged):
            wide_console().print(part)


def _print(report: ClaimsReport, details: bool, everything: bool) -> None:
    from amlrepro.cli.claims_view import detail, overview

    console = wide_console()
    parts = [part for v in report.verdicts for part in detail(v, report)] if details else overview(report, everything)
    for part in parts:
        console.print(part)


def _chosen(names: list[str], family: str | None, experiment: str | None) -> list[Claim]:
    """The claims meant by ids and filters, in the file's order. Raises `UserError` for names that do not exist, and
    where nothing is left."""
    known = load_claims()
    wanted = {pick_claim(name).id for name in names} or {claim.id for claim in known}
    families = list(dict.fromkeys(claim.family for claim in known))
    for name in _names(family, "--family"):
        if name not in families:
            raise unknown_name("family", name, families, "--family")
    experiments = list(dict.fromkeys(each for claim in known for each in claim.experiments))
    for name in items(experiment, "--experiment"):
        if name not in experiments:
            raise unknown_name("experiment with claims", name, experiments, "--experiment")
    found = [
        claim
        for claim in known
        if claim.id in wanted
        and (family is None or claim.family in _names(family, "--family"))
        and (experiment is None or set(items(experiment, "--experiment")) & set(claim.experiments))
    ]
    if not found:
        raise UserError("no claim is all of that", where="amlris claims", hint="leave out --family or --experiment")
    return found


def _names(text: str | None, where: str) -> list[str]:
    """Families, whose names may hold blanks, separated by commas."""
    if text is None:
        return []
    found = [part.strip() for part in text.split(",") if part.strip()]
    if not found:
        raise UserError("an empty list", where=where)
    return found


def _open(options: PlanOptions, command: str, assume_data: bool = False) -> Opened:
    """The plan of every experiment with claims: a verdict hangs on all recipes that tell of the noise, and on its whole
    family. Seeds are those of the lock, else all that the store has."""
    if options.seeds is None:
        seeds = verdict_seeds(Store(options.store, options.profile))
        options = replace(options, seeds=",".join(map(str, seeds)) or None)
    return open_plan(load_experiments(claim_experiments()), options, command=command, assume_data=assume_data)


def _lock(options: PlanOptions, rest: list[str], force: bool, as_json: bool, picked: bool, assume: bool) -> None:
    if rest or picked:
        raise UserError("`amlris claims lock` fixes all claims together", found=" ".join(rest) or "a filter")
    if options.seeds is None:
        options = replace(options, seeds=",".join(map(str, range(max(LOOKS)))))
    if assume and Store(options.store, options.profile).run_ids():
        hint = "leave out --assume-data: a lock says how many of the claims' runs were done before it"
        raise UserError("the store has runs already", where="--assume-data", hint=hint)
    opened = _open(options, "amlris claims lock", assume)
    if not as_json:
        say_headline(opened)
    lock = write_lock(opened.store, opened.plan, load_claims(), force=force)
    if as_json:
        typer.echo(json.dumps({"hash": lock.hash, "says": lock.says, "seeds": list(lock.seeds)}))
        return
    typer.echo(lock.says)
    typer.echo("claims, readings, margins, seeds and checkpoint rule are fixed; what changes later is exploratory")
