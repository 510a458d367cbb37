"""One evaluation: a model on the samples of a split, one record a sample with exact counts."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from amlrepro.config import EvalConfig, RunConfig
from amlrepro.data.batch import EvalBatch
from amlrepro.data.loader import EvaluationData, open_evaluation
from amlrepro.data.seen import UNTOLD, Seen, seen_images
from amlrepro.data.source import data_root
from amlrepro.data.specs import dataset_spec, is_multi_target
from amlrepro.engine.checkpoint import load_for_evaluation, read_meta_together, weights_digest
from amlrepro.engine.distributed import ALONE, World
from amlrepro.engine.numerics import Precision, full_precision, set_up_process
from amlrepro.engine.signals import Interrupted
from amlrepro.files import write_json
from amlrepro.metrics.compute import DEFAULT_METRICS, GENERALIZED_METRICS
from amlrepro.metrics.records import Records
from amlrepro.metrics.summary import write_summary
from amlrepro.models.contract import Output, RISModel
from amlrepro.models.registry import get_spec
from amlrepro.perturb.specs import perturbation_spec
from amlrepro.rundir import RunDir

Resolution = Literal["resized", "original"]
Watch = Callable[[int, int], None]


@torch.inference_mode()
def evaluate(
    model: RISModel,
    data: EvaluationData,
    resolution: Resolution,
    precision: Precision | None = None,
    watch: Watch | None = None,
    world: World = ALONE,
) -> Records:
    """Segment every sample of `data` and count pixels; records come in evaluation order.

    Each process of `world` takes its share of the batches, which are cut as one process would cut them, and all of
    them return the records of all. `Interrupted`, raised by any one's `watch`, ends all.

    resolution: `resized` compares at the network's input size, `original` at each picture's own. Without `precision`
    everything is float32; masks are made from logits in float32 at any rate. The model is put into evaluation mode and
    back. watch(done, total) is called after every batch with this process's numbers of samples; what it raises ends
    the evaluation.
    """
    try:
        share = _count_share(model, data, resolution, precision, watch, world)
    except Interrupted:
        share = None
    shares = [each for each in world.gather(share) if each is not None]
    if len(shares) < world.size:
        raise Interrupted
    table, absent, rows, positions = (np.concatenate(column) for column in zip(*shares, strict=True))
    order = np.argsort(positions, kind="stable")
    intersection, predicted, target = table[order].T
    return Records.from_counts(rows[order], intersection, predicted, target, *absent[order].T)


def _count_share(
    model: RISModel,
    data: EvaluationData,
    resolution: Resolution,
    precision: Precision | None,
    watch: Watch | None,
    world: World,
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64], NDArray[np.int64]]:
    """Of this process's N samples: counts [N, 3], flags [N, 2] of `_no_target`, ids [N, 5], positions [N]."""
    device = str(next(model.parameters()).device)
    precision = precision or full_precision(device)
    count = _count_resized if resolution == "resized" else _count_original
    counts: list[Tensor] = []
    flags: list[Tensor] = []
    ids: list[tuple[int, int, int, int, int]] = []
    positions: list[int] = []
    training = model.training
    model.eval()
    try:
        for batch in data.batches(world.rank, world.size, device):
            with precision.autocast(), _matmul(precision):
                output = segment(model, batch, device)
            output = dataclasses.replace(output, logits=output.logits.float(), fused_vision=None, fused_text=None)
            counts.append(count(model, output, batch))
            flags.append(_no_target(model, output, batch, counts[-1]))
            ids += batch.ids
            positions += batch.positions
            if watch:
                watch(len(ids), data.n_samples if world.alone else data.n_share(world.rank, world.size))
    finally:
        model.train(training)
    table = torch.cat(counts).cpu().numpy() if counts else np.zeros((0, 3), dtype=np.int64)
    absent = torch.cat(flags).cpu().numpy() if flags else np.zeros((0, 2), dtype=np.bool_)
    rows = np.asarray(ids, dtype=np.int64).reshape(-1, 5)
    return table, absent, rows, np.asarray(positions, dtype=np.int64)


def segment(model: RISModel, batch: EvalBatch, device: str) -> Output:
    """Output for all N sentences of a batch; what does not hang on them is computed once for each of its U images."""
    moved = batch.to(device)
    return model.answer(moved.image, moved.image_index, moved.input_ids, moved.attention_mask)


@contextlib.contextmanager
def _matmul(precision: Precision) -> Iterator[None]:
    """Where all is float32, matrix products are too, though a fast training in this process may use TensorFloat-32."""
    before = torch.get_float32_matmul_precision()
    if precision.dtype is None:
        torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def reduced_precision(device: str) -> Precision:
    """bf16 under autocast: an explicit option of an evaluation, and part of its name."""
    return dataclasses.replace(full_precision(device), dtype=torch.bfloat16)


def chosen_precision(evaluation: EvalConfig, device: str) -> Precision:
    """The precision in which an evaluation's records are made."""
    return full_precision(device) if evaluation.precision == "float32" else reduced_precision(device)


def count_pixels(predicted: Tensor, target: Tensor) -> Tensor:
    """Masks [N, H, W] bool -> [N, 3] int64: intersection, predicted area, target area."""
    parts = (predicted & target, predicted, target)
    return torch.stack([part.flatten(1).sum(1, dtype=torch.int64) for part in parts], dim=1)


