"""S of every patch of drawn pairs, beside the ground truth and what the mask would blank (Tables 12, 13, Figure 6).

S is measured on the model's own feature grid (14 x 14 for CARIS), before any upsampling, in evaluation mode and
float32 (Q32); training takes it in the mode of `pmme.mode`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from amlrepro.aml.afm import Size, drop, to_blocks
from amlrepro.aml.draws import sample_generators
from amlrepro.aml.masking import ForwardOnly
from amlrepro.config import ProbeConfig
from amlrepro.data.batch import EvalBatch
from amlrepro.data.loader import EvaluationData
from amlrepro.engine.evaluate import Watch
from amlrepro.engine.probes.subject import (
    DRAW_SEED,
    PAIRS,
    Subject,
    build_meter,
    draw_pairs,
    encode,
    open_split,
    sample_keys,
)
from amlrepro.metrics.alignment import TAUS, PatchScores, hundredths
from amlrepro.sections import AFMConfig


def measure_alignment(subject: Subject, probe: ProbeConfig, watch: Watch | None = None) -> PatchScores:
    """Scores of all patches of the probe's pairs, pair by pair in evaluation order.

    Raises `UserError` for a split that is not there, and for a run without S where the probe names no settings.
    """
    meter = build_meter(subject, probe)
    return score_patches(subject, meter, draw_pairs(open_split(subject, probe), probe.pairs or PAIRS), watch)


@torch.inference_mode()
def score_patches(
    subject: Subject, meter: ForwardOnly, data: EvaluationData, watch: Watch | None = None
) -> PatchScores:
    """S, target share and blanked share of every patch of every sample of `data`."""
    parts: dict[str, list[Tensor]] = defaultdict(list)
    ids: list[tuple[int, int, int, int, int]] = []
    positions: list[int] = []
    for batch in data.batches():
        encoded, input_ids = encode(subject, batch)
        similarity = meter.similarity(subject.model, encoded, input_ids)
        parts["similarity"].append(similarity.flatten(1).cpu())
        for name, shares in _shares(similarity, batch, meter.afm).items():
            parts[name].append(shares.flatten(1).cpu())
        ids += batch.ids
        positions += batch.positions
        if watch:
            watch(len(ids), data.n_samples)
    order = np.argsort(np.asarray(positions), kind="stable")
    tables = {name: torch.cat(rows).numpy()[order].astype(np.float32) for name, rows in parts.items()}
    pairs, patches = tables["similarity"].shape
    rows = np.asarray(ids, dtype=np.int64)[order]
    named = {name: np.repeat(rows[:, i], patches) for i, name in enumerate(("ref_id", "sent_id", "image_id"))}
    named["pair"] = np.repeat(np.arange(pairs), patches)
    named["patch"] = np.tile(np.arange(patches), pairs)
    blanked = {int(name): table.ravel() for name, table in tables.items() if name.isdigit()}
    return PatchScores(named, tables["similarity"].ravel(), tables["target"].ravel(), blanked)


def _shares(similarity: Tensor, batch: EvalBatch, afm: AFMConfig) -> dict[str, Tensor]:
    """Shares [N, h, w] of each patch: `target`, and blanked by the mask of each tau, under its hundredths.

    Draws depend on the sample alone and are the same for all tau. Masking in feature space blanks no pixels.
    """
    if batch.target is None:
        raise ValueError("patches are compared with masks at the network's input size")
    grid = (int(similarity.shape[1]), int(similarity.shape[2]))
    target = batch.target.to(similarity.device)
    shares = {"target": patch_share(target, grid)}
    if afm.level == "image":
        size = (int(target.shape[1]), int(target.shape[2]))
        keys = _keys(batch.ids)
        for tau in TAUS:
            generators = sample_generators(DRAW_SEED, keys, "probe")
            blank = drop(similarity, size, afm.model_copy(update={"tau": tau}), generators)
            shares[str(hundredths(tau))] = to_blocks(blank.float(), grid)
    return shares


def patch_share(mask: Tensor, grid: Size) -> Tensor:
    """Share of each patch inside a mask [N, H, W] bool -> [N, h, w] float32; counted exactly where patches are whole
    pixels, so that half is half."""
    height, width = int(mask.shape[1]), int(mask.shape[2])
    if height % grid[0] or width % grid[1]:
        return to_blocks(mask.float(), grid)
    rows, columns = height // grid[0], width // grid[1]
    counts = mask.reshape(len(mask), grid[0], rows, grid[1], columns).sum((2, 4))
    return counts.float() / (rows * columns)


def _keys(ids: Sequence[tuple[int, int, int, int, int]]) -> Tensor:
    return torch.tensor(sample_keys([row[0] for row in ids], [row[1] for row in ids]))
