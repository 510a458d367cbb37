"""The endless training sequence: which ref and which of its sentences, as a pure function of (seed, position).

Where an epoch goes over expressions, these stand in the place of refs and nothing is left to draw.

Position p = 0, 1, 2, ... visits ref `permutation(seed, p // N)[p % N]`, N the number of refs, with one of its
sentences drawn uniformly by a hash of (seed, p). Nothing depends on workers, ranks or on what was drawn before, so a
run can start at any position. Hashing is SplitMix64 (Steele, Lea and Flood 2014), the same with every library version.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from amlrepro.errors import UserError

Int64 = NDArray[np.int64]
UInt64 = NDArray[np.uint64]

_STREAM_ORDER, _STREAM_SENTENCE = 1, 2


def splitmix64(values: UInt64) -> UInt64:
    """The SplitMix64 output function, elementwise: well-mixed 64-bit hashes."""
    with np.errstate(over="ignore"):
        z = values + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def hash_integers(*parts: int | Int64) -> UInt64:
    """A 64-bit hash of integers or integer arrays (broadcast against each other), order-sensitive."""
    out = np.zeros(1, dtype=np.uint64)
    for part in parts:
        value = np.uint64(part % 2**64) if isinstance(part, int) else part.astype(np.uint64)
        out = splitmix64(out ^ value)
    return out


def permutation(seed: int, number: int, n: int) -> Int64:
    """The order [n] in which pass `number` visits the refs."""
    keys = hash_integers(seed, _STREAM_ORDER, number, np.arange(n, dtype=np.int64))
    return np.argsort(keys, kind="stable")


@lru_cache(maxsize=4)
def _recent_permutation(seed: int, number: int, n: int) -> Int64:
    return permutation(seed, number, n)


@dataclass(frozen=True)
class TrainingOrder:
    """The sequence cut into updates of `batch` positions and epochs of `steps_per_epoch` updates.

    n_refs: how many there are to visit, refs or expressions.
    epoch_refs None: an epoch is one pass over all refs; the tail that fills no batch is dropped, as CARIS does.
    Otherwise epochs of `epoch_refs // batch` updates follow each other through the sequence without a gap, and so
    they do when there are fewer refs than one batch.
    """

    seed: int
    n_refs: int
    batch: int
    epoch_refs: int | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Updates an epoch, at least 1."""
        return max(1, (self.epoch_refs or self.n_refs) // self.batch)

    def positions(self, update: int, rank: int = 0, world: int = 1) -> Int64:
        """Positions of one update; rank r of `world` takes the r-th contiguous share.

        Shares are equal where the batch divides among the ranks, and else differ by one: losses are means over the
        whole batch, however it is cut (`models/losses.py`). Raises `UserError` when there are more ranks than samples.
        """
        if world > self.batch:
            raise UserError(
                "there are more processes than samples in a batch",
                where="train.batch",
                found=f"a batch of {self.batch} over {world} processes",
                hint=f"take at most {self.batch} processes",
            )
        if self.epoch_refs is None and self.n_refs >= self.batch:
            epoch, step = divmod(update, self.steps_per_epoch)
            start = epoch * self.n_refs + step * self.batch
        else:
            start = update * self.batch
        first, end = self.batch * rank // world, self.batch * (rank + 1) // world
        return np.arange(start + first, start + end, dtype=np.int64)

    def refs(self, positions: Int64) -> Int64:
        """Index of the ref visited at each position."""
        number, place = np.divmod(positions, self.n_refs)
        out = np.empty_like(positions)
        for p in np.unique(number):
            chosen = number == p
            out[chosen] = _recent_permutation(self.seed, int(p), self.n_refs)[place[chosen]]
        return out

    def sentences(self, positions: Int64, counts: Int64) -> Int64:
        """Index of the sentence drawn at each position, uniform below `counts` (sentences of the ref visited there)."""
        draws = hash_integers(self.seed, _STREAM_SENTENCE, positions) >> np.uint64(11)
        unit = draws.astype(np.float64) * 2.0**-53  # [0, 1) with 53 bits
        return np.minimum((unit * counts).astype(np.int64), counts - 1)
