"""Random draws that depend on the run's seed and the sample alone: not on device, workers, ranks or batch order."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor


def generator_for(seed: int, purpose: str, index: int = 0) -> torch.Generator:
    """A CPU generator that is a pure function of its arguments.

    The three are hashed, so that neighbouring seeds and indices give unrelated streams.
    """
    digest = hashlib.blake2b(f"{purpose}:{seed}:{index}".encode(), digest_size=8).digest()
    generator = torch.Generator(device="cpu")
    generator.manual_seed(int.from_bytes(digest, "little") >> 1)
    return generator


def sample_generators(seed: int, index: Tensor, purpose: str = "mask") -> list[torch.Generator]:
    """One generator a sample. index [B] int64: positions in the run's endless sample sequence (`Batch.index`).

    A position names both the update and the sample, so the draw is a function of seed, update and sample.
    """
    return [generator_for(seed, purpose, int(position)) for position in index.tolist()]


def uniform(generators: Sequence[torch.Generator], shape: Sequence[int], device: torch.device) -> Tensor:
    """Uniform numbers in [0, 1) of shape [B, *shape], row i from `generators[i]`, drawn on the CPU, then moved."""
    rows = [torch.rand(tuple(shape), generator=generator) for generator in generators]
    return to_device(torch.stack(rows), device)


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A CPU tensor on `device`; from pinned memory, so that the host need not wait for a GPU's queue to empty."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
