"""The metrics: each one a function from records to the two sums whose ratio it is.

A metric is `100 * sum(numerator) / sum(denominator)` over samples, so its value, its per-image sums and its bootstrap
all follow from one function. A new metric is one entry in `METRICS`. When the meaning of one changes its version is
raised; what was cached under the old version is then computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from amlrepro.errors import unknown_name
from amlrepro.metrics.records import Records

Terms = tuple[npt.NDArray[Any], npt.NDArray[Any]]


@dataclass(frozen=True)
class Metric:
    """A metric in percent.

    terms: records of N samples -> (numerator [N], denominator [N]), int64 where they are counts of pixels or samples.
    better: which way is better, as the printed tables say it.
    """

    name: str
    title: str
    version: int
    terms: Callable[[Records], Terms]
    better: str = "higher"
    unit: str = "percent"


def iou(records: Records) -> npt.NDArray[np.float64]:
    """IoU of each sample, [N]; 0 where the union is empty (LAVT and MagNet; CARIS's own code would give NaN)."""
    union = records.union
    return np.divide(records.intersection, union, out=np.zeros(len(records)), where=union > 0)


def _ones(records: Records) -> npt.NDArray[np.int64]:
    return np.ones(len(records), dtype=np.int64)


def _overall_iou(records: Records) -> Terms:
    """oIoU = sum of intersections / sum of unions, over all samples of the split."""
    return records.intersection, records.union


def _mean_iou(records: Records) -> Terms:
    """mIoU = mean over samples of intersection / union."""
    return iou(records), _ones(records)


def _precision(records: Records, tenths: int, strict: bool = False) -> Terms:
    """P@X with X = tenths / 10: share of samples with IoU >= X, decided in whole numbers (no rounding of X or IoU).

    strict: count IoU > X instead, as DETRIS does (its IoU has 1e-6 in the denominator, so equality never counts).
    """
    left, right = 10 * records.intersection, tenths * records.union
    hit = (left > right) if strict else (left >= right)
    return (hit & (records.union > 0)).astype(np.int64), _ones(records)


def _hits(records: Records) -> npt.NDArray[np.bool_]:
    """Samples with a target for which the model does not say that there is none: the only ones whose mask counts."""
    return ~records.target_empty & ~records.no_target


def _generalized_overall_iou(records: Records) -> Terms:
    """cIoU = sum of intersections / sum of unions (GRES).

    A rightly rejected sample adds nothing. A wrongly rejected one adds its union, the mask is not emptied for it; one
    that should have been rejected adds the area of its mask.
    """
    rejected = records.target_empty & records.no_target
    return np.where(_hits(records), records.intersection, 0), np.where(rejected, 0, records.union)


def _generalized_mean_iou(records: Records) -> Terms:
    """gIoU = mean IoU, where a rightly rejected sample has 1, one rejected or kept wrongly 0 (GRES)."""
    rejected = records.target_empty & records.no_target
    return np.where(_hits(records), iou(records), rejected), _ones(records)


def _no_target_accuracy(records: Records) -> Terms:
    """N-acc = share of the samples without a target that the model rejects; undefined where there are none (ReLA's
    code gives 0 there)."""
    return (records.target_empty & records.no_target).astype(np.int64), records.target_empty.astype(np.int64)


def _target_accuracy(records: Records) -> Terms:
    """T-acc = share of the samples with a target that the model does not reject."""
    return _hits(records).astype(np.int64), (~records.target_empty).astype(np.int64)


def _generalized_precision(records: Records, tenths: int) -> Terms:
    """Pr@X of GRES: share of the samples *with* a target whose IoU >= X; a rejected one has IoU 0."""
    hit = (10 * records.intersection >= tenths * records.union) & (records.union > 0) & _hits(records)
    return hit.astype(np.int64), (~records.target_empty).astype(np.int64)


def _precisions() -> list[Metric]:
    out = []
    for tenths in (5, 6, 7, 8, 9):
        name, title = f"pr{10 * tenths}", f"P@0.{tenths}"
        out.append(Metric(name, title, 1, partial(_precision, tenths=tenths)))
        out.append(Metric(f"{name}_strict", f"{title} (strict)", 1, partial(_precision, tenths=tenths, strict=True)))
    return out


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("oiou", "oIoU", 1, _overall_iou),
        Metric("miou", "mIoU", 1, _mean_iou),
        *_precisions(),
        Metric("ciou", "cIoU", 1, _generalized_overall_iou),
        Metric("giou", "gIoU", 1, _generalized_mean_iou),
        Metric("n_acc", "N-acc", 1, _no_target_accuracy),
        Metric("t_acc", "T-acc", 1, _target_accuracy),
        *(Metric(f"gpr{10 * t}", f"Pr@0.{t}", 1, partial(_generalized_precision, tenths=t)) for t in (7, 8, 9)),
    )
}

# What a single-target evaluation is summarised by; anything else is computed when a table asks for it.
DEFAULT_METRICS: tuple[str, ...] = ("oiou", "miou", "pr50", "pr60", "pr70", "pr80", "pr90")
# The same where expressions may name several objects or none.
GENERALIZED_METRICS: tuple[str, ...] = ("ciou", "giou", "n_acc", "t_acc", "gpr70", "gpr80", "gpr90")


def metric(name: str) -> Metric:
    """The metric called `name`; raises `UserError` with the nearest names."""
    if name not in METRICS:
        raise unknown_name("metric", name, METRICS)
    return METRICS[name]


def ratio(numerator: npt.NDArray[Any], denominator: npt.NDArray[Any]) -> float:
    """100 * sum / sum; NaN when the denominator sums to 0 (no samples, or nothing but empty unions)."""
    below = denominator.sum()
    return float(100.0 * numerator.sum() / below) if below > 0 else float("nan")


def value(name: str, records: Records) -> float:
    """The metric of these records, in percent; NaN when it is undefined (see `ratio`)."""
    return ratio(*metric(name).terms(records))


def values(records: Records, names: Iterable[str] = DEFAULT_METRICS) -> dict[str, float]:
    """Several metrics of the same records, in percent."""
    return {name: value(name, records) for name in names}
