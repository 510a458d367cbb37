"""Memory for batches, lent and taken back: the system hands out fresh memory page by page, which costs more time than
all that is calculated for a batch."""

from __future__ import annotations

import math
import weakref
from collections import deque

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

KEPT = 4  # free buffers that are kept, the latest
_ALIGNMENT = 64  # as torch's own allocator: kernels may round differently elsewhere

_free: deque[NDArray[np.uint8]] = deque(maxlen=KEPT)


def lend(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """A tensor with any content. Its memory serves another one when no tensor refers to it any more."""
    size = math.prod(shape) * dtype.itemsize
    room = _free_room(size + _ALIGNMENT)
    start = -room.ctypes.data % _ALIGNMENT
    lent = room[start : start + size]  # the tensor refers to this object for as long as its memory is used
    weakref.finalize(lent, _free.append, room).atexit = False
    return torch.from_numpy(lent).view(dtype).view(shape)


def _free_room(size: int) -> NDArray[np.uint8]:
    """A free buffer of this size, else a new one. Single steps on the deque only: other threads and the garbage
    collector, which gives buffers back at any moment, may come in between."""
    for _ in range(KEPT):
        try:
            room = _free.popleft()
        except IndexError:
            break
        if room.nbytes == size:
            return room
        _free.append(room)
    return np.empty(size, dtype=np.uint8)
