"""timm's Swin taken stage by stage, as dense prediction does."""

from __future__ import annotations

from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from amlrepro.errors import UserError


class SwinSizes(Protocol):
    """Sizes of a Swin, as the models' options name them."""

    @property
    def embed_dim(self) -> int: ...
    @property
    def depths(self) -> tuple[int, ...]: ...
    @property
    def heads(self) -> tuple[int, ...]: ...
    @property
    def window(self) -> int: ...
    @property
    def patch_size(self) -> int: ...
    @property
    def drop_path(self) -> float: ...


class SwinStages(nn.Module):
    """timm's Swin without final norm and head, and one LayerNorm a stage for its output."""

    def __init__(self, sizes: SwinSizes, image_size: int) -> None:
        from timm.models.swin_transformer import SwinTransformer

        super().__init__()
        self.window = sizes.window
        self.patch_size = sizes.patch_size
        self.swin: Any = SwinTransformer(
            img_size=image_size,
            patch_size=sizes.patch_size,
            window_size=sizes.window,
            embed_dim=sizes.embed_dim,
            depths=sizes.depths,
            num_heads=sizes.heads,
            num_classes=0,
            drop_path_rate=sizes.drop_path,
            always_partition=True,
        )
        self.swin.norm = nn.Identity()
        widths = [sizes.embed_dim * 2**stage for stage in range(len(sizes.depths))]
        self.norms = nn.ModuleList(nn.LayerNorm(width, eps=1e-5) for width in widths)
        self._size = (image_size, image_size)

    def fit(self, height: int, width: int) -> None:
        """Prepare the shifted-window masks for an input size; they are kept until another size comes."""
        if self._size == (height, width):
            return
        if height % self.patch_size or width % self.patch_size:
            raise UserError(
                "the image sides must be multiples of the patch size",
                found=f"{height} x {width}",
                expected=f"multiples of {self.patch_size}",
            )
        with torch.inference_mode(False):
            self.swin.set_input_size(img_size=(height, width), window_size=self.window, always_partition=True)
        self._size = (height, width)


def blocks_padding_first(stage: Any, x: Tensor) -> Tensor:
    """The blocks of a timm stage on x [B, h, w, C], padded to whole windows before the shift.

    timm shifts first and pads then, which differs from the original dense-prediction code wherever the window does not
    divide the map. On a map that it divides timm's attention pads nothing, so padding outside it gives the original.
    """
    for block in stage.blocks:
        x = x + block.drop_path1(_attention(block, block.norm1(x)))
        x = x + block.drop_path2(block.mlp(block.norm2(x)))
    return x


def _attention(block: Any, x: Tensor) -> Tensor:
    height, width = int(x.shape[1]), int(x.shape[2])
    rows, columns = block.window_size
    padded = F.pad(x, (0, 0, 0, -width % columns, 0, -height % rows))
    out: Tensor = block._attn(padded)
    return out[:, :height, :width]
