"""Requests to stop, honoured between updates."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any, NoReturn, TypeVar

from amlrepro.engine.distributed import ALONE, World

ItemT = TypeVar("ItemT")


class Preempted(SystemExit):
    """The process was asked to end (SIGTERM) and has saved its state; exit code 143."""

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)


class Interrupted(Exception):
    """A signal arrived during an evaluation, here or in another process of the run."""


class StopSignals:
    """While active, SIGTERM and SIGINT (Ctrl-C) only set `received`; a second SIGINT acts at once.

    Outside the main thread, where Python handles no signals, nothing is changed. Where several processes train
    together, one that stopped by itself would leave the others waiting: there a signal counts when `agree` has told
    all of them.
    """

    def __init__(self, world: World = ALONE) -> None:
        self.received: signal.Signals | None = None
        self._world = world
        self._agreed: signal.Signals | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is signal.SIGINT and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = signal.Signals(number)

    @property
    def asked(self) -> signal.Signals | None:
        """The signal by which this process is to stop, with all others of its run."""
        return self.received if self._world.alone else self._agreed

    def agree(self, due: bool = False) -> bool:
        """Tell the other processes what has arrived, and hear what did there; returns the main one's `due`."""
        number, main_due = self._world.largest(self.received or 0, due and self._world.is_main)
        self._agreed = signal.Signals(int(number)) if number else None
        return bool(main_due)

    def until_asked(self, items: Iterable[ItemT]) -> Iterator[ItemT]:
        """`items` until there is a signal to stop by."""
        for item in items:
            if self.asked is not None:
                return
            yield item
            if self.asked is not None:
                return

    def end(self) -> NoReturn:
        """Leave as the signal asks: `KeyboardInterrupt` for SIGINT, else `Preempted`."""
        if self.asked is signal.SIGINT:
            raise KeyboardInterrupt
        raise Preempted
