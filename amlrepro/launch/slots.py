"""How many jobs this machine takes at a time, and the environment of each. Torch-free."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field

from amlrepro.errors import UserError

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True)
class Slot:
    """A place for one job at a time."""

    name: str
    environment: dict[str, str] = field(default_factory=dict)


def make_slots(device: str, threads: int | None, gpus: int | None = None, jobs: int | None = None) -> list[Slot]:
    """Slots of this machine: one a GPU, or on the CPU one for every `threads` cores.

    Two one-thread processes on two cores train small models half as fast again as one process with two threads, hence
    the one-thread jobs of the small profiles. threads None: one job takes all cores. gpus: how many GPUs to use (one
    by default, where there is one). jobs: number of slots, whatever the device. Raises `UserError` when GPUs
    are missing.
    """
    found = [] if device == "cpu" else visible_gpus()
    wanted = gpus if gpus is not None else min(1, len(found))
    if device == "cpu" and gpus:
        raise UserError("GPUs and device cpu exclude each other", where="--gpus", found=gpus)
    if wanted > len(found):
        raise UserError(
            "there are not that many GPUs here", where="--gpus", found=wanted, expected=f"0 to {len(found)}"
        )
    if wanted:
        chosen = found[:wanted]
        return [
            Slot(f"gpu{gpu}", {"CUDA_VISIBLE_DEVICES": gpu, **_threads(threads)})
            for gpu in (chosen[i % wanted] for i in range(jobs or wanted))
        ]
    cores = available_cores()
    number = jobs or max(1, cores // (threads or cores))
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if found else {}
    return [Slot(f"cpu{i}", {**hidden, **_threads(threads)}) for i in range(number)]


def available_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def visible_gpus() -> list[str]:
    """Indices of the GPUs this process may use, as `CUDA_VISIBLE_DEVICES` names them; empty without a driver."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [gpu.strip() for gpu in named.split(",") if gpu.strip() not in ("", "-1")]
    command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return done.stdout.split()


def _threads(threads: int | None) -> dict[str, str]:
    return {} if threads is None else dict.fromkeys(_THREAD_VARIABLES, str(threads))
