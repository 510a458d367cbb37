"""Looks at everything that runs will read before the first of them starts, so that bad input costs no GPU time."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from amlrepro.data.combined import load_combined
from amlrepro.data.images import find_image_folder, require_images
from amlrepro.data.refer import load_refer
from amlrepro.data.specs import COMBINED
from amlrepro.machine import end_with_parent
from amlrepro.suite.plan import PlannedRun
from amlrepro.suite.weights import require_weights


def verify_in_child(runs: Iterable[PlannedRun]) -> None:
    """`verify_inputs` in a process of its own: annotations of the full data sets take gigabytes while they are read."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, end_with_parent) as pool:
        pool.submit(verify_inputs, list(runs)).result()


def verify_inputs(runs: Iterable[PlannedRun]) -> None:
    """Raise `UserError` for missing weights, annotations or pictures, and for a leak in the combined set. Torch-free.

    Synthetic data are not looked at: they have just been made.
    """
    seen: set[tuple[str, str, str | None]] = set()
    for run in runs:
        config = run.config
        require_weights(config)
        if config.data.source == "synth" or config.exec.data_root is None:
            continue
        wanted = [(config.data.train, "train", config.data.split_by)]
        wanted += [(evaluation.dataset, evaluation.split, evaluation.split_by) for evaluation in run.evals]
        root = Path(config.exec.data_root)
        images = Path(config.exec.image_root) if config.exec.image_root else None
        for key in wanted:
            if key not in seen:
                seen.add(key)
                _verify_split(root, images, *key)


def _verify_split(root: Path, image_root: Path | None, dataset: str, split: str, split_by: str | None) -> None:
    data = load_combined(root).data if dataset == COMBINED else load_refer(root, dataset, split_by)
    refs = data.split(split)
    for ref in refs:
        data.annotations_of(ref)
    infos = {ref.image_id: data.image_of(ref) for ref in refs}
    require_images(find_image_folder(root, image_root), list(infos.values()))
