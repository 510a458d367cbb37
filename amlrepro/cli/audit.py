"""`amlris audit`: the paper against itself, against its released code, and the method as printed. No runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from amlrepro.cli.audit_measure import (
    FEW_PAIRS,
    SIMULATED,
    FeatureChoice,
    measure_chosen,
    measure_leaks,
    measure_simulated,
)
from amlrepro.cli.options import (
    DEFAULT_STORE,
    DataRootOption,
    ImageRootOption,
    JsonOption,
    ProfileOption,
    StoreOption,
    wide_console,
)
from amlrepro.config import PROFILES
from amlrepro.errors import UserError, unknown_name
from amlrepro.files import write_text
from amlrepro.suite.store import Store
from amlrepro.verdicts.audit import AuditReport, read_audit, run_audit
from amlrepro.verdicts.audit.method import VERSION, Method
from amlrepro.verdicts.audit.stored import audit_file, keep_measured, read_measured


def audit(
    checks: Annotated[
        list[str] | None, typer.Argument(help="Checks to show in full (T1-AVG5, ...).", show_default="all, in short")
    ] = None,
    verdict: Annotated[
        str | None, typer.Option("--verdict", help="Only checks that are contradictory, off_by, unclear or consistent.")
    ] = None,
    experiment: Annotated[
        str | None, typer.Option("--experiment", help="Only checks about this table or figure.")
    ] = None,
    features: Annotated[
        Path | None, typer.Option("--features", help="Measure the method on features of this .npz file.")
    ] = None,
    run: Annotated[str | None, typer.Option("--run", help="Or on those of a run: its id, or the beginning.")] = None,
    checkpoint: Annotated[
        Path | None, typer.Option("--checkpoint", help="Or of a checkpoint, official or ours.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="Which model an official checkpoint is of.", show_default="caris")
    ] = None,
    vocab: Annotated[Path | None, typer.Option("--vocab", help="vocab.txt of BERT or merges.txt of CLIP.")] = None,
    data: Annotated[str, typer.Option("--data", help="Whose pairs the features are of.")] = "refcoco+:val",
    pairs: Annotated[int, typer.Option("--pairs", min=1, help="As many (image, sentence) pairs.")] = FEW_PAIRS,
    measure: Annotated[
        bool, typer.Option("--measure/--no-measure", help="Measure the method and count leaked pictures (seconds).")
    ] = True,
    out: Annotated[Path | None, typer.Option("--markdown", "-o", help="Write all of it as one page, too.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Measure again; replace the page if it exists.")] = False,
    profile: ProfileOption = "paper",
    data_root: DataRootOption = None,
    image_root: ImageRootOption = None,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Check the paper by arithmetic: against itself, against its released code, and the method as printed on features.

    Nothing is trained. Measurements are kept in the store for the report.
    """
    if profile not in PROFILES:
        raise unknown_name("profile", profile, PROFILES, "--profile")
    choice = FeatureChoice(features, run, checkpoint, model, vocab, data, pairs)
    choice.check()
    run_audit().select(checks or (), verdict, experiment)  # wrong names are told before anything is measured
    if out is not None and out.exists() and not force:
        raise UserError("this file exists", where=out, hint="name another one, or replace it by --force")
    place = Store(store, profile)
    short = bool(checks or verdict or experiment) and out is None
    notes = _measure(place, choice, data_root, image_root, force) if choice.named or (measure and not short) else []
    report = read_audit(place)
    if out is not None:
        from amlrepro.report.audit_page import audit_markdown

        write_text(out, audit_markdown(report))
        notes.append(f"all of this as one page: {out}")
    if as_json:
        typer.echo(_json(report, checks, verdict, experiment))
        return
    _show(place, report, notes, checks, verdict, experiment)


def _measure(
    place: Store, choice: FeatureChoice, data_root: Path | None, image_root: Path | None, force: bool
) -> list[str]:
    """Measure what is asked for and not there yet, keep it, and say what could not be."""
    _, kept = read_measured(place)
    found: list[Method] = []
    simulated = next((method for method in kept if method.key == SIMULATED), None)
    if simulated is None or simulated.version != VERSION or (force and not choice.named):
        found.append(measure_simulated())
    if choice.named:
        found.append(measure_chosen(choice, None, place.root, data_root, image_root))
    leaks, reason = measure_leaks(data_root)
    keep_measured(place, leaks, found)
    notes = [f"measured now and kept in {audit_file(place)}"] if found else []
    return notes + ([f"leak of Table 15 not counted here: {reason}"] if reason else [])


def _json(report: AuditReport, checks: list[str] | None, verdict: str | None, experiment: str | None) -> str:
    values = report.as_json()
    chosen = {finding.id for finding in report.select(checks or (), verdict, experiment)}
    values["findings"] = [row for row in values["findings"] if row["id"] in chosen]
    return json.dumps(values, indent=1, ensure_ascii=False)


def _show(
    place: Store,
    report: AuditReport,
    notes: list[str],
    checks: list[str] | None,
    verdict: str | None,
    experiment: str | None,
) -> None:
    from amlrepro.cli.audit_view import in_full, overview

    console = wide_console()
    console.print("audit of AMLRIS (ICLR 2026) | arithmetic on its printed numbers | no runs", markup=False)
    if checks or verdict or experiment:
        chosen = report.select(checks or (), verdict, experiment)
        parts = in_full(chosen, bool(checks))
    else:
        parts = overview(report)
    for part in parts:
        console.print(part)
    for note in notes:
        console.print(note, style="dim", markup=False, soft_wrap=True)
