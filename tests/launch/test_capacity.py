"""Cores and memory under control groups, in made-up file systems."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from amlrepro.launch.capacity import available_cores, available_memory, killed_for_memory

GIB = 2**30


@pytest.fixture(autouse=True)
def _eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)


def fill(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def test_without_control_groups_affinity_decides(tmp_path: Path) -> None:
    assert available_cores(tmp_path) == 8
    assert available_memory(tmp_path) is None
    assert killed_for_memory(tmp_path) == 0


def test_second_version_the_tightest_level_counts(tmp_path: Path) -> None:
    fill(
        tmp_path,
        {
            "proc/self/cgroup": "0::/a.slice/job\n",
            "proc/meminfo": f"MemTotal: 99 kB\nMemAvailable: {64 * GIB // 1024} kB\n",
            "proc/vmstat": "nr_free_pages 1\noom_kill 3\n",
            "sys/fs/cgroup/a.slice/cpu.max": "250000 100000\n",
            "sys/fs/cgroup/a.slice/job/cpu.max": "max 100000\n",
            "sys/fs/cgroup/a.slice/job/memory.max": f"{8 * GIB}\n",
            "sys/fs/cgroup/a.slice/job/memory.current": f"{5 * GIB}\n",
            "sys/fs/cgroup/a.slice/job/memory.stat": f"anon 1\ninactive_file {2 * GIB}\n",
            "sys/fs/cgroup/a.slice/memory.max": "max\n",
        },
    )
    assert available_cores(tmp_path) == 2  # two and a half
    assert available_memory(tmp_path) == 5 * GIB  # 8 less 5, of which 2 are cached files
    assert killed_for_memory(tmp_path) == 3


def test_first_version(tmp_path: Path) -> None:
    fill(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/box\n2:cpu,cpuacct:/box\n0::/\n",
            "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us": "50000\n",
            "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/memory/box/memory.limit_in_bytes": f"{4 * GIB}\n",
            "sys/fs/cgroup/memory/box/memory.usage_in_bytes": f"{1 * GIB}\n",
            "sys/fs/cgroup/memory/box/memory.stat": "total_inactive_file 0\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        },
    )
    assert available_cores(tmp_path) == 1  # half a core is still one job
    assert available_memory(tmp_path) == 3 * GIB
