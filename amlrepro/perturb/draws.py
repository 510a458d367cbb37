"""Random numbers that depend on the picture, the perturbation and its severity, on nothing else."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from amlrepro.data.order import UInt64, hash_integers
from amlrepro.perturb.specs import PAPER_LEVEL


def picture_hashes(purpose: str, image_id: int, level: int, count: int) -> UInt64:
    """`count` 64-bit hashes, the same on every machine and for every model and sentence."""
    named = int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:8], "little")
    return hash_integers(named, image_id, level, np.arange(count, dtype=np.int64))


def uniform(perturbation: str, image_id: int, severity: int | None, count: int) -> NDArray[np.float64]:
    """`count` numbers in [0, 1). The paper's own strength and the level that equals it give the same ones."""
    level = PAPER_LEVEL if severity is None else severity
    bits = picture_hashes(perturbation, image_id, level, count) >> np.uint64(11)
    return bits.astype(np.float64) * 2.0**-53


def between(unit: float, low: int, high: int) -> int:
    """The whole number in [low, high] that a number in [0, 1) falls to, each equally likely."""
    return min(low + int(unit * (high - low + 1)), high)
