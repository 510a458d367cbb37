"""The checks of an experiment: does the model use language, and does the masking act?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from amlrepro.metrics.bootstrap import bootstrap_values, image_sums, percentile_interval
from amlrepro.metrics.compute import metric
from amlrepro.metrics.records import Records
from amlrepro.metrics.summary import origin
from amlrepro.suite.experiment import LanguageCheck, MaskingCheck
from amlrepro.suite.plan import Plan, PlannedCheck, Request
from amlrepro.suite.reasons import why_absent
from amlrepro.suite.store import Store


@dataclass(frozen=True)
class CheckResult:
    """One check. passed: None when it could not be made (`text` says why). numbers: what it was decided by."""

    name: str
    title: str
    passed: bool | None
    text: str
    numbers: dict[str, float] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """`pass`, `fail` or `not made`."""
        return "not made" if self.passed is None else "pass" if self.passed else "fail"


def check_results(store: Store, plan: Plan, experiment: str) -> list[CheckResult]:
    """Results of all checks of one experiment, in the order of its file."""
    return [_check(store, planned) for planned in plan.checks if planned.experiment == experiment]


def _check(store: Store, planned: PlannedCheck) -> CheckResult:
    if planned.reason is not None:
        return _not_made(planned, planned.reason)
    if isinstance(planned.spec, LanguageCheck):
        return _language(store, planned, planned.spec)
    return _masking(store, planned, planned.spec)


def _not_made(planned: PlannedCheck, why: str) -> CheckResult:
    return CheckResult(planned.name, planned.spec.title, None, why)


def _language(store: Store, planned: PlannedCheck, spec: LanguageCheck) -> CheckResult:
    """Own sentences against sentences about other objects, on the samples that have both, images drawn for the two."""
    pairs = list(zip(planned.requests, planned.control, strict=True))
    metas = []
    for request in (request for pair in pairs for request in pair):
        if not store.eval_present(request.run_id, request.eval):
            return _not_made(planned, why_absent(store.status(request.run_id)))
        metas.append(store.eval_meta(request.run_id, request.eval_id) or {})
    name = spec.metric
    found = store.calculated("language use", origin(metas, [name]), lambda: _own_and_other(store, pairs, name))
    if not found["samples"]:
        return _not_made(planned, f"no sample of {spec.dataset} {spec.split} has another object in its image")
    difference = found["own"] - found["other"]
    text = (
        f"{metric(spec.metric).title} {found['own']:.1f} with own sentences, {found['other']:.1f} with sentences about "
        f"another object ({found['samples']} samples of {spec.dataset} {spec.split}): {difference:+.1f} points"
        f"{_interval_text(found['interval'])}; required: at least {spec.at_least:g}"
    ).replace(" -", " −")
    numbers = {"own": found["own"], "other": found["other"], "difference": difference, "threshold": spec.at_least}
    if found["interval"]:
        numbers |= dict(zip(("low", "high"), found["interval"], strict=True))
    return CheckResult(planned.name, spec.title, difference >= spec.at_least, text, numbers)


def _own_and_other(store: Store, pairs: list[tuple[Request, Request]], name: str) -> dict[str, Any]:
    """The metric with own and with other sentences, mean over seeds, and the interval of their difference."""
    common = [same_samples(_records(store, own), _records(store, other)) for own, other in pairs]
    if not len(common[0][0]):
        return {"samples": 0}
    sums = [image_sums(records, [name]) for pair in common for records in pair]
    drawn = bootstrap_values(sums, [name])[:, :, 0]
    interval = percentile_interval((drawn[:, 0::2] - drawn[:, 1::2]).mean(axis=1))
    return {
        "samples": len(common[0][0]),
        "own": float(np.mean([s.value(name) for s in sums[0::2]])),
        "other": float(np.mean([s.value(name) for s in sums[1::2]])),
        "interval": [interval.low, interval.high] if interval else None,
    }


def same_samples(own: Records, other: Records) -> tuple[Records, Records]:
    """Both restricted to the samples (ref and sentence) that both have, in one order."""
    keys = [list(zip(r.ref_id.tolist(), r.sent_id.tolist(), strict=True)) for r in (own, other)]
    places = [{key: k for k, key in enumerate(each)} for each in keys]
    common = [key for key in keys[0] if key in places[1]]
    first, second = (np.array([place[key] for key in common], dtype=np.intp) for place in places)
    return _take(own, first), _take(other, second)


def _take(records: Records, index: np.ndarray[tuple[int], np.dtype[np.intp]]) -> Records:
    return Records(**{name: column[index] for name, column in records.columns().items()})


def _records(store: Store, request: Request) -> Records:
    return Records.read(store.run(request.run_id).eval_records(request.eval_id))


def _interval_text(limits: list[float] | None) -> str:
    return f" (95 % interval {limits[0]:.1f} to {limits[1]:.1f})" if limits else ""


def _masking(store: Store, planned: PlannedCheck, spec: MaskingCheck) -> CheckResult:
    """Share of weak blocks (block mean of S below tau), averaged over all epochs and runs."""
    shares = []
    for run_id in planned.run_ids:
        rows = store.epoch_rows(run_id).values()
        found = [100.0 * row["weak_blocks"] for row in rows if row.get("weak_blocks") is not None]
        if not found:
            return _not_made(planned, why_absent(store.status(run_id)))
        shares += found
    mean, low, high = float(np.mean(shares)), min(shares), max(shares)
    numbers = {"mean": mean, "lowest": low, "highest": high, "at_least": spec.at_least, "at_most": spec.at_most}
    text = (
        f"{mean:.1f} % of blocks are weak over {len(shares)} epochs (an epoch has {low:.1f} to {high:.1f} %); "
        f"required: {spec.at_least:g} to {spec.at_most:g} %"
    )
    return CheckResult(planned.name, spec.title, spec.at_least <= mean <= spec.at_most, text, numbers)
