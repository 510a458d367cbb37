"""Side-by-side timing: the sides alternate (A B A B ...) in one process after a warm-up, since machines are noisy."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping


def alternate(sides: Mapping[str, Callable[[], object]], rounds: int, warmup: int = 1) -> dict[str, list[float]]:
    """Wall-clock seconds of every call, by side; each round calls every side once, in order.

    A call must return when its work is done: on a GPU it waits for the device.
    """
    for _ in range(warmup):
        for call in sides.values():
            call()
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, call in sides.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return seconds
