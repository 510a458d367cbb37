"""Requests to stop, honoured between updates."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any, NoReturn, TypeVar

ItemT = TypeVar("ItemT")


class Preempted(SystemExit):
    """The process was asked to end (SIGTERM) and has saved its state; exit code 143."""

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)


class StopSignals:
    """While active, SIGTERM and SIGINT (Ctrl-C) only set `received`; a second SIGINT acts at once.

    Outside the main thread, where Python handles no signals, nothing is changed.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
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

    def until_received(self, items: Iterable[ItemT]) -> Iterator[ItemT]:
        """`items` until a signal arrives."""
        for item in items:
            if self.received is not None:
                return
            yield item
            if self.received is not None:
                return

    def end(self) -> NoReturn:
        """Leave as the signal asks: `KeyboardInterrupt` for SIGINT, else `Preempted`."""
        if self.received is signal.SIGINT:
            raise KeyboardInterrupt
        raise Preempted
