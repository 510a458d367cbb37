"""What a training costs by the paper's own rates: A800 hours from Table 9's minutes an epoch on RefCOCO+."""

from __future__ import annotations

from amlrepro.config import RunConfig
from amlrepro.data.specs import COMBINED, COMBINED_PARTS, DATASETS
from amlrepro.models.registry import get_spec
from amlrepro.suite.printed import load_printed

# Table 9 names no data set; its rates are read as those of RefCOCO+ (Q31). Cost is proportional to training refs (Q46).
# ReLA is not in it: charged at CARIS's rate a sample, by the area of its input.
_RATE_REFS = 42278
_RATE_SIDE = 448
_RATE_ROWS = {
    ("caris", False): "caris",
    ("caris", True): "caris_aml",
    ("detris", False): "detris",
    ("detris", True): "detris_aml",
    ("rela", False): "caris",
    ("rela", True): "caris_aml",
}
ESTIMATED = ("rela",)  # models whose rate is not printed


def official_refs(dataset: str, split_by: str | None = None) -> int | None:
    """Referents of the official training split; of `combined` the sum of the three, an upper bound (Q26)."""
    if dataset == COMBINED:
        parts = [official_refs(name, owner) for name, owner in COMBINED_PARTS]
        return sum(n for n in parts if n is not None)
    return DATASETS[dataset].partition(split_by).splits["train"].refs


def training_hours(config: RunConfig, epochs: int, refs: int | None) -> float | None:
    """A800 hours of `epochs` epochs over `refs` referents; None where the paper's rates say nothing (other models,
    sizes or resolutions).

    The random mask is charged at the baseline's rate: it needs no stage one.
    """
    row = _RATE_ROWS.get((config.model.name, config.strategy == "aml"))
    side = config.data.image_size
    usual = row is not None and side == get_spec(config.model.name).protocol.image_size
    if row is None or not usual or config.model.size != "base" or config.model.options:
        return None
    minutes = load_printed("table9").value(row, "time_min_per_epoch")
    visited = config.train.epoch_refs or refs
    if visited is None or minutes is None:
        return None
    return minutes / 60 * epochs * visited / _RATE_REFS * (side / _RATE_SIDE) ** 2
