"""What a probe looks at: the weights of a checkpoint, the pairs of a split, and the means to compute S of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from amlrepro.aml.masking import ForwardOnly
from amlrepro.config import EvalConfig, ProbeConfig, RunConfig
from amlrepro.data.batch import EvalBatch
from amlrepro.data.loader import EvaluationData, Sample, open_evaluation
from amlrepro.data.order import hash_integers
from amlrepro.data.tokens import Tokenizer
from amlrepro.engine.checkpoint import load_for_evaluation, read, read_meta
from amlrepro.engine.numerics import set_up_process
from amlrepro.errors import UserError
from amlrepro.models.contract import Encoded, RISModel
from amlrepro.models.registry import get_spec
from amlrepro.rundir import RunDir
from amlrepro.sections import AFMConfig, PMMEConfig

PAIRS = 1552  # 97 batches of 16 (Q32)
DRAW_SEED = 1552  # of the drawn pairs: one for all runs, so that they are all measured on the same


@dataclass(frozen=True)
class Subject:
    """A checkpoint's model in evaluation mode, float32. config: as it was trained, with this process's `exec`."""

    model: RISModel
    tokenizer: Tokenizer
    config: RunConfig
    meta: dict[str, Any]
    path: Path
    device: str


def open_subject(run: RunDir, config: RunConfig, probe: ProbeConfig) -> Subject:
    """Load the probe's checkpoint; raises `UserError` when it is missing or torn."""
    path = run.checkpoint(probe.checkpoint)
    meta = read_meta(path)
    device = set_up_process(config.exec)
    model, tokenizer, trained = load_for_evaluation(path, device)
    return Subject(model, tokenizer, trained.model_copy(update={"exec": config.exec}), meta, path, device)


def open_split(subject: Subject, probe: ProbeConfig) -> EvaluationData:
    """All samples of the probe's split; raises `UserError` for one that is not named or not there."""
    if probe.dataset is None or probe.split is None:
        found = f"dataset {probe.dataset}, split {probe.split}"
        raise UserError(f"a probe of kind {probe.kind} needs a data set and a split", where="probe", found=found)
    evaluation = EvalConfig(
        dataset=probe.dataset, split=probe.split, split_by=probe.split_by, data_digest=probe.data_digest
    )
    protocol = get_spec(subject.config.model.name).protocol
    return open_evaluation(subject.config, evaluation, subject.tokenizer, protocol)


def draw_pairs(data: EvaluationData, count: int) -> EvaluationData:
    """`count` samples without replacement, in evaluation order; all of them where there are no more.

    Which ones is a function of the samples' ids alone, and fewer are always among more.
    """
    chosen = sorted(_shuffled(data.samples)[:count], key=lambda sample: sample.position)
    return replace(data, samples=chosen)


def draw_images(data: EvaluationData, count: int) -> EvaluationData:
    """One sample each of `count` different images, in an order of their own; fewer where there are fewer images."""
    first: dict[int, Sample] = {}
    for sample in _shuffled(data.samples):
        first.setdefault(sample.ref.image_id, sample)
    return replace(data, samples=list(first.values())[:count])


def sample_keys(ref_ids: list[int], sent_ids: list[int]) -> list[int]:
    """A 63-bit number for each sample that depends on its ids alone."""
    hashed = hash_integers(DRAW_SEED, np.asarray(ref_ids, dtype=np.int64), np.asarray(sent_ids, dtype=np.int64))
    return [int(number) for number in hashed >> np.uint64(1)]


def _shuffled(samples: list[Sample]) -> list[Sample]:
    keys = sample_keys([s.ref.ref_id for s in samples], [s.sentence.sent_id for s in samples])
    return [samples[i] for i in np.argsort(np.asarray(keys), kind="stable")]


def measuring_settings(config: RunConfig, probe: ProbeConfig) -> tuple[PMMEConfig, AFMConfig]:
    """Settings S is measured with: the probe's, else the run's own. Raises `UserError` for a run that has none."""
    matched = config.strategy == "random" and config.random.share == "matched"
    own = config.strategy == "aml" or matched
    if not own and (probe.pmme is None or probe.afm is None):
        raise UserError(
            "this run has no similarity map of its own to measure",
            where=f"probe of {config.run_id}",
            found=f"strategy {config.strategy}, no pmme and afm in the probe",
            expected="pmme and afm of the method whose S is wanted",
        )
    return probe.pmme or config.pmme, probe.afm or config.afm


def build_meter(subject: Subject, probe: ProbeConfig) -> ForwardOnly:
    """The first stage of AML around the subject's model: its projection is redrawn from the run's seed, as in training.

    A baseline gets the very matrices that AML with its seed has (Q37). Projections that are trained are read from the
    checkpoint. Raises `UserError` where the checkpoint has none (`last` has), or of other settings.
    """
    pmme, afm = measuring_settings(subject.config, probe)
    config = subject.config.model_copy(update={"pmme": pmme, "afm": afm})
    meter = ForwardOnly(config, subject.model, subject.tokenizer).to(subject.device)
    if any(True for _ in meter.parameters()):
        _restore_learned(meter, subject, pmme)
    return meter


def _restore_learned(meter: ForwardOnly, subject: Subject, pmme: PMMEConfig) -> None:
    stored = read(subject.path, "strategy", subject.device)
    learned = {name.removeprefix("pmme."): t for name, t in stored.items() if name.startswith("pmme.")}
    if pmme != subject.config.pmme or not learned:
        raise UserError(
            "this checkpoint has no trained projection",
            where=subject.path,
            found="weights of the model alone" if not learned else "a projection of other settings",
            expected="checkpoint last of a run with that projection",
        )
    meter.pmme.load_state_dict(learned)


def encode(subject: Subject, batch: EvalBatch) -> tuple[Encoded, Tensor]:
    """What stage one sees of each of the batch's N samples, and their ids [N, L]. In evaluation mode."""
    image = batch.image.to(subject.device)[batch.image_index.to(subject.device)]
    ids, mask = batch.input_ids.to(subject.device), batch.attention_mask.to(subject.device)
    with torch.inference_mode():
        return subject.model.encode_stage_one(image, ids, mask), ids
