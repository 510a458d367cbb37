"""What this process may use of its machine: cores and memory, as affinity and control groups allow. Torch-free."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")


def available_cores(root: Path = ROOT) -> int:
    """Cores this process may use: by its affinity, and by the quota of its control groups."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(affinity, math.floor(_quota(root))))


def available_memory(root: Path = ROOT) -> int | None:
    """Bytes of memory that jobs may still take; None where that is not known."""
    free = [limit - used for limit, used in _memory_groups(root)]
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = (root / "proc/meminfo").read_text().splitlines()
        free.append(int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]) * 1024)
    return max(0, min(free)) if free else None


def killed_for_memory(root: Path = ROOT) -> int:
    """How many processes the system has ended for want of memory since its start; to be compared."""
    with contextlib.suppress(OSError, ValueError):
        for line in (root / "proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def _quota(root: Path) -> float:
    quota = math.inf
    for folder in _groups(root, "cpu"):
        with contextlib.suppress(OSError, ValueError):
            if (folder / "cpu.max").exists():
                share, period = (folder / "cpu.max").read_text().split()
            else:
                share, period = ((folder / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
            if share not in ("max", "-1"):
                quota = min(quota, int(share) / int(period))
    return quota if quota < math.inf else 1 << 20


def _memory_groups(root: Path) -> Iterator[tuple[int, int]]:
    """Limit and use of each control group that limits memory. What files are cached is given back when needed."""
    for folder in _groups(root, "memory"):
        new = (folder / "memory.max").exists()
        with contextlib.suppress(OSError, ValueError):
            limit = int((folder / ("memory.max" if new else "memory.limit_in_bytes")).read_text())
            used = int((folder / ("memory.current" if new else "memory.usage_in_bytes")).read_text())
            stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            cached = int(stat.get("inactive_file" if new else "total_inactive_file", 0))
            if limit < 1 << 60:  # the first version writes a huge number for no limit
                yield limit, used - cached


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Folders of this process's control group and those above it, for both versions of control groups."""
    base = root / "sys/fs/cgroup"
    with contextlib.suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            number, controllers, path = line.split(":", 2)
            if number == "0" and not controllers:
                top = base
            elif controller in controllers.split(","):
                top = base / controllers if (base / controllers).is_dir() else base / controller
            else:
                continue
            folder = top / path.strip("/")
            yield from (f for f in (folder, *folder.parents) if f == top or top in f.parents)
