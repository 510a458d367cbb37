"""How the processes of one run notice that one of them is gone, and hear why.

A process that waits for another in NCCL, or for one whose machine lost its power, would wait for half an hour. So each
counts up a number of its own in the store through which they met, and a thread looks at the others' numbers: clocks of
different machines are not compared. Whoever fails leaves the reason there. Torch-free at import.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Literal, NamedTuple

BEAT_SECONDS = 2.0
SILENCE_SECONDS = 300.0  # longer than the writing of a large checkpoint can keep the interpreter to itself
GRACE_SECONDS = 20.0  # for the main thread to end by itself when another process has failed
HEARSAY_SECONDS = 3.0  # in which a process that lost contact waits for somebody's reason

Kind = Literal["user", "asked", "crash", "silent"]


class Word(NamedTuple):
    """Why a process ended. kind: by an error that the user can mend, since it was asked to, by any other error, or
    nobody knows. reason: of a user's error its own message, else one that names the process."""

    rank: int
    kind: Kind
    reason: str


class PeerFailed(Exception):
    """Another process of the same run ended first; the message says which and why."""


Ended = Callable[[Word], None]


class Peers:
    """The other processes of a run, from `start` to `stop`.

    ended: called from a thread of its own when another process is gone and this one has not ended within
    `GRACE_SECONDS`; it is to end this process.
    """

    def __init__(self, rank: int, size: int, ended: Ended) -> None:
        self._rank, self._size, self._ended = rank, size, ended
        self._store = _connect()
        self._prefix = f"amlris/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="peers", daemon=True)

    def start(self) -> None:
        """Begin to watch; all processes are there."""
        self._thread.start()

    def stop(self) -> None:
        """Stop watching."""
        self._stop.set()
        self._thread.join()

    def tell(self, word: Word) -> None:
        """Leave word for the others unless somebody did before."""
        try:
            self._store.compare_set(f"{self._prefix}/word", "", json.dumps(word))
        except RuntimeError:  # the main process holds the store, and has left
            return

    def heard(self, patience: float = 0.0) -> Word | None:
        """What the first process to fail told, waiting for it up to `patience` seconds; None when nobody told."""
        deadline = time.monotonic() + patience
        name = f"{self._prefix}/word"
        try:
            while not self._store.check([name]):
                if time.monotonic() >= deadline:
                    return None
                time.sleep(0.1)
            return Word(*json.loads(self._store.get(name)))
        except (RuntimeError, ValueError):
            return None

    def _watch(self) -> None:
        counts = [0] * self._size
        changed = [time.monotonic()] * self._size
        while not self._stop.wait(BEAT_SECONDS):
            word = self._look(counts, changed)
            if word is None or word.rank == self._rank:
                continue
            if not self._stop.wait(GRACE_SECONDS):
                self._ended(word)
            return

    def _look(self, counts: list[int], changed: list[float]) -> Word | None:
        """Beat, and look at the others; counts, changed: what is known of each, by rank."""
        try:
            self._store.add(f"{self._prefix}/beat/{self._rank}", 1)
            for rank in range(self._size):
                count = self._store.add(f"{self._prefix}/beat/{rank}", 0)
                if count != counts[rank]:
                    counts[rank], changed[rank] = count, time.monotonic()
        except RuntimeError:
            return Word(0, "silent", "process 0 is gone")
        silent = [rank for rank in range(self._size) if time.monotonic() - changed[rank] > SILENCE_SECONDS]
        if silent:
            return Word(silent[0], "silent", f"process {silent[0]} gave no sign of life for {SILENCE_SECONDS:.0f} s")
        return self.heard()


def _connect() -> Any:
    """A connection of its own to the store: others wait for answers, and would make this one wait too."""
    import torch.distributed as dist

    tcp: Any = dist.TCPStore  # type: ignore[attr-defined]  # public, but missing from its type stubs
    place = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    return tcp(*place, is_master=False, timeout=timedelta(seconds=60), wait_for_workers=False)
