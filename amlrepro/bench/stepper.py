"""Trainings in processes of their own that step when told to: two of them can alternate and each has its own memory."""

from __future__ import annotations

import multiprocessing
import time
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

from amlrepro.bench.spec import Setting
from amlrepro.config import RunConfig
from amlrepro.errors import UserError


@dataclass(frozen=True)
class Memory:
    """Peak memory of a training in MiB. total: what the GPU's driver counts, or on a CPU the peak resident set;
    allocator: PyTorch's own count on a GPU; before: resident set before the model was built, on a CPU."""

    total: float
    allocator: float | None
    before: float | None


class Stepper:
    """A configuration's training step on noise of its sizes, in a process of its own."""

    def __init__(self, config: RunConfig, vocab_size: int, setting: Setting) -> None:
        """Start and warm up; raises `RuntimeError` with the child's traceback, `UserError` for what it lacks."""
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._child = context.Process(target=_child, args=(other, config, vocab_size, setting), daemon=True)
        self._child.start()
        other.close()
        self._receive()

    def steps(self, count: int) -> float:
        """Do so many steps; seconds that each took on average, by the child's own clock."""
        return float(self._ask(("steps", count)))

    def memory(self) -> Memory:
        """Its peak so far."""
        found: Memory = self._ask(("memory", 0))
        return found

    def close(self) -> None:
        """End the process."""
        self._child.terminate()
        self._child.join()

    def __enter__(self) -> Stepper:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _ask(self, question: tuple[str, int]) -> Any:
        self._pipe.send(question)
        return self._receive()

    def _receive(self) -> Any:
        try:
            kind, payload = self._pipe.recv()
        except EOFError:
            self._child.join()
            raise RuntimeError(f"the process that was measured ended with code {self._child.exitcode}") from None
        if kind == "error":
            self.close()
            raise payload
        return payload


WARMUP = 3


def _child(pipe: Connection, config: RunConfig, vocab_size: int, setting: Setting) -> None:
    """Answers until it is terminated or the other end is gone."""
    import torch

    from amlrepro.engine.probes.cost import driver_mb, others_mb, resident_mb
    from amlrepro.engine.synthetic import step_function

    try:
        torch.set_num_threads(setting.threads)
        on_gpu = setting.device == "cuda"
        others, before = (others_mb(), None) if on_gpu else (0.0, resident_mb())
        step = step_function(config, vocab_size, setting.device)
        for _ in range(WARMUP):
            step()
        pipe.send(("ready", None))
        while True:
            question, count = pipe.recv()
            if question == "steps":
                begin = time.perf_counter()
                for _ in range(count):
                    step()
                pipe.send(("seconds", (time.perf_counter() - begin) / count))
            elif on_gpu:
                allocator = torch.cuda.max_memory_allocated() / 2**20
                pipe.send(("memory", Memory(driver_mb() - others, allocator, None)))
            else:
                pipe.send(("memory", Memory(resident_mb(), None, before)))
    except EOFError:
        return
    except UserError as error:
        pipe.send(("error", error))
    except Exception:
        pipe.send(("error", RuntimeError(traceback.format_exc())))
