"""Which machine this is and which of its processes live. Imported by every room; imports nothing of the package."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import threading
from functools import cache
from pathlib import Path


def machine() -> str:
    """Host, boot and process namespace: where the same process id means the same process."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip())
    with contextlib.suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def process_start(pid: int) -> str | None:
    """When a process started, as the system counts; None when it does not run (a zombie does not)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]
    except OSError:
        pass
    if Path("/proc/self/stat").exists():
        return None
    try:  # systems without /proc
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return ""


def end_with_parent() -> None:
    """For a child of `multiprocessing`: end when the parent is gone. Those of a pool would wait for work for ever: they
    hold both ends of the pipe that it comes by."""
    from multiprocessing import parent_process

    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    from multiprocessing.connection import wait

    wait([sentinel])
    os._exit(1)


def writer(where: str | None = None, pid: int | None = None) -> str:
    """A process, for the name of a temporary file: this one, or process `pid` of the machine that `machine` tells."""
    return f"{_digest(where or machine())}-{os.getpid() if pid is None else pid}"


def is_dead(name: str) -> bool:
    """Whether `name`, as `writer` gave it, is a process of this machine that lives no more."""
    where, _, pid = name.partition("-")
    return where == _digest(machine()) and pid.isdecimal() and process_start(int(pid)) is None


@cache
def _digest(where: str) -> str:
    return hashlib.sha256(where.encode()).hexdigest()[:8]
