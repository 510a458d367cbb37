"""Which processes live, and that none outlives its parent."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from amlrepro.machine import is_dead, process_start, writer

# A pool whose child waits for more work, as it does while pictures are drawn.
POOL = """
import multiprocessing, os, time
from concurrent.futures import ProcessPoolExecutor
from amlrepro.machine import end_with_parent
with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), end_with_parent) as pool:
    print(pool.submit(os.getpid).result(), flush=True)
    time.sleep(60)
"""


def test_a_pool_ends_with_a_parent_that_was_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", POOL], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert process_start(child) is not None
        parent.kill()
    deadline = time.monotonic() + 20
    while process_start(child) is not None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert process_start(child) is None


def test_a_writer_is_dead_only_where_that_can_be_seen() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    assert is_dead(writer(pid=ended.pid))
    assert not is_dead(writer())
    assert writer().endswith(f"-{os.getpid()}")
    assert not is_dead(writer("another host", ended.pid))
