"""Evaluation as the official code does it: every sentence with its own picture through the whole model, in float32."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from amlrepro.data.batch import EvalBatch
from amlrepro.data.loader import EvaluationData, Sample
from amlrepro.data.prefetch import ahead
from amlrepro.engine.evaluate import count_pixels
from amlrepro.metrics.records import Records
from amlrepro.models.contract import RISModel
from amlrepro.models.layers.regroup import set_regrouping

BATCH = 8


@torch.inference_mode()
def official_records(model: RISModel, data: EvaluationData, device: str) -> Records:
    """Records at the network's input size; the host waits for the counts once, at the end."""
    rows: list[tuple[int, int, int, int, int]] = []
    counts: list[Tensor] = []
    for batch, predicted in _segmented(model, data, device):
        assert batch.target is not None
        counts.append(count_pixels(predicted, batch.target.to(device, non_blocking=True)))
        rows += batch.ids
    intersection, area, target = torch.cat(counts).cpu().numpy().T
    return Records.from_counts(rows, intersection, area, target)


@torch.inference_mode()
def official_masks(model: RISModel, data: EvaluationData, device: str) -> Tensor:
    """The masks behind those records, [N, H, W] bool, on the host."""
    return torch.cat([predicted.cpu() for _, predicted in _segmented(model, data, device)])


def _segmented(model: RISModel, data: EvaluationData, device: str) -> Iterator[tuple[EvalBatch, Tensor]]:
    """Eight samples at a time in evaluation order, and their masks [B, H, W]. Products stay in the official order."""
    model.eval()
    set_regrouping(model, "never")
    try:
        for batch in _batches(data, device):
            moved = batch.to(device)
            output = model(moved.image.index_select(0, moved.image_index), moved.input_ids, moved.attention_mask)
            yield batch, model.predict(output, output.input_size)
    finally:
        set_regrouping(model, "inference")


def _batches(data: EvaluationData, device: str) -> Iterator[EvalBatch]:
    """Loaded as ours are: ahead of a GPU, in page-locked memory."""
    on_gpu = device.startswith("cuda")
    chunks = [data.samples[start : start + BATCH] for start in range(0, data.n_samples, BATCH)]

    def load(samples: list[Sample]) -> EvalBatch:
        batch = next(replace(data, samples=samples, batch=BATCH * BATCH, workers=0).batches())
        return batch.pinned() if on_gpu else batch

    return ahead(load, chunks, max(data.workers, 1) if on_gpu else data.workers)
