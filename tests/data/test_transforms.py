"""Input pixels against torchvision's transforms on PIL images, which the official code uses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms as tv
from torchvision.transforms.functional import InterpolationMode

from amlrepro.data.masks import resize_mask
from amlrepro.data.transforms import normalize, resize_image

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def pictures(shared: Path) -> list[Image.Image]:
    paths = sorted((shared / "data" / "refcoco_mini" / "images" / "train2014").glob("*.jpg"))[::10]
    return [Image.open(path).convert("RGB") for path in paths]


@pytest.mark.parametrize("size", [448, 112])
def test_equal_to_torchvision_bit_for_bit(shared: Path, size: int) -> None:
    official = tv.Compose([tv.Resize((size, size)), tv.ToTensor(), tv.Normalize(MEAN, STD)])
    chosen = pictures(shared)
    ours = normalize(torch.from_numpy(np.stack([resize_image(p, size) for p in chosen])), MEAN, STD)
    assert ours.shape == (len(chosen), 3, size, size)
    assert ours.is_contiguous()
    assert torch.equal(ours, torch.stack([official(p) for p in chosen]))


@pytest.mark.parametrize("size", [448, 112, 7])
def test_masks_equal_to_torchvision(size: int) -> None:
    mask = np.random.default_rng(0).random((333, 500)) < 0.3
    official = tv.Resize((size, size), interpolation=InterpolationMode.NEAREST)
    expected = np.asarray(official(Image.fromarray(mask.astype(np.uint8)))).astype(bool)
    assert (resize_mask(mask, size) == expected).all()


def test_nearest_takes_the_pixel_under_each_centre() -> None:
    # 6 -> 3: centres at 1.0, 3.0, 5.0 in source pixels, so source columns 1, 3, 5
    mask = np.tile(np.array([1, 0, 0, 1, 1, 0], dtype=bool), (6, 1))
    assert resize_mask(mask, 3).tolist() == [[False, True, False]] * 3


def test_normalisation_by_hand() -> None:
    pixel = torch.tensor([[[[0, 255, 51]]]], dtype=torch.uint8)
    out = normalize(pixel, MEAN, STD).flatten()
    expected = [(0 - 0.485) / 0.229, (1 - 0.456) / 0.224, (0.2 - 0.406) / 0.225]
    assert out.tolist() == pytest.approx(expected, rel=1e-6)
