"""DETRIS's input geometry against OpenCV 4.11 (values taken from it) and on the way back."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from amlrepro.models.detris.spec import SPEC
from amlrepro.models.geometry import fit_aspect, unwarp, warp_image, warp_mask

BORDER = (123, 117, 104)


@pytest.mark.parametrize(
    ("size", "matrix"),
    [
        ((480, 640), [[0.7, 0, 0], [0, 0.7, 56]]),
        ((640, 427), [[0.7, 0, 74.55], [0, 0.7, 0]]),
        ((333, 500), [[0.896, 0, 0], [0, 0.896, 74.816]]),
    ],
)
def test_affine_matrices(size: tuple[int, int], matrix: list[list[float]]) -> None:
    """The official code solves its matrix from single-precision points, so 74.55 comes out 3e-6 too large."""
    np.testing.assert_allclose(fit_aspect(size, (448, 448)).matrix(), matrix, rtol=1e-6, atol=1e-6)


def picture(height: int, width: int) -> NDArray[np.uint8]:
    y, x = np.mgrid[:height, :width]
    return np.stack([(7 * x + 13 * y) % 256, (x * y) % 256, (x * x + 3 * y) % 251], -1).astype(np.uint8)


# fmt: off
OPENCV_IMAGE = {  # cv2.warpAffine 4.11, cubic: picture(30, 41) in 28 x 28; (row, channel)
    (3, 0): [130, 130, 129, 128, 128, 127, 127, 126, 125, 125, 124, 124, 123, 122, 122, 121, 121, 120, 119, 119, 118,
             118, 117, 117, 116, 124, 129, 129],
    (4, 0): [0, 1, 12, 24, 35, 47, 58, 70, 81, 93, 104, 115, 126, 138, 149, 161, 172, 183, 195, 206, 218, 229, 244, 255,
             175, 69, 2, 3],
    (14, 1): [0, 22, 44, 66, 87, 110, 131, 154, 175, 199, 219, 243, 117, 30, 52, 73, 96, 117, 140, 160, 184, 205, 228,
              255, 0, 37, 59, 79],
}
OPENCV_MASK = [0, 0, 0, 0, 0, 0, 0, 64, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 183, 0, 0, 0, 0, 0,
               0, 0]
OPENCV_BACK = [
    0.53565, 0.963428, 0.630983, -0.014654, 0.231069, 0.596449, 0.722691, 0.543855, 0.329964, 0.305806, 0.518734,
    0.925324, 0.890926, 0.141914, 0.178879, 0.623314, 0.886316, 0.707312, 0.429833, 0.345402, 0.576619, 0.627791,
    0.392014, 0.146138, 0.230096, 0.575726, 0.973174, 0.556566, -0.023776, 0.294939, 0.628926, 0.717813, 0.521237,
    0.316555, 0.316616, 0.549029, 0.975859, 0.798543, 0.099193, 0.316483, 0.379744]
# fmt: on


def test_image_as_opencv() -> None:
    warped = warp_image(picture(30, 41), fit_aspect((30, 41), (28, 28)), BORDER).astype(int)
    for (row, channel), values in OPENCV_IMAGE.items():
        assert np.abs(warped[row, :, channel] - values).max() <= 1
    assert np.abs(warped.sum((0, 1)) - [97802, 84082, 87362]).max() <= 10
    assert warped[0].tolist() == [list(BORDER)] * 28


def test_mask_as_opencv() -> None:
    y, x = np.mgrid[:30, :41]
    warped = warp_mask((y - 15) ** 2 + (x - 20) ** 2 < 100, fit_aspect((30, 41), (28, 28))) * 255
    assert np.rint(warped[14]).tolist() == OPENCV_MASK
    assert np.rint(warped).sum() == 36283


def test_way_back_as_opencv() -> None:
    y, x = np.mgrid[:28, :28]
    back = unwarp(((5 * x + 3 * y) % 17 / 16).astype(np.float32), fit_aspect((30, 41), (28, 28)))
    np.testing.assert_allclose(back[7], OPENCV_BACK, atol=2e-6)
    assert back.astype(float).sum() == pytest.approx(612.8008922562003, abs=1e-3)
    assert (back > 0.35).sum() == 822


@pytest.mark.parametrize("size", [(480, 640), (640, 427), (333, 500), (448, 448), (1000, 400)])
@pytest.mark.parametrize("threshold", [0.35, 0.5])
def test_round_trip_of_large_objects(size: tuple[int, int], threshold: float) -> None:
    """A mask warped in and back agrees with itself at IoU 0.99 and more."""
    height, width = size
    y, x = np.mgrid[:height, :width]
    mask = ((y / height - 0.5) ** 2 + (x / width - 0.45) ** 2 < 0.12) | (x > 0.9 * width)
    fit = fit_aspect(size, (448, 448))
    back = unwarp(warp_mask(mask, fit), fit) > threshold
    assert (back & mask).sum() / (back | mask).sum() >= 0.99


def test_square_input_is_unchanged() -> None:
    image = picture(28, 28)
    fit = fit_aspect((28, 28), (28, 28))
    assert (warp_image(image, fit, BORDER) == image).all()
    values = np.random.default_rng(0).random((28, 28), dtype=np.float32)
    np.testing.assert_allclose(unwarp(values, fit), values, atol=1e-6)


def test_border_is_the_mean_colour_of_the_protocol() -> None:
    assert SPEC.protocol.border == tuple(round(255 * value) for value in SPEC.protocol.mean) == BORDER
