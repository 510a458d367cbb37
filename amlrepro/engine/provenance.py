"""Where a run's numbers come from: code, versions, machine, command, times and data. Needs no git."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import amlrepro
from amlrepro.config import RunConfig
from amlrepro.files import read_json, write_json
from amlrepro.rundir import RunDir

PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "transformers",
    "tokenizers",
    "numpy",
    "pillow",
    "pycocotools",
    "safetensors",
)


def begin(
    run: RunDir, config: RunConfig, data: dict[str, Any], from_step: int, processes: dict[str, Any] | None = None
) -> None:
    """Add a session (one process, or several together, at work on the run) to `provenance.json`.

    processes: how many, by what they speak with each other, and their devices (`World.described`).
    """
    known = _known(run)
    session = {
        "start": time.time(),
        "end": None,
        "from_step": from_step,
        "command": sys.argv,
        "host": socket.gethostname(),
        "git": git_state(Path(amlrepro.__file__).parent),
        "versions": versions(),
        "hardware": hardware(),
        "threads": torch.get_num_threads(),
        "device": config.exec.device,
        **(processes or {}),
    }
    write_json(run.provenance, {"run_id": config.run_id, "data": data, "sessions": [*known, session]})


def end(run: RunDir, step: int) -> None:
    """Note when and at which update the current session ended."""
    if run.provenance.exists():
        value = read_json(run.provenance)
        value["sessions"][-1].update(end=time.time(), to_step=step)
        write_json(run.provenance, value)


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit and whether tracked files are changed; None where there is no git or no checkout of this package."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=20, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    if git("ls-files", "--error-unmatch", "__init__.py") is None:  # an environment inside somebody else's checkout
        return None
    commit, changes = git("rev-parse", "HEAD"), git("status", "--porcelain", "--untracked-files=no", ".")
    return {"commit": commit, "dirty": bool(changes)} if commit else None


def versions() -> dict[str, str]:
    """Python, this package and what its numbers depend on."""
    found = {"python": platform.python_version(), "amlrepro": amlrepro.__version__}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """Machine type, processor count, memory in GiB and GPUs."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "machine": platform.machine(),
        "system": platform.platform(),
        "cpus": os.cpu_count(),
        "memory_gib": round(pages / 2**30, 1),
        "gpus": gpus,
        "cuda": torch.version.cuda if gpus else None,
    }


def _known(run: RunDir) -> list[dict[str, Any]]:
    return list(read_json(run.provenance).get("sessions", [])) if run.provenance.exists() else []
