"""Device, precision, random state and determinism of one process."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass

import torch

from amlrepro.errors import UserError
from amlrepro.sections import ExecConfig

BFLOAT16_FROM = 10_000_000  # parameters, on a CPU


@dataclass(frozen=True)
class Precision:
    """How forward and backward are computed. dtype: autocast type, None for float32 throughout."""

    device: str
    dtype: torch.dtype | None
    scaler: torch.amp.GradScaler

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """Context of every forward pass."""
        kind = self.device.partition(":")[0]
        return contextlib.nullcontext() if self.dtype is None else torch.autocast(kind, self.dtype)


def choose_device(wanted: str) -> str:
    """`auto`, `cpu` or `cuda` as a torch device; raises `UserError` when a GPU is asked for and there is none."""
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UserError("no CUDA device here", where="exec.device", found="cuda", hint="--set exec.device=cpu")
    return wanted


def set_up_process(execution: ExecConfig) -> str:
    """Fix threads and determinism of this process as `execution` says; returns the device.

    Deterministic mode is strict on the CPU. On CUDA it only warns, because bilinear sampling has no deterministic
    backward pass there.
    """
    device = choose_device(execution.device)
    if execution.threads is not None or execution.deterministic:
        torch.set_num_threads(execution.threads or 1)
    strict = (
        "error" if device == "cpu" else "warn"
    )  # set this way since `use_deterministic_algorithms` imports a compiler
    torch.set_deterministic_debug_mode(strict if execution.deterministic else "default")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    flush_denormals(device)
    if device != "cpu":
        torch.backends.cudnn.benchmark = not execution.deterministic
    return device


def flush_denormals(device: str) -> None:
    """On the CPU take numbers below 1.2e-38 for zero: they are slow there, and Swin's shifted windows are full of them
    (weights of exp(-100)). Trainings of 30 updates were measured to keep their bits."""
    if device == "cpu":
        torch.set_flush_denormal(True)  # where the processor cannot, nothing happens


def choose_precision(device: str, numerics: str, official: str, parameters: int) -> Precision:
    """Precision of a training run of a model with so many parameters.

    On CUDA `faithful` takes the official code's type (`official`: fp16 with a gradient scaler, bf16 or float32), `fast`
    bf16 with TensorFloat-32 where float32 is left. On the CPU float32, but bf16 for `fast` where it pays
    (`pays_in_bfloat16`).
    """
    dtype: torch.dtype | None = None
    if device == "cpu":
        dtype = torch.bfloat16 if numerics == "fast" and pays_in_bfloat16(parameters) else None
    else:
        if numerics == "fast":
            torch.set_float32_matmul_precision("high")
            dtype = torch.bfloat16
        else:
            dtype = {"fp16": torch.float16, "bf16": torch.bfloat16, "float32": None}[official]
    scaler = torch.amp.GradScaler(device, enabled=dtype is torch.float16)
    return Precision(device, dtype, scaler)


def pays_in_bfloat16(parameters: int) -> bool:
    """Whether this processor multiplies bfloat16 matrices by itself (AMX) and the model is large enough: small ones
    spend more on casting than they save (measured; `docs/performance.md`)."""
    has_amx = getattr(torch.cpu, "_is_amx_tile_supported", None)  # not in every release
    return parameters >= BFLOAT16_FROM and has_amx is not None and bool(has_amx())


def full_precision(device: str) -> Precision:
    """Float32 throughout: stand-alone evaluation, as the official code does it."""
    return Precision(device, None, torch.amp.GradScaler(device, enabled=False))


def seed_for(seed: int, purpose: str, number: int = 0) -> int:
    """A 63-bit seed that depends on the run's seed, on what it is for and on a number (an update, a rank)."""
    digest = hashlib.sha256(f"{seed}/{purpose}/{number}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def seed_torch(seed: int, purpose: str, number: int = 0, rank: int = 0) -> None:
    """Seed torch's generators on all devices.

    Done before every update: what is drawn in an update (dropout, drop path) is then a function of seed and update
    alone, whatever was drawn before it by loaders, validation or a process that was killed. rank: of a process among
    those that train together; each draws for its own samples.
    """
    if rank:
        purpose = f"{purpose} in process {rank}"
    torch.manual_seed(seed_for(seed, purpose, number))
