"""Validity first: what must hold of the measurements before a verdict on them counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from amlrepro.data.specs import dataset_spec
from amlrepro.suite.plan import Cell, Plan, Request
from amlrepro.suite.published import published_value
from amlrepro.suite.store import Store
from amlrepro.verdicts.arms import Arm, Arms
from amlrepro.verdicts.claims import CellRef, printed_number
from amlrepro.verdicts.harness import Harness
from amlrepro.verdicts.noise import Noise

WEAK = 2.0  # sigmas that a baseline may lie under its reference


def why_invalid(
    store: Store, plan: Plan, arms: Arms, pairs: Sequence[tuple[Arm, Arm]], noises: Sequence[Noise], harness: Harness
) -> tuple[str, ...]:
    """All reasons why a verdict on some comparisons is invalid; none where it counts. Of what small models show on
    synthetic data (`plan.watermark`) only missing samples are asked: there is nothing to compare the rest with."""
    cells = [arm.cell for pair in pairs for arm in pair]
    models = [plan.runs[r.run_id].config.model.name for cell in cells for r in _evaluations(plan, cell)]
    reasons = [] if plan.watermark else harness.unverified(models)
    for arm in dict.fromkeys(arm for pair in pairs for arm in pair):
        reasons += _missing_samples(store, plan, arm)
    if not plan.watermark:
        for pair, noise in zip(pairs, noises, strict=True):
            reasons += _weak_baselines(plan, arms, pair, noise)
    return tuple(dict.fromkeys(reasons))


def weak_baseline(
    mean: float, printed: float | None, published: float | None, sigma: float | None
) -> tuple[float, float] | None:
    """The lower of the printed and the published value, and how many points a baseline may lie under it, where it lies
    further below; None where it is strong enough, or nothing is known to compare it with."""
    known = [value for value in (printed, published) if value is not None]
    if not known or sigma is None or mean >= min(known) - WEAK * sigma:
        return None
    return min(known), WEAK * sigma


def _missing_samples(store: Store, plan: Plan, arm: Arm) -> Iterable[str]:
    """Evaluations with fewer samples than their split has, or than the other seeds."""
    there: dict[str, int] = {}
    for request in _evaluations(plan, arm.cell):
        if store.eval_present(request.run_id, request.eval):
            meta = store.eval_meta(request.run_id, request.eval_id) or {}
            if "samples" in meta:
                there[request.run_id] = int(meta["samples"])
                official = _official(request) if plan.source == "refer" and not plan.watermark else None
                if official is not None and there[request.run_id] < official:
                    place = f"{request.eval.dataset} {request.eval.split}"
                    yield f"samples missing: {request.run_id} has {meta['samples']:,} of {official:,} of {place}"
    if arm.cell.kind == "measured" and len(set(there.values())) > 1:
        few = min(there, key=lambda run_id: there[run_id])
        yield f"samples missing: {few} has {there[few]:,}, another seed {max(there.values()):,}"


def _evaluations(plan: Plan, cell: Cell) -> list[Request]:
    """The evaluations behind a cell; of a calculated one, behind its parts."""
    if cell.kind != "derived":
        return list(cell.evaluations)
    cells = {(c.block, c.row, c.column): c for c in plan.cells if c.experiment == cell.experiment}
    return [request for part in cell.parts for request in _evaluations(plan, cells[part])]


def _official(request: Request) -> int | None:
    """(image, sentence) pairs of a split by the official counts."""
    evaluation = request.eval
    if evaluation.text != "own":
        return None
    counts = dataset_spec(evaluation.dataset).partition(evaluation.split_by).splits.get(evaluation.split)
    return counts.sentences if counts else None


def _weak_baselines(plan: Plan, arms: Arms, pair: tuple[Arm, Arm], noise: Noise) -> Iterable[str]:
    """The baseline rows of the same model in the comparison's own columns."""
    models = {_model(plan, arm.cell) for arm in pair}
    for arm in pair:
        for cell in plan.cells_of(arm.ref.experiment, arm.ref.block):
            if cell.column != arm.ref.column or cell.preset != "baseline" or cell.kind != "measured":
                continue
            ref = CellRef(cell.experiment, cell.block, cell.row, cell.column)
            baseline = arms.arm(ref)
            if _model(plan, cell) not in models or not baseline.seeds:
                continue
            mean = sum(value for _, value in baseline.seeds) / len(baseline.seeds)
            printed, published = printed_number(ref), _published(plan, cell)
            weak = weak_baseline(mean, printed, published, noise.sigma)
            if weak:
                yield (
                    f"baseline too weak: {cell.row} has {mean:.2f} in {cell.column}, more than {weak[1]:.2f} "
                    f"(two sigma) under {weak[0]:.2f}, the lower of its printed and its published value"
                )


def _model(plan: Plan, cell: Cell) -> str | None:
    for request in cell.requests:
        if request.run_id in plan.runs:
            return plan.runs[request.run_id].config.model.name
    return None


def _published(plan: Plan, cell: Cell) -> float | None:
    """What the official checkpoint is published to reach where the cell is measured: whole pictures, the last weights,
    trained on the data set it is scored on."""
    evaluation, run = cell.evaluations[0].eval, plan.runs[cell.requests[0].run_id]
    whole = evaluation.perturbation is None and evaluation.checkpoint == "last" and cell.subset == "all"
    if not whole or run.config.data.train != evaluation.dataset:
        return None
    return published_value(
        run.config.model.name, evaluation.dataset, evaluation.split, cell.metric, evaluation.split_by
    )
