"""How many jobs this machine takes at a time, and the environment of each. Torch-free."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field

from amlrepro.errors import UserError
from amlrepro.launch.capacity import available_cores, available_memory

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


GIB = 1 << 30
JOB_BYTES = int(1.1 * GIB)  # what training a small model on the CPU takes


@dataclass(frozen=True)
class Slot:
    """A place for one job at a time. gpu: the one it is on, as `CUDA_VISIBLE_DEVICES` names it."""

    name: str
    environment: dict[str, str] = field(default_factory=dict)
    gpu: str | None = None


def make_slots(
    device: str,
    threads: int | None,
    gpus: int | None = None,
    jobs: int | None = None,
    jobs_per_gpu: int | None = None,
    processes: int = 1,
) -> list[Slot]:
    """Slots of this machine: `jobs_per_gpu` a GPU, or on the CPU one for every `threads` cores.

    Two one-thread processes on two cores train small models half as fast again as one process with two threads, hence
    the one-thread jobs of the small profiles. threads None: one job takes all cores. Jobs on the CPU are no more than
    memory allows. gpus: how many GPUs to use (one by default, where there is one, and as many as a job has processes).
    jobs: number of slots at most on GPUs, exactly on the CPU. Slots on different GPUs come first. Raises `UserError`
    when GPUs are missing.
    """
    found = [] if device == "cpu" else visible_gpus()
    wanted = gpus if gpus is not None else min(processes, len(found))
    if device == "cpu" and gpus:
        raise UserError("GPUs and device cpu exclude each other", where="--gpus", found=gpus)
    if wanted > len(found):
        raise UserError(
            "there are not that many GPUs here", where="--gpus", found=wanted, expected=f"0 to {len(found)}"
        )
    if wanted:
        number = wanted * (jobs_per_gpu or 1)
        chosen = (
            found[i % wanted] for i in range(jobs if jobs_per_gpu is None and jobs else min(jobs or number, number))
        )
        return [Slot(_name(gpu), {"CUDA_VISIBLE_DEVICES": gpu, **_threads(threads)}, gpu) for gpu in chosen]
    if jobs_per_gpu is not None:
        raise UserError("no GPU is used here", where="--jobs-per-gpu", found=jobs_per_gpu, hint="--jobs for the CPU")
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if found else {}
    return [Slot(f"cpu{i}", {**hidden, **_threads(threads)}) for i in range(jobs or _cpu_jobs(threads))]


def _cpu_jobs(threads: int | None) -> int:
    """Jobs that cores and memory have room for, one at least."""
    cores, memory = available_cores(), available_memory()
    fitting = cores // (threads or cores)
    return max(1, fitting if memory is None else min(fitting, memory // JOB_BYTES))


def _name(gpu: str) -> str:
    return f"gpu{gpu}" if gpu.isdecimal() else gpu


def visible_gpus() -> list[str]:
    """GPUs this process may use, as `CUDA_VISIBLE_DEVICES` names them: indices or UUIDs; none without a driver."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        names = [gpu.strip() for gpu in named.split(",")]
        return names[: next((i for i, gpu in enumerate(names) if gpu in ("", "-1")), len(names))]  # as CUDA reads it
    command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return done.stdout.split()


def _threads(threads: int | None) -> dict[str, str]:
    return {} if threads is None else dict.fromkeys(_THREAD_VARIABLES, str(threads))
