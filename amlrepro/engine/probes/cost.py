"""Time and memory of training: some updates of a run, done and thrown away (Tables 9, 10).

The updates are those of `engine.train`: batches loaded in their order (loading counts, pictures are read for the first
time), strategy, backward pass, clipping, optimiser. Evaluation and checkpoints are left out (Q44). They run in a
process of their own, so that memory is that of this training alone and nothing of the caller's state changes.
"""

from __future__ import annotations

import multiprocessing
import os
import platform
import resource
import statistics
import subprocess
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from amlrepro.config import ProbeConfig, RunConfig
from amlrepro.engine.evaluate import Watch
from amlrepro.engine.history import Journal
from amlrepro.engine.numerics import choose_device
from amlrepro.engine.session import Session
from amlrepro.errors import UserError
from amlrepro.metrics.spread import quartiles
from amlrepro.rundir import RunDir

STEPS = 200
WARMUP = 5  # updates before the clock starts: libraries choose their kernels and allocators grow
WINDOWS = 20  # quartiles are over as many stretches of updates; the GPU is waited for at their ends only


def measure_cost(
    config: RunConfig, probe: ProbeConfig, watch: Watch | None = None
) -> tuple[dict[str, float | None], dict[str, Any]]:
    """Values and the device, measured in a child process over `probe.steps` updates.

    `seconds_per_step` (median), `seconds_per_step_q1`, `seconds_per_step_q3`, `cpu_seconds_per_step` (processor time of
    all threads: it hardly depends on what else the machine does), `images_per_s`, `time_min_per_epoch` with
    `steps_per_epoch` of the run's own epoch, `steps` timed; `memory_mb`: what the GPU's driver counts, context and
    caches included, at its largest, less what others had in use before (`others_mb`), or on the CPU the peak resident
    set of the process; `allocator_mb`: the peak of PyTorch's allocator on a GPU. Raises `UserError` for data or weights
    that are missing.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(sender, config, probe.steps or STEPS), daemon=True)
    child.start()
    sender.close()
    try:
        for kind, payload in _messages(receiver):
            if kind == "progress" and watch:
                watch(*payload)
            elif kind == "error":
                raise payload
            elif kind == "done":
                values, device = payload
                return values, {"device": device}
    finally:
        child.terminate()
        child.join()
    raise RuntimeError(f"the process that was measured ended with code {child.exitcode}")


def _messages(receiver: Connection) -> Iterator[tuple[str, Any]]:
    while True:
        try:
            yield receiver.recv()
        except EOFError:
            return


def _child(sender: Connection, config: RunConfig, steps: int) -> None:
    """What the child does: everything it has to say goes through the pipe."""
    try:
        values = time_updates(config, steps, lambda done, total: sender.send(("progress", (done, total))))
        sender.send(("done", (values, device_name(choose_device(config.exec.device)))))
    except UserError as error:
        sender.send(("error", error))
    except KeyboardInterrupt:  # the parent got it too and tells
        return
    except Exception:
        sender.send(("error", RuntimeError(traceback.format_exc())))


@dataclass
class _Clock:
    """Wall and processor seconds since it was last read."""

    wall: float = field(default_factory=time.perf_counter)
    cpu: float = field(default_factory=time.process_time)

    def lap(self) -> tuple[float, float]:
        now = time.perf_counter(), time.process_time()
        passed = now[0] - self.wall, now[1] - self.cpu
        self.wall, self.cpu = now
        return passed


def time_updates(config: RunConfig, steps: int, watch: Watch | None = None) -> dict[str, float | None]:
    """Do `steps` updates of a fresh run after a warm-up and time them; see `measure_cost`. Trains this process's own
    copy: nothing is written."""
    on_gpu = choose_device(config.exec.device) != "cpu"
    others = others_mb() if on_gpu else None
    with tempfile.TemporaryDirectory() as folder:
        run = RunDir(Path(folder))
        session = Session(config, run, Journal(run, None))
    window = max(1, steps // WINDOWS)
    laps: list[tuple[float, float]] = []
    used = 0.0
    clock = _Clock()
    for number, batch in enumerate(session.data.batches(0, WARMUP + steps), start=1 - WARMUP):
        session.update(batch)
        if number < 0 or number % window:
            continue
        if on_gpu:
            torch.cuda.synchronize()
            used = max(used, driver_mb())
        passed = clock.lap()
        if number > 0:
            laps.append((passed[0] / window, passed[1] / window))
            if watch:
                watch(number, steps)
    memory = {
        "memory_mb": resident_mb() if others is None else used - others,
        "others_mb": others,
        "allocator_mb": torch.cuda.max_memory_allocated() / 2**20 if on_gpu else None,
    }
    return {**_pace(session, laps), "steps": len(laps) * window, **memory}


def _pace(session: Session, laps: list[tuple[float, float]]) -> dict[str, float | None]:
    """Times from wall and processor seconds an update of several stretches."""
    wall = [lap[0] for lap in laps]
    spread = quartiles(wall)
    return {
        "seconds_per_step": spread["median"],
        "seconds_per_step_q1": spread["q1"],
        "seconds_per_step_q3": spread["q3"],
        "cpu_seconds_per_step": statistics.median(lap[1] for lap in laps),
        "images_per_s": session.config.train.batch / spread["median"],
        "time_min_per_epoch": spread["median"] * session.steps_per_epoch / 60,
        "steps_per_epoch": session.steps_per_epoch,
    }


def driver_mb() -> float:
    """MiB in use on the current GPU as its driver counts them (Q44): all processes, contexts and caches."""
    free, total = torch.cuda.mem_get_info()
    return (total - free) / 2**20


def others_mb() -> float:
    """MiB that other processes, the caller's among them, use on the GPU that this one is about to use.

    Asked of the driver's own tool before this process has a context there; 0 where the tool is missing.
    """
    device = os.environ.get("CUDA_VISIBLE_DEVICES", "").partition(",")[0].strip() or "0"
    command = ["nvidia-smi", f"--id={device}", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
        return float(done.stdout.split()[0])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return 0.0


def resident_mb() -> float:
    """Peak resident set of this process in MiB.

    Read from the kernel's own count of the process: `getrusage` gives a child also the peak of its parent.
    """
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    peak = next((line.split()[1] for line in lines if line.startswith("VmHWM:")), None)
    return int(peak) / 1024 if peak else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def device_name(device: str) -> str:
    """The GPU's name, or the processor's with the number of threads; no names of machines."""
    if device != "cpu":
        return torch.cuda.get_device_name()
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    name = next(names, platform.machine())
    return f"CPU ({name}), threads: {torch.get_num_threads()}"
