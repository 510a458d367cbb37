"""Small runs, and what is done to their jobs."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from amlrepro.cli.options import PlanOptions, open_plan
from amlrepro.data.synth import ensure_synth
from amlrepro.launch.job import Task, make_tasks
from amlrepro.rundir import RunDir
from amlrepro.suite.experiment import load_experiments
from amlrepro.suite.lease import read_owner

ValueT = TypeVar("ValueT")
PATIENCE = 300.0


def smoke_tasks(store: Path, number: int, *changes: str) -> list[Task]:
    """The first tasks of Table 1 in the `smoke` profile, each with one evaluation; data are drawn."""
    options = PlanOptions(profile="smoke", store=store, set_=list(changes))
    opened = open_plan(load_experiments(["table1"]), options, command="a test")
    runs = [run for run in opened.plan.runs.values() if run.config.model.name == "caris"][:number]
    for run in runs:
        del run.evals[1:]
    tasks = make_tasks(opened.store, runs)
    for task in tasks:
        ensure_synth(task.job.config.data.synth, Path(str(task.job.config.exec.data_root)), lambda *_: None)
    return tasks


def until(what: Callable[[], ValueT | None], patience: float = PATIENCE) -> ValueT:
    """The first value of `what` that is true."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if value := what():
            return value
        time.sleep(0.1)
    raise TimeoutError(f"waited {patience:.0f} s")


def at_update(run: RunDir, number: int) -> int:
    """Process id of the worker that lives, once the run has had that many updates."""

    def look() -> int | None:
        rows = [row for row in run.history_rows() if row.get("kind") == "step"]
        owner = read_owner(run)
        return owner.pid if owner and owner.alive() and rows and rows[-1]["step"] >= number else None

    return until(look)


def ended(pid: int) -> bool:
    """Whether a process is gone; a zombie is."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def stepd(job_id: str) -> bool:
    """Whether a daemon of the cluster still looks after a step of that job."""
    root = Path(os.environ["SLURM_CONF"]).parents[1]
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            title = (process / "cmdline").read_bytes().decode("utf-8", "replace")
            if title.startswith(f"slurmstepd: [{job_id}.") and root in (process / "cwd").resolve().parents:
                return True
    return False


def scontrol(*arguments: str) -> bool:
    """Whether `scontrol` did it."""
    return subprocess.run(["scontrol", *arguments], capture_output=True, check=False).returncode == 0


def job_state(job_id: str) -> str:
    """State of a job as squeue tells it."""
    command = ["squeue", "-h", "-t", "all", "-o", "%T", "-j", job_id]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def release(job_id: str, *more: str) -> None:
    """Start a requeued job at once; SLURM holds it for two minutes."""
    until(lambda: job_state(job_id) == "PENDING" and not stepd(job_id))
    time.sleep(3.0)  # the end of the first start, told late, would count as the end of the second
    until(lambda: scontrol("update", f"JobId={job_id}", "StartTime=now", *more))


def bring_back(node: str, job_id: str) -> bool:
    """What an administrator does after a node was lost, until its job runs: SLURM may hold a job whose start failed."""
    scontrol("update", f"NodeName={node}", "State=RESUME")
    scontrol("release", job_id)
    scontrol("update", f"JobId={job_id}", "StartTime=now")
    time.sleep(1.0)
    return job_state(job_id) in ("RUNNING", "COMPLETED")


def wrapped(folder: Path, *programs: str) -> dict[str, str]:
    """An environment in which calls of some programs are counted, by `calls`."""
    folder.mkdir()
    for name in programs:
        path = folder / name
        real = subprocess.run(["which", name], capture_output=True, text=True, check=True).stdout.strip()
        path.write_text(f'#!/bin/sh\nprintf \'%s\\n\' "$*" >>{folder}/{name}.calls\nexec {real} "$@"\n')
        path.chmod(0o755)
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def calls(folder: Path, name: str) -> int:
    """How often a wrapped program was called."""
    path = folder / f"{name}.calls"
    return len(path.read_text().splitlines()) if path.exists() else 0
