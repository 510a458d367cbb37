"""What the masks did: shares and moments, summed on the device and read once in a while."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from amlrepro.aml.afm import Size, to_blocks, to_pixels
from amlrepro.sections import AFMConfig

_BLOCKS = ("images", "blocks", "masked_blocks", "fully_masked", "untouched")
_SIMILARITY = ("pixels", "weak_pixels", "weak_blocks", "patches", "sum", "squares", "below_0.2", "from_0.5", "from_0.9")


class MaskStatistics(nn.Module):
    """Sums over all images since the last `pop`, in a buffer, so that an interrupted run reports whole epochs.

    `add` never waits for the device.
    """

    sums: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("sums", torch.zeros(len(_BLOCKS) + len(_SIMILARITY), dtype=torch.float64))

    @torch.no_grad()
    def add(self, blank: Tensor, similarity: Tensor | None, size: Size, config: AFMConfig) -> None:
        """blank [B, rows, columns] bool: the block grid, or S's own for masks in feature space; similarity S [B, h, w]
        where the mask came from it; size (H, W)."""
        per_image = blank.flatten(1)
        counts: list[Tensor | int] = [
            blank.shape[0],
            blank.numel(),
            blank.sum(),
            per_image.all(1).sum(),
            (~per_image.any(1)).sum(),
        ]
        if similarity is not None:
            pixels, blocks = to_pixels(similarity, size), to_blocks(similarity, (blank.shape[1], blank.shape[2]))
            exact = similarity.double()
            counts += [pixels.numel(), (pixels < config.tau).sum(), (blocks < config.tau).sum()]
            counts += [similarity.numel(), exact.sum(), exact.square().sum()]
            counts += [(similarity < 0.2).sum(), (similarity >= 0.5).sum(), (similarity >= 0.9).sum()]
        for i, count in enumerate(counts):
            self.sums[i] += count

    def pop(self) -> dict[str, float]:
        """Means since the last call, then start again; empty when nothing was added.

        masked_blocks: share of blanked blocks; fully_masked, untouched: shares of images with all, with no block
        blanked. Where masks come from S also weak_pixels and weak_blocks (below tau), s_mean, s_std and the shares of
        Table 12: s_below_0.2, s_from_0.5, s_from_0.9.
        """
        total = dict(zip(_BLOCKS + _SIMILARITY, self.sums.tolist(), strict=True))
        self.sums.zero_()
        if not total["images"]:
            return {}
        out = {
            "masked_blocks": total["masked_blocks"] / total["blocks"],
            "fully_masked": total["fully_masked"] / total["images"],
            "untouched": total["untouched"] / total["images"],
        }
        if total["patches"]:
            mean = total["sum"] / total["patches"]
            out["weak_pixels"] = total["weak_pixels"] / total["pixels"]
            out["weak_blocks"] = total["weak_blocks"] / total["blocks"]
            out["s_mean"] = mean
            out["s_std"] = math.sqrt(max(0.0, total["squares"] / total["patches"] - mean * mean))
            for name in ("below_0.2", "from_0.5", "from_0.9"):
                out[f"s_{name}"] = total[name] / total["patches"]
        return out
