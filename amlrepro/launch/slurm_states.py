"""What SLURM says of runs that wait in its queue, for `amlris status`: asked at most once a minute. Torch-free."""

from __future__ import annotations

import contextlib
import shutil
import socket
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from amlrepro.errors import UserError
from amlrepro.files import read_json, write_json
from amlrepro.launch.slurm_query import QUERY_SECONDS, SlurmQuery
from amlrepro.launch.submissions import submissions_folder
from amlrepro.suite.overview import Overview, RunView


class SlurmStates:
    """States of the queued jobs of one store.

    What SLURM answers is kept in the store for a minute, by host (clocks of hosts are never compared), so that a status
    asked for again and again costs one query a minute as well. Without SLURM on this machine nothing is asked.
    """

    def __init__(self, store: Path, seconds: float = QUERY_SECONDS) -> None:
        self._seconds = seconds
        self._kept = submissions_folder(store) / f".states-{socket.gethostname()}.json"
        self._query: SlurmQuery | None = None
        self._asked = float("-inf")

    def judge(self, overview: Overview) -> Overview:
        """The overview with what SLURM knows of queued runs: those it has started, and those it ended before they could
        leave a word."""
        waiting = [str(run.job_id) for run in overview.runs if run.state == "queued" and run.job_id]
        if not waiting or not (shutil.which("sacct") or shutil.which("squeue")):
            return overview
        query = self._refresh(waiting)
        return replace(overview, runs=tuple(_judged(run, query) for run in overview.runs))

    def _refresh(self, job_ids: Sequence[str]) -> SlurmQuery:
        if self._query is None:
            self._query = SlurmQuery(0.0)
            with contextlib.suppress(UserError, OSError, KeyError, TypeError, ValueError):
                kept = read_json(self._kept)
                if 0 <= time.time() - kept["when"] < self._seconds:
                    self._query.known = dict(kept["known"])
                    self._asked = time.monotonic() - (time.time() - kept["when"])
        if time.monotonic() - self._asked >= self._seconds:
            self._asked = time.monotonic()
            if self._query.refresh(job_ids):
                with contextlib.suppress(UserError):  # whoever may only read the store may still look
                    write_json(self._kept, {"when": time.time(), "known": self._query.known})
        return self._query


def _judged(run: RunView, query: SlurmQuery) -> RunView:
    if run.state != "queued" or run.job_id is None:
        return run
    state = query.known.get(run.job_id)
    if query.over(run.job_id):
        return replace(run, state="interrupted", job_id=None, reason=f"SLURM ended job {run.job_id}: {state}")
    return replace(run, state="running", phase="starting") if state == "RUNNING" else run
