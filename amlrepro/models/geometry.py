"""The input geometry `affine` (DETRIS): aspect kept, centred, one colour around; and the way back. Torch-free.

Loaders warp with it and models undo it. DETRIS's official pipeline warps with OpenCV 4. A scale and a shift are
separable, so here each warp is two sparse matrices, rows and columns, whose weights are OpenCV's: sampling positions
rounded to 1/32 pixel, cubic kernel with a = -0.75, pixel centres at whole numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

Kernel = Literal["linear", "cubic"]
Size = tuple[int, int]
_CUBIC = -0.75


@dataclass(frozen=True)
class AspectFit:
    """Where a picture (height, width) lies in the network's input: x' = scale_x x + offset_x, y' likewise; pixels."""

    picture: Size
    network: Size
    scale_x: float
    scale_y: float
    offset_x: float
    offset_y: float

    def matrix(self) -> NDArray[np.float64]:
        """[2, 3], from the picture to the input."""
        return np.array([[self.scale_x, 0, self.offset_x], [0, self.scale_y, self.offset_y]])


def fit_aspect(picture: Size, network: Size) -> AspectFit:
    """The largest centred fit that keeps the aspect: s = min(H / h, W / w) (official code).

    The official matrix is solved from three corner pairs in single precision, so the corners are rounded here too.
    """
    (height, width), (rows, columns) = picture, network
    scale = min(rows / height, columns / width)
    new_height, new_width = height * scale, width * scale
    left, top = (columns - new_width) / 2, (rows - new_height) / 2
    x0, x1 = np.float64(np.float32(left)), np.float64(np.float32(new_width + left))
    y0, y1 = np.float64(np.float32(top)), np.float64(np.float32(new_height + top))
    return AspectFit(picture, network, float((x1 - x0) / width), float((y1 - y0) / height), float(x0), float(y0))


def warp_image(image: NDArray[np.uint8], fit: AspectFit, border: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Picture [h, w, 3] -> input [H, W, 3], cubic; `border` is the 8-bit colour outside the picture."""
    colour = np.asarray(border, dtype=np.float32)
    rows, columns = _input_weights(fit, "cubic")
    warped = _apply(rows, columns, image.astype(np.float32) - colour) + colour
    pixels: NDArray[np.uint8] = np.clip(np.rint(warped), 0, 255).astype(np.uint8)
    return pixels


def warp_mask(mask: NDArray[np.bool_], fit: AspectFit) -> NDArray[np.float32]:
    """Mask [h, w] -> [H, W] in [0, 1], linear and so soft at edges, in steps of 1/255; 0 outside the picture."""
    rows, columns = _input_weights(fit, "linear")
    warped = _apply(rows, columns, mask.astype(np.float32)[..., None] * 255)[..., 0]
    return (np.rint(warped) / 255).astype(np.float32)


def picture_weights(fit: AspectFit) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """R [h, H] and C [w, W] with R @ p @ C.T the map p [H, W] at the picture's size, cubic, 0 outside the input."""
    rows = _axis_weights(fit.picture[0], fit.network[0], fit.scale_y, fit.offset_y, "cubic")
    columns = _axis_weights(fit.picture[1], fit.network[1], fit.scale_x, fit.offset_x, "cubic")
    return rows.toarray(), columns.toarray()


def unwarp(probability: NDArray[np.float32], fit: AspectFit) -> NDArray[np.float32]:
    """Map [H, W] on the network's input -> [h, w] on the picture."""
    rows, columns = picture_weights(fit)
    return (rows @ probability @ columns.T).astype(np.float32)


def _input_weights(fit: AspectFit, kernel: Kernel) -> tuple[Any, Any]:
    rows = _axis_weights(fit.network[0], fit.picture[0], 1 / fit.scale_y, -fit.offset_y / fit.scale_y, kernel)
    columns = _axis_weights(fit.network[1], fit.picture[1], 1 / fit.scale_x, -fit.offset_x / fit.scale_x, kernel)
    return rows, columns


def _apply(rows: Any, columns: Any, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """[h, w, C] -> [H, W, C]: the rows' matrix over axis 0, the columns' over axis 1."""
    height, width, channels = values.shape
    tall = (rows @ values.reshape(height, width * channels)).reshape(-1, width, channels)
    turned = tall.transpose(1, 0, 2).reshape(width, -1)
    out: NDArray[np.float32] = (columns @ turned).reshape(-1, len(tall), channels).transpose(1, 0, 2)
    return out


@lru_cache(maxsize=256)
def _axis_weights(length: int, source: int, scale: float, shift: float, kernel: Kernel) -> Any:
    """Sparse [length, source]: output i reads at scale * i + shift; taps outside the source are left out."""
    index = np.arange(length)
    fixed = (np.rint(shift * 1024).astype(np.int64) + 16 + np.rint(scale * index * 1024).astype(np.int64)) >> 5
    whole, fraction = fixed >> 5, (fixed & 31) / 32
    weights = _linear(fraction) if kernel == "linear" else _cubic(fraction)
    first = 0 if kernel == "linear" else -1
    taps = whole[:, None] + np.arange(first, first + weights.shape[1])
    inside = (taps >= 0) & (taps < source)
    outputs = np.broadcast_to(index[:, None], taps.shape)
    return csr_matrix((weights[inside].astype(np.float32), (outputs[inside], taps[inside])), shape=(length, source))


def _linear(fraction: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([1 - fraction, fraction], 1)


def _cubic(fraction: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' kernel with a = -0.75 at distances 1 + t, t, 1 - t, 2 - t: [n, 4], rows sum to 1."""
    a, t = _CUBIC, fraction
    outer = ((a * (t + 1) - 5 * a) * (t + 1) + 8 * a) * (t + 1) - 4 * a
    inner = ((a + 2) * t - (a + 3)) * t * t + 1
    mirrored = ((a + 2) * (1 - t) - (a + 3)) * (1 - t) ** 2 + 1
    return np.stack([outer, inner, mirrored, 1 - outer - inner - mirrored], 1)
