"""What was handed to SLURM, kept in the store, so that any launcher on any login node finds it again. Torch-free.

<store>/slurm/<array>.json    one submission: which run each element is for
<store>/slurm/<job>_0.json    what an element gives its worker, there once it has begun
<store>/slurm/<job>_end.json  how an element ended
<store>/slurm/<job>_0_log.*   what SLURM and submitit said; the worker writes into its run's log.txt
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from amlrepro.errors import UserError
from amlrepro.files import read_json, write_json
from amlrepro.launch.cluster import Kind
from amlrepro.rundir import RunDir
from amlrepro.suite.lease import held


@dataclass(frozen=True)
class Submission:
    """One call of sbatch: an array, or a single job when there is one run. since: when, by the launcher's clock."""

    job_id: str
    kind: Kind
    runs: tuple[str, ...]
    since: float

    def element(self, number: int) -> str:
        """The job id of one run's element, as SLURM writes it: `123_4`."""
        return self.job_id if len(self.runs) == 1 else f"{self.job_id}_{number}"


def submissions_folder(store: Path) -> Path:
    """Where a profile's submissions lie. store: the profile's folder."""
    return store / "slurm"


def submission_lock(folder: Path) -> FileLock:
    """Held while a launcher looks what is submitted and submits the rest: two at once submit nothing twice."""
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / ".lock")


def record(folder: Path, submission: Submission) -> None:
    """Keep a submission."""
    write_json(folder / f"{submission.job_id}.json", asdict(submission))


def read_submissions(folder: Path) -> list[Submission]:
    """All submissions, oldest first; a file that does not parse is left out."""
    found = []
    for path in folder.glob("[0-9]*.json") if folder.is_dir() else ():
        if path.stem.isdecimal():
            try:
                values = read_json(path)
                found.append(Submission(**{**values, "runs": tuple(values["runs"])}))
            except (UserError, TypeError, KeyError):
                continue
    return sorted(found, key=lambda each: each.since)


def open_jobs(store: Path, run_id: str | None = None) -> Iterator[tuple[str, Kind, str]]:
    """Run, kind and job id of every element that has not said how it ended, oldest first.

    store: the profile's folder. run_id: of this run only. SLURM may have ended it nevertheless.
    """
    folder = submissions_folder(store)
    submissions = read_submissions(folder)
    ended = ended_jobs(folder) if submissions else set()
    for submission in submissions:
        for number, run in enumerate(submission.runs):
            job_id = submission.element(number)
            if run_id in (None, run) and job_id not in ended:
                yield run, submission.kind, job_id


def begun_path(folder: Path, job_id: str, rank: int = 0) -> Path:
    """What process `rank` of an element gives its worker."""
    return folder / f"{job_id}_{rank}.json"


def write_end(folder: Path, job_id: str, code: int, cause: str | None, node: str) -> None:
    """Say how an element ended. code: exit code of its last worker. cause: of a failure, as in `failures`."""
    write_json(folder / f"{job_id}_end.json", {"code": code, "cause": cause, "node": node})


def read_end(folder: Path, job_id: str) -> dict[str, Any] | None:
    """What `write_end` wrote; None before."""
    path = folder / f"{job_id}_end.json"
    return dict(read_json(path)) if path.exists() else None


def ended_jobs(folder: Path) -> set[str]:
    """Elements that have said how they ended; one look at the folder however many there are."""
    return {path.name.removesuffix("_end.json") for path in folder.glob("*_end.json")}


def log_path(folder: Path, job_id: str) -> Path:
    """Where SLURM writes what an element's first process prints."""
    return folder / f"{job_id}_0_log.out"


def changing(run: RunDir) -> FileLock:
    """Held while the queued state of a run is changed by someone who has not its lease."""
    run.path.mkdir(parents=True, exist_ok=True)
    return FileLock(run.path / ".lease.lock")


def mark_queued(run: RunDir, job_id: str, reason: str | None = None) -> None:
    """Say in `state.json` that SLURM has the run, unless a worker is at it. The caller holds `changing`."""
    if held(run) is None:
        more = {} if reason is None else {"reason": reason}
        run.write_state("queued", queued={"executor": "slurm", "job_id": job_id, "since": time.time()}, **more)
