"""Pictures to tensors as the models' own code does it, no augmentation; and occlusion."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from amlrepro.data.buffers import lend
from amlrepro.models.geometry import fit_aspect, warp_image
from amlrepro.models.spec import Protocol


def resize_image(picture: Image.Image, size: int) -> NDArray[np.uint8]:
    """Stretch to `size` x `size` with PIL's antialiased bilinear filter: [size, size, 3]."""
    return np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR))


def network_input(picture: Image.Image, size: int, protocol: Protocol) -> NDArray[np.uint8]:
    """The picture as the model's protocol feeds it, before normalisation: [size, size, 3]."""
    if protocol.resize == "stretch":
        return resize_image(picture, size)
    pixels = np.asarray(picture)
    return warp_image(pixels, fit_aspect((pixels.shape[0], pixels.shape[1]), (size, size)), protocol.border)


def normalize(pixels: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """uint8 [B, H, W, 3] -> float32 [B, 3, H, W]: to [0, 1], minus mean, divided by std of the RGB channels."""
    image = pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format).div_(255)
    centre = torch.tensor(mean, dtype=torch.float32).view(1, 3, 1, 1)
    scale = torch.tensor(std, dtype=torch.float32).view(1, 3, 1, 1)
    return image.sub_(centre).div_(scale)


def normalize_planes(pictures: Sequence[NDArray[np.uint8]], mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """The bits of `normalize` from pictures by channel [3, H, W]; each stays in the processor's cache while it is
    worked on."""
    centre = torch.tensor(mean, dtype=torch.float32).view(3, 1, 1)
    scale = torch.tensor(std, dtype=torch.float32).view(3, 1, 1)
    image = lend((len(pictures), *pictures[0].shape), torch.float32)
    for row, planes in zip(image, pictures, strict=True):
        row.copy_(torch.from_numpy(planes)).div_(255).sub_(centre).div_(scale)
    return image


def zero_hidden(image: Tensor, hidden: Sequence[NDArray[np.bool_] | None]) -> Tensor:
    """The normalised image [B, 3, H, W] with the hidden pixels [H, W] of each row set to zero, in place."""
    for pixels, where in zip(image, hidden, strict=True):
        if where is not None:
            pixels[:, torch.from_numpy(where)] = 0
    return image
