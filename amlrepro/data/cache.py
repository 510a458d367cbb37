"""Decoded and resized pictures and masks kept in memory: training has no augmentation, so they never change."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.uint8]


class ArrayCache:
    """The most recently used arrays, up to `limit` bytes; may be used from several threads."""

    def __init__(self, limit: int = 512 << 20) -> None:
        self.limit = limit
        self.size = 0
        self._arrays: OrderedDict[Hashable, Array] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Array]) -> Array:
        """The array under `key`, made by `make` when it is not there."""
        with self._lock:
            if key in self._arrays:
                self._arrays.move_to_end(key)
                return self._arrays[key]
        array = make()
        with self._lock:
            if key not in self._arrays and array.nbytes <= self.limit:
                self._arrays[key] = array
                self.size += array.nbytes
                while self.size > self.limit:
                    self.size -= self._arrays.popitem(last=False)[1].nbytes
        return array
