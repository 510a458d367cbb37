"""Alignment-aware filtering mask (AFM): which blocks of the image are blanked, from the similarity map S.

A dropout takes S [B, h, w] on the feature grid and gives a mask [B, H/block, W/block], True where a block is blanked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from amlrepro.aml.draws import uniform
from amlrepro.aml.registry import Registry
from amlrepro.errors import UserError
from amlrepro.sections import AFMConfig

Size = tuple[int, int]
Dropout = Callable[[Tensor, Size, AFMConfig, Sequence[torch.Generator]], Tensor]
DROPOUTS: Registry[Dropout] = Registry("afm.dropout")


def block_grid(size: Size, block: int) -> Size:
    """(H, W) in pixels -> (H/block, W/block); raises `UserError` unless `block` divides both (Q13)."""
    height, width = size
    if height % block or width % block:
        raise UserError(
            "the image must divide into whole blocks",
            where="afm.block",
            found=f"blocks of {block} x {block} in an image of {height} x {width}",
            expected="a block that divides height and width",
            hint="change afm.block or data.image_size",
        )
    return height // block, width // block


def to_pixels(similarity: Tensor, size: Size) -> Tensor:
    """Bilinear upsampling without corner alignment (Eq. 11, Q11). S [B, h, w] -> [B, H, W]."""
    return interpolate(similarity[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]


def to_blocks(similarity: Tensor, grid: Size) -> Tensor:
    """Average of S over the area of each block. S [B, h, w] on the feature grid -> [B, grid height, grid width].

    Patches count by the share of the block they cover, so the grids need not align; equal grids give S itself.
    """
    height, width = int(similarity.shape[1]), int(similarity.shape[2])
    if (height, width) == grid:
        return similarity
    rows = _coverage(height, grid[0], similarity.device).to(similarity.dtype)
    columns = _coverage(width, grid[1], similarity.device).to(similarity.dtype)
    return rows @ similarity @ columns.T


@lru_cache(maxsize=32)
def _coverage(patches: int, blocks: int, device: torch.device) -> Tensor:
    """[blocks, patches]: the share of each block's length that each patch covers; rows sum to 1."""
    edges = torch.arange(patches, dtype=torch.float64) / patches
    starts = torch.arange(blocks, dtype=torch.float64)[:, None] / blocks
    left = torch.maximum(edges, starts)
    right = torch.minimum(edges + 1 / patches, starts + 1 / blocks)
    return ((right - left).clamp(min=0) * blocks).float().to(device)


def split_blocks(pixels: Tensor, block: int) -> Tensor:
    """[B, H, W] -> [B, blocks, block * block]: blocks row by row, and the pixels of each row by row."""
    batch, height, width = pixels.shape
    rows, columns = block_grid((height, width), block)
    cut = pixels.reshape(batch, rows, block, columns, block).transpose(2, 3)
    return cut.reshape(batch, rows * columns, block * block)


@DROPOUTS.register("block")
def block_dropout(similarity: Tensor, size: Size, config: AFMConfig, generators: Sequence[torch.Generator]) -> Tensor:
    """Each block whose average S is below tau is blanked with probability rho, independently (Q07 b)."""
    grid = block_grid(size, config.block)
    drawn = uniform(generators, grid, similarity.device) < config.rho
    return (to_blocks(similarity, grid) < config.tau) & drawn


@DROPOUTS.register("pixel")
def pixel_dropout(similarity: Tensor, size: Size, config: AFMConfig, generators: Sequence[torch.Generator]) -> Tensor:
    """Eqs. 11 to 14 as printed: weak pixels are selected with probability rho; one selected pixel blanks its block."""
    grid = block_grid(size, config.block)
    drawn = uniform(generators, size, similarity.device) < config.rho
    selected = (to_pixels(similarity, size) < config.tau) & drawn
    return split_blocks(selected, config.block).any(-1).reshape(-1, *grid)


@DROPOUTS.register("released")
def released_dropout(
    similarity: Tensor, size: Size, config: AFMConfig, generators: Sequence[torch.Generator]
) -> Tensor:
    """The released rule, index fault included.

    The pairs (block, pixel inside the block) of all K weak pixels are listed row by row; max(1, floor(rho K)) of them
    are drawn by one `torch.randperm(K)` an image; then *both* numbers of a drawn pair, cut at the last block, are
    taken for block numbers. So a weak pixel's place inside its block blanks an unrelated block. The released code
    writes the quarter as a constant; other values of rho are an extension.
    """
    grid = block_grid(size, config.block)
    weak = split_blocks(to_pixels(similarity, size) < config.tau, config.block).cpu()
    blank = torch.zeros(weak.shape[:2], dtype=torch.bool)
    for row, image, generator in zip(blank, weak, generators, strict=True):
        pairs = image.nonzero()
        if len(pairs):
            drawn = torch.randperm(len(pairs), generator=generator)[: max(1, int(len(pairs) * config.rho))]
            row[pairs[drawn].clamp(max=len(row) - 1).flatten()] = True
    return blank.reshape(-1, *grid).to(similarity.device)


def drop(similarity: Tensor, size: Size, config: AFMConfig, generators: Sequence[torch.Generator]) -> Tensor:
    """Blocks to blank by the rule `config.dropout`. S [B, h, w] -> bool [B, H/block, W/block].

    generators: one a sample. Raises `UserError` when blocks do not divide the image.
    """
    return DROPOUTS.get(config.dropout)(similarity, size, config, generators)


def apply_mask(image: Tensor, blank: Tensor, fill: float = 0.0) -> Tensor:
    """Eq. 15: image [B, 3, H, W] with the blocks of `blank` [B, H/block, W/block] set to `fill` (normalised space)."""
    height, width = int(image.shape[-2]), int(image.shape[-1])
    rows, columns = height // int(blank.shape[1]), width // int(blank.shape[2])
    pixels = blank.repeat_interleave(rows, 1).repeat_interleave(columns, 2)
    return image.masked_fill(pixels[:, None], fill)
