"""Features that are given, not trained for: simulated, from a file, or of a model; what PMME compares."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from amlrepro.aml.stages import early
from amlrepro.config import ProbeConfig
from amlrepro.data.loader import EvaluationData
from amlrepro.engine.evaluate import Watch
from amlrepro.engine.probes.subject import PAIRS, Subject, draw_pairs, encode, open_split
from amlrepro.errors import UserError
from amlrepro.sections import PMMEConfig

BATCH = 16
BLOCK = 32  # pixels of a block, and of a patch where a file does not give the image's size


@dataclass(frozen=True)
class Given:
    """Features of N samples: vision [N, M, D_i], row by row on `grid` (h, w); text [N, L, D_t]; mask [N, L], 1 for
    real tokens with start and end marks; size (H, W) of the image in pixels."""

    vision: Tensor
    text: Tensor
    mask: Tensor
    grid: tuple[int, int]
    size: tuple[int, int]


def file_features(path: Path) -> Iterator[Given]:
    """Features of an `.npz` file: `vision` [N, M, D_i], `text` [N, L, D_t], `mask` [N, L], and where M is not a square
    or patches are not 32 pixels wide also `grid` (h, w) and `size` (H, W).

    Raises `UserError` for a file that is missing or holds something else; nothing in it is executed.
    """
    arrays = _read(path)
    missing = [name for name in ("vision", "text", "mask") if name not in arrays]
    if missing:
        expected = "vision [N, M, D_i], text [N, L, D_t], mask [N, L]"
        raise UserError("not a file of features", where=path, found="no " + ", ".join(missing), expected=expected)
    vision, text, mask = (arrays[name] for name in ("vision", "text", "mask"))
    shapes = f"vision {vision.shape}, text {text.shape}, mask {mask.shape}"
    if vision.ndim != 3 or text.ndim != 3 or mask.shape != text.shape[:2] or len(vision) != len(text) or not len(text):
        expected = "vision [N, M, D_i], text [N, L, D_t], mask [N, L] of one N, 1 at least"
        raise UserError("features do not fit together", where=path, found=shapes, expected=expected)
    if not all(np.issubdtype(a.dtype, np.number) and np.isfinite(a).all() for a in (vision, text, mask)):
        raise UserError("features have to be finite numbers", where=path)
    if not mask.astype(bool).any(1).all():
        raise UserError("a sample without a real token", where=f"{path}: mask")
    side = math.isqrt(vision.shape[1])
    grid = _pair(arrays.get("grid", np.array([side, side])), f"{path}: grid")
    if grid[0] * grid[1] != vision.shape[1]:
        raise UserError(
            "the grid does not have M positions", where=f"{path}: grid", found=f"{grid}, M {vision.shape[1]}"
        )
    size = _pair(arrays.get("size", np.array([BLOCK * grid[0], BLOCK * grid[1]])), f"{path}: size")
    for start in range(0, len(vision), BATCH):
        part = slice(start, start + BATCH)
        features = [torch.from_numpy(each[part].astype(np.float32)) for each in (vision, text)]
        yield Given(features[0], features[1], torch.from_numpy(mask[part].astype(np.int64)), grid, size)


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError("no such file of features", where=path)
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (ValueError, OSError, EOFError, AttributeError) as error:
        found = str(error).split("\n")[0]
        raise UserError("not a file of features", where=path, found=found, expected="an .npz file") from error


def _pair(values: Any, where: str) -> tuple[int, int]:
    numbers = np.asarray(values).ravel()
    if numbers.shape != (2,) or (numbers < 1).any():
        raise UserError("two whole numbers, height and width", where=where, found=numbers.tolist())
    return int(numbers[0]), int(numbers[1])


def model_features(subject: Subject, probe: ProbeConfig, watch: Watch | None = None) -> Iterator[Given]:
    """Early features of a model, in evaluation mode, of the probe's pairs; raises `UserError` as `open_split` does."""
    yield from split_features(subject, draw_pairs(open_split(subject, probe), probe.pairs or PAIRS), watch)


@torch.inference_mode()
def split_features(subject: Subject, data: EvaluationData, watch: Watch | None = None) -> Iterator[Given]:
    """The same for the samples of `data`."""
    done = 0
    size = subject.config.data.image_size
    for batch in data.batches():
        encoded, _ = encode(subject, batch)
        found = early(subject.model, encoded, None, PMMEConfig())
        yield Given(found.vision.float(), found.text.float(), found.text_mask, found.grid, (size, size))
        done += len(found.vision)
        if watch:
            watch(done, data.n_samples)
