"""What a training says while it runs: rows of the history, the state file, the heartbeat."""

from __future__ import annotations

import contextlib
import json
import resource
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from amlrepro.errors import UserError
from amlrepro.files import append_jsonl, write_text
from amlrepro.rundir import RunDir, State

Observer = Callable[[dict[str, Any]], None]
BEAT_SECONDS = 5.0
STATE_SECONDS = 5.0


class Totals:
    """Sums over updates, kept on the device so that nothing waits for it until they are read.

    sums [4]: loss and gradient norm over updates whose both are finite; number of the other updates; how many of those
    came one after another up to now.
    """

    def __init__(self, device: str) -> None:
        self.sums = torch.zeros(4, dtype=torch.float64, device=device)
        self.updates = 0

    def add(self, loss: Tensor, norm: Tensor) -> None:
        """One update's loss and gradient norm before clipping (scalars)."""
        pair = torch.stack([loss.detach().double(), norm.double()])
        fine = torch.isfinite(pair).all()
        row = (self.sums[3:] + 1) * ~fine
        self.sums[:2] += torch.where(fine, pair, 0)
        self.sums[2] += ~fine
        self.sums[3:] = row
        self.updates += 1

    def means(self) -> dict[str, Any]:
        """`loss` and `grad_norm` (None when no update was finite) and `skipped` updates; waits for the device."""
        loss, norm, skipped, _ = self.sums.tolist()
        taken = self.updates - int(skipped)
        means = {"loss": loss / taken, "grad_norm": norm / taken} if taken else {"loss": None, "grad_norm": None}
        return {**means, "skipped": int(skipped)}

    def clear(self) -> None:
        """Start again (the count of updates skipped in a row goes on)."""
        self.sums[:3] = 0
        self.updates = 0

    def state(self) -> list[float]:
        """What `load` takes; exact in JSON."""
        return [*self.sums.tolist(), self.updates]

    def load(self, state: list[float]) -> None:
        """Go on from what `state` gave."""
        self.sums.copy_(torch.tensor(state[:4], dtype=torch.float64))
        self.updates = int(state[4])


class Stopwatch:
    """Seconds and images of training alone; validation and checkpoints in between are left out."""

    def __init__(self) -> None:
        self.seconds, self.images, self._since = 0.0, 0, time.perf_counter()

    def lap(self, images: int) -> None:
        """An update of `images` images has just ended."""
        now = time.perf_counter()
        self.seconds += now - self._since
        self.images += images
        self._since = now

    def resume(self) -> None:
        """What happened since the last lap was not training."""
        self._since = time.perf_counter()

    @property
    def images_per_s(self) -> float:
        return self.images / self.seconds if self.seconds else 0.0

    def clear(self) -> None:
        self.seconds, self.images = 0.0, 0


class Heartbeat:
    """Renews the run's heartbeat while active, whatever the main thread is at (a long validation, a checkpoint).

    It creates no folder: a run that cannot start leaves nothing behind.
    """

    def __init__(self, run: RunDir) -> None:
        self._run = run
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def _beat(self) -> None:
        while True:
            with contextlib.suppress(OSError):  # a full disk must not end a training that could still finish
                if self._run.path.is_dir():
                    self._run.beat()
            if self._ended.wait(BEAT_SECONDS):
                return

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


class Journal:
    """Rows to `history.jsonl` and progress to `state.json`; both also go to the observer.

    silent: in a process that leaves writing to another one of its run.
    """

    def __init__(self, run: RunDir, observer: Observer | None, silent: bool = False) -> None:
        self.run = run
        self._observer = observer
        self._silent = silent
        self._last_state = float("-inf")
        self._progress: dict[str, Any] = {}

    def row(self, kind: str, **values: Any) -> None:
        """Append one row: `kind` is `step` (a window of updates), `epoch` or `validation`."""
        if self._silent:
            return
        row = {"kind": kind, **values}
        append_jsonl(self.run.history, row)
        self._tell(row)

    @property
    def due(self) -> bool:
        """Whether `state.json` was last written a while ago."""
        return not self._silent and time.monotonic() - self._last_state >= STATE_SECONDS

    def state(self, state: State, **progress: Any) -> None:
        """Replace `state.json`, keeping the progress known."""
        if self._silent:
            return
        self._progress = {**self._progress, **progress}
        self._last_state = time.monotonic()
        self.run.write_state(state, **self._progress)
        self._tell({"kind": "progress", "state": state, **self._progress})

    @contextlib.contextmanager
    def reporting(self) -> Iterator[None]:
        """Heartbeat while active; on the way out `preempted` or `failed` with its reason in `state.json`."""
        if self._silent:
            yield
            return
        with Heartbeat(self.run):
            try:
                yield
            except BaseException as error:
                asked = isinstance(error, (KeyboardInterrupt, SystemExit))
                if self.run.path.is_dir():
                    with contextlib.suppress(UserError, OSError):  # the first error is the one to tell
                        if asked:
                            self.state("preempted")
                        else:
                            self.state("failed", reason=str(error) or type(error).__name__)
                raise

    def forget_after(self, step: int, closed_epochs: int) -> None:
        """Drop rows of updates after `step` and of epochs after `closed_epochs`: they are about to be made again."""
        if self._silent:
            return
        rows = self.run.history_rows()
        kept = [
            row
            for row in rows
            if row.get("step", 0) <= step and not (row.get("kind") != "step" and row.get("epoch", 0) > closed_epochs)
        ]
        if len(kept) != len(rows):
            write_text(self.run.history, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept))

    def _tell(self, row: dict[str, Any]) -> None:
        if self._observer:
            self._observer(row)


def memory_mb(device: str) -> float:
    """Peak memory so far in MiB: allocated on the GPU, or resident of this process."""
    if device != "cpu":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
