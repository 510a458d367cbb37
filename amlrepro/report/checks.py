"""The checks of an experiment: does the model use language, and does the masking act?"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from amlrepro.metrics.bootstrap import Interval, bootstrap_values, image_sums, percentile_interval
from amlrepro.metrics.compute import metric
from amlrepro.metrics.records import Records
from amlrepro.report.reasons import why_absent
from amlrepro.suite.experiment import LanguageCheck, MaskingCheck
from amlrepro.suite.plan import Plan, PlannedCheck, Request
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
    pairs = []
    for own, other in zip(planned.requests, planned.control, strict=True):
        for request in (own, other):
            if not store.eval_present(request.run_id, request.eval):
                return _not_made(planned, why_absent(store.status(request.run_id)))
        pairs.append(same_samples(_records(store, own), _records(store, other)))
    if not len(pairs[0][0]):
        return _not_made(planned, f"no sample of {spec.dataset} {spec.split} has another object in its image")
    sums = [image_sums(records, [spec.metric]) for pair in pairs for records in pair]
    own_value = float(np.mean([s.value(spec.metric) for s in sums[0::2]]))
    other_value = float(np.mean([s.value(spec.metric) for s in sums[1::2]]))
    drawn = bootstrap_values(sums, [spec.metric])[:, :, 0]
    interval = percentile_interval((drawn[:, 0::2] - drawn[:, 1::2]).mean(axis=1))
    difference = own_value - other_value
    numbers = {"own": own_value, "other": other_value, "difference": difference, "threshold": spec.at_least}
    text = (
        f"{metric(spec.metric).title} {own_value:.1f} with own sentences, {other_value:.1f} with sentences about "
        f"another object ({len(pairs[0][0])} samples of {spec.dataset} {spec.split}): {difference:+.1f} points"
        f"{_interval_text(interval)}; required: at least {spec.at_least:g}"
    ).replace(" -", " −")
    if interval:
        numbers |= {"low": interval.low, "high": interval.high}
    return CheckResult(planned.name, spec.title, difference >= spec.at_least, text, numbers)


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


def _interval_text(interval: Interval | None) -> str:
    if interval is None:
        return ""
    return f" (95 % interval {interval.low:.1f} to {interval.high:.1f})"


def _masking(store: Store, planned: PlannedCheck, spec: MaskingCheck) -> CheckResult:
    """Share of weak blocks (block mean of S below tau), averaged over all epochs and runs."""
    shares = []
    for run_id in planned.run_ids:
        rows = store.run(run_id).history_rows()
        found = [
            100.0 * r["weak_blocks"] for r in rows if r.get("kind") == "epoch" and r.get("weak_blocks") is not None
        ]
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
