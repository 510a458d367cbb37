"""What training costs: A800 hours from Table 9's minutes an epoch on RefCOCO+, unless a rate measured in the store is
given (`suite/rates.py`). What scoring costs is our estimate from the rate."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from amlrepro.config import EvalConfig, ProbeConfig, RunConfig
from amlrepro.data.specs import COMBINED, COMBINED_PARTS, DATASETS, SplitCounts
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
_FORWARDS_A_STEP = 3
# The released joint step learns on the whole and on the masked picture: 2.51 times CARIS's step in floating-point
# operations counted at full size, where Algorithm 1 takes 1.176 times.
_JOINT_STEP = 2.51 / 1.176
# The released gRefCOCO file as papers count it; with train's 209,344 these are its 259,859. For estimates only.
_GREFCOCO_SENTENCES = {"train": 209344, "val": 16870, "testA": 18712, "testB": 14933}
Counts = Callable[[str, str, str | None], SplitCounts]  # size of a split of a data set, by split owner
HoursPerSample = Callable[[RunConfig, bool], float | None]  # what training takes for one sample, without or with AML
ESTIMATED = ("rela",)  # models whose rate is not printed


def official_refs(dataset: str, split_by: str | None = None) -> int | None:
    """Referents of the official training split; of `combined` the sum of the three, an upper bound (Q26)."""
    if dataset == COMBINED:
        parts = [official_refs(name, owner) for name, owner in COMBINED_PARTS]
        return sum(n for n in parts if n is not None)
    return DATASETS[dataset].partition(split_by).splits["train"].refs


def official_counts(dataset: str, split: str, split_by: str | None = None) -> SplitCounts:
    """The official size of a split; its sentences as the literature counts them where the release says nothing."""
    counts = DATASETS[dataset].partition(split_by).splits[split]
    if counts.sentences is None and dataset == "grefcoco":
        return SplitCounts(counts.refs, _GREFCOCO_SENTENCES[split], counts.images)
    return counts


def paper_rate(config: RunConfig, with_aml: bool) -> float | None:
    """A800 hours that training takes for one sample, by Table 9; None for models, sizes and resolutions of which it
    says nothing."""
    row = _RATE_ROWS.get((config.model.name, with_aml))
    side = config.data.image_size
    usual = row is not None and side == get_spec(config.model.name).protocol.image_size
    if row is None or not usual or config.model.size != "base" or config.model.options:
        return None
    minutes = load_printed("table9").value(row, "time_min_per_epoch")
    return None if minutes is None else minutes / 60 / _RATE_REFS * (side / _RATE_SIDE) ** 2


def training_hours(config: RunConfig, epochs: int, refs: int | None, rate: HoursPerSample = paper_rate) -> float | None:
    """GPU hours of `epochs` epochs over `refs` referents; None where the rate says nothing (the paper's: of other
    models, sizes or resolutions).

    The random mask is charged at the baseline's rate: it needs no stage one.
    """
    visited = config.train.epoch_refs or refs
    return None if visited is None else _step_hours(config, epochs * visited, rate)


def forward_hours(config: RunConfig, samples: int, rate: HoursPerSample = paper_rate) -> float | None:
    """GPU hours of a forward pass over `samples` (picture, sentence) pairs, None as `training_hours`.

    Our estimate, no printed number: a third of the plain model's training rate, a backward pass being worth two forward
    passes. Where a picture is encoded once for all its sentences it takes less.
    """
    each = rate(config, False)
    return None if each is None else each / _FORWARDS_A_STEP * samples


def validation_hours(config: RunConfig, epochs: int, counts: Counts, rate: HoursPerSample = paper_rate) -> float | None:
    """What choosing `best` costs in `epochs` epochs: val, as often and on as many sentences as the model's protocol has
    it. None as `training_hours`; 0 for data without val.
    """
    protocol = get_spec(config.model.name).protocol
    chosen = config.exec.validate_at
    after = protocol.validate(config.train.horizon) if chosen is None else chosen
    combined = config.data.train == COMBINED
    size = (
        counts(COMBINED_PARTS[0][0], "val", None)
        if combined
        else counts(config.data.train, "val", config.data.split_by)
    )
    samples = size.refs if protocol.validate_sentences == "first" else size.sentences
    return forward_hours(config, (samples or 0) * sum(epoch <= epochs for epoch in after), rate)


def evaluation_hours(
    config: RunConfig, evaluations: Sequence[EvalConfig], counts: Counts, rate: HoursPerSample = paper_rate
) -> float | None:
    """What a run's evaluations cost, None as `training_hours`."""
    sizes = [counts(each.dataset, each.split, each.split_by).sentences or 0 for each in evaluations]
    return forward_hours(config, sum(sizes), rate)


def probe_hours(config: RunConfig, probes: Sequence[ProbeConfig], rate: HoursPerSample = paper_rate) -> float | None:
    """What a run's probes cost, None as `training_hours`: a forward pass a pair; whole steps where these are timed."""
    pairs = sum(probe.pairs or 0 for probe in probes)
    steps = sum(probe.steps or 0 for probe in probes)
    forward = forward_hours(config, pairs, rate)
    step = _step_hours(config, steps * config.train.batch, rate)
    return None if forward is None or step is None else forward + step


def _step_hours(config: RunConfig, samples: int, rate: HoursPerSample) -> float | None:
    """GPU hours of training on so many samples."""
    each = rate(config, config.strategy == "aml")
    return None if each is None else each * samples * (_JOINT_STEP if is_joint(config) else 1.0)


def is_joint(config: RunConfig) -> bool:
    """Whether a run takes the released joint step, which costs more than AML's rate."""
    return config.strategy == "aml" and config.train.step == "joint"