def _count_resized(model: RISModel, output: Output, batch: EvalBatch) -> Tensor:
    if batch.target is None:
        raise ValueError("this data was opened for scoring at original size")
    target = batch.target.to(output.logits.device, non_blocking=True)
    return count_pixels(model.predict(output, output.input_size), target)


def _count_original(model: RISModel, output: Output, batch: EvalBatch) -> Tensor:
    """At original size; sentences of one image are scored together."""
    if batch.original is None:
        raise ValueError("this data was opened for scoring at the network's input size")
    out = torch.zeros(len(batch.ids), 3, dtype=torch.int64, device=output.logits.device)
    for rows in _by_image(batch.image_index):
        index = rows.to(out.device)
        part = dataclasses.replace(output, logits=output.logits[index])
        target = torch.stack([batch.original[i] for i in rows.tolist()]).to(out.device, non_blocking=True)
        out[index] = count_pixels(model.predict(part, tuple(target.shape[-2:])), target)
    return out


def _no_target(model: RISModel, output: Output, batch: EvalBatch, counts: Tensor) -> Tensor:
    """[N, 2] bool: the model says that the sentence names nothing; it does name nothing.

    Its head says so or, where it has none and a sentence may name nothing, its empty mask. counts: of `count_pixels`.
    """
    said, named = model.predict_no_target(output), batch.no_target
    if said is None:
        said = torch.zeros_like(counts[:, 1], dtype=torch.bool) if named is None else counts[:, 1] == 0
    nothing = counts[:, 2] == 0 if named is None else named.to(counts.device, non_blocking=True)
    return torch.stack([said, nothing], dim=1)


def _by_image(image_index: Tensor) -> Iterator[Tensor]:
    for image in sorted(set(image_index.tolist())):
        yield (image_index == image).nonzero().flatten()


def evaluate_run(
    run: RunDir, config: RunConfig, evaluation: EvalConfig, watch: Watch | None = None, world: World = ALONE
) -> None:
    """Evaluate a run's checkpoint and write `evals/<eval_id>.parquet` and, last, `.json`; of several processes each
    takes a share of the samples and the main one writes.

    config: says where data lie (`exec`); what was trained is read from the checkpoint. Raises `UserError` for a missing
    checkpoint, split or picture; nothing is written then.
    """
    path = run.checkpoint(evaluation.checkpoint)
    meta = read_meta_together(path, world)
    device = set_up_process(config.exec)
    model, tokenizer, trained = load_for_evaluation(path, device)
    data = open_evaluation(
        trained.model_copy(update={"exec": config.exec}), evaluation, tokenizer, get_spec(trained.model.name).protocol
    )
    precision = chosen_precision(evaluation, device)
    records = evaluate(model, data, evaluation.resolution, precision, watch, world)
    if not world.is_main:
        return
    subject = {
        "run_id": meta["run_id"],
        "checkpoint": evaluation.checkpoint,
        "epoch": meta["epoch"],
        "step": meta["step"],
        "weights_sha256": weights_digest(path),
    }
    seen = seen_images(trained, data_root(config), records.image_id)
    write_evaluation(run.evals, records, evaluation, subject, trained, seen)


def write_evaluation(
    folder: Path,
    records: Records,
    evaluation: EvalConfig,
    subject: dict[str, Any],
    config: RunConfig,
    seen: Seen = UNTOLD,
) -> Path:
    """Write an evaluation's records, then the JSON that says what they are records of; returns the JSON's path.

    subject: what was measured; its entries stand at the top level (a run's: `run_id`, `checkpoint`, `epoch`, `step`).
    seen: the evaluated images it was trained on, which the subset `unseen` leaves out (`metrics/summary.py`).
    """
    records.write(folder / f"{evaluation.eval_id}.parquet")
    partition = dataset_spec(evaluation.dataset).partition(evaluation.split_by)
    size = config.data.image_size
    meta: dict[str, Any] = {
        "eval_id": evaluation.eval_id,
        "eval": evaluation.model_dump(mode="json"),
        **subject,
        "samples": len(records),
        "records_sha256": records.digest(),
        "split_by": partition.split_by,
        "scored_at": f"{size} x {size}" if evaluation.resolution == "resized" else "each picture's own size",
        "decision": get_spec(config.model.name).protocol.decision,
        "text_field": config.data.text,
        "precision": evaluation.precision,
        "train_images": None if seen.images is None else list(seen.images),
    }
    if seen.reason:
        meta["train_images_unknown"] = seen.reason
    if evaluation.perturbation is not None:
        meta["perturbed_by"] = _described(evaluation.perturbation, evaluation.severity)
    path = folder / f"{evaluation.eval_id}.json"
    write_json(path, meta)
    names = GENERALIZED_METRICS if is_multi_target(evaluation.dataset) else DEFAULT_METRICS
    write_summary(path, records, names, digest=meta["records_sha256"])
    return path


def _described(name: str, severity: int | None) -> dict[str, Any]:
    """What was done to the pictures, for an evaluation's JSON."""
    spec = perturbation_spec(name)
    return {"title": spec.title, "stage": spec.stage, "parameters": dict(spec.parameters(severity))}
