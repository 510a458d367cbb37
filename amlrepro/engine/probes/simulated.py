"""Simulated features for CARIS's sizes, where no model and no data are at hand: their statistics are assumptions."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import conv2d, layer_norm, normalize

from amlrepro.engine.probes.given import Given

IMAGES = 48
BATCH = 16
SEED = 42
GRID, VISION = 14, 1024  # the deepest map of Swin-B at 448 x 448
POSITIONS, TEXT = 20, 768  # of BERT-base
WORDS = 2.53  # mean words beyond the first in RefCOCO+, whose mean length is 3.53
LONGEST = 18
TOKEN_NORM = 15.0
TOKEN_COSINE, PADDING_COSINE, PATCH_COSINE = 0.5, 0.9, 0.3

ASSUMED = (
    f"simulated features: {VISION}-wide patches after a layer norm, neighbours alike, cosine {PATCH_COSINE:g} between "
    f"patches; tokens of norm {TOKEN_NORM:g}, cosine {TOKEN_COSINE:g} between tokens and {PADDING_COSINE:g} between "
    f"what is their own in padded ones; {POSITIONS} positions, sentences as long as RefCOCO+'s. These are assumptions, "
    "of several tried the nearest to Table 12: they show what is possible, not what real features are"
)


def simulated_features(images: int = IMAGES, seed: int = SEED) -> Iterator[Given]:
    """Features of `images` samples in batches of 16, a function of `seed`."""
    generator = torch.Generator().manual_seed(seed)
    for start in range(0, images, BATCH):
        count = min(BATCH, images - start)
        mask = _lengths(count, generator)
        yield Given(_patches(count, generator), _tokens(mask, generator), mask, (GRID, GRID), (32 * GRID, 32 * GRID))


def _normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator)


def _patches(count: int, generator: torch.Generator) -> Tensor:
    """[N, 196, 1024]: what is common to an image, and what is a patch's own, smoothed by a Gaussian of one patch."""
    own = _normal((count, VISION, GRID, GRID), generator)
    kernel = torch.exp(-0.5 * torch.arange(-3.0, 4.0).square())
    kernel = torch.outer(kernel, kernel)[None, None]
    smooth = conv2d(own.reshape(-1, 1, GRID, GRID), kernel, padding=3).reshape(own.shape)
    own = (smooth / smooth.std((1, 2, 3), keepdim=True)).flatten(2).transpose(1, 2)
    common = _normal((count, 1, VISION), generator)
    return layer_norm(PATCH_COSINE**0.5 * common + (1 - PATCH_COSINE) ** 0.5 * own, (VISION,))


def _tokens(mask: Tensor, generator: torch.Generator) -> Tensor:
    """[N, 20, 768]: what is common to a sentence, and a token's own; padded positions share most of theirs."""
    shape = (*mask.shape, TEXT)
    common, padding = (_normal((len(mask), 1, TEXT), generator) for _ in range(2))
    own = _normal(shape, generator)
    padded = PADDING_COSINE**0.5 * padding + (1 - PADDING_COSINE) ** 0.5 * own
    inner = torch.where(mask[..., None].bool(), own, padded)
    return TOKEN_NORM * normalize(TOKEN_COSINE**0.5 * common + (1 - TOKEN_COSINE) ** 0.5 * inner, dim=-1)


def _lengths(count: int, generator: torch.Generator) -> Tensor:
    """Attention masks [N, 20]: words, 1 + Poisson, with a start and an end mark."""
    words = 1 + torch.poisson(torch.full((count, 1), WORDS), generator=generator).clamp(max=LONGEST - 1)
    return (torch.arange(POSITIONS)[None] < words + 2).long()
