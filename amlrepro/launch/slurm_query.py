"""What SLURM says of jobs: one query for all of them, and not more often than once a minute. Torch-free."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from time import monotonic

from amlrepro.errors import UserError

QUERY_SECONDS = 60.0
_PROGRAMS = {"sbatch": "submits jobs", "srun": "starts them", "scontrol": "requeues them"}
_QUERIES = {"sacct": "tells how jobs ended", "squeue": "tells which jobs there are"}

# States after which a job may still be requeued: only when a later query says the same is it over.
_MAY_RETURN = {"PREEMPTED", "NODE_FAIL", "REQUEUED", "STOPPED"}
_LIVE = {
    "PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED", "RESIZING", "SIGNALING", "STAGE_OUT",
    "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD", *_MAY_RETURN,
}  # fmt: skip


def missing_programs() -> dict[str, str]:
    """The programs of SLURM that are not found here, with what they are for."""
    missing = {name: use for name, use in _PROGRAMS.items() if shutil.which(name) is None}
    if all(shutil.which(name) is None for name in _QUERIES):
        missing |= _QUERIES
    return missing


def require_slurm() -> None:
    """Raise a `UserError` that says what is missing, where this machine is no login node of a SLURM cluster."""
    missing = missing_programs()
    if missing:
        raise UserError(
            "SLURM is missing on this machine",
            where="PATH",
            found="no " + ", ".join(f"{name} ({use})" for name, use in missing.items()),
            hint="give the command on a login node of the cluster, or use --executor local",
        )


class SlurmQuery:
    """States of jobs as SLURM last told them.

    known: state by job id, as `sacct` names it (`PENDING`, `COMPLETED`, ...). A job that neither accounting nor
    the queue knows is `UNKNOWN`; where `sacct` does not work, one that `squeue` has forgotten, as it does some minutes
    after a job's end.
    """

    def __init__(self, seconds: float = QUERY_SECONDS) -> None:
        self.known: dict[str, str] = {}
        self._seconds = seconds
        self._asked = float("-inf")
        self._twice: dict[str, int] = {}
        self._absent: set[str] = set()  # of accounting's last answer
        self._accounting = shutil.which("sacct") is not None

    def wait(self) -> None:
        """Count from now: right after a submission there is nothing to learn."""
        self._asked = monotonic()

    def refresh(self, job_ids: Iterable[str]) -> bool:
        """Ask about jobs if the last query is long enough ago; whether it was, and was answered."""
        wanted = sorted(set(job_ids))
        if not wanted or monotonic() - self._asked < self._seconds:
            return False
        self._asked = monotonic()
        arrays = ",".join(sorted({job_id.split("_")[0] for job_id in wanted}))
        # Accounting lags, at times by minutes: of a job that it does not know, squeue is asked the next time.
        by_queue = not self._accounting or bool(self._absent)
        answer = _squeue(arrays) if by_queue else _sacct(arrays)
        if answer is None:
            self._accounting = self._accounting and by_queue
            return False
        self.known |= answer
        for job_id in wanted:
            if job_id in answer:
                self._twice[job_id] = self._twice.get(job_id, 0) + 1 if answer[job_id] in _MAY_RETURN else 0
        absent = set(wanted) - set(answer)
        if by_queue:
            self.known |= dict.fromkeys(absent & self._absent if self._accounting else absent, "UNKNOWN")
        self._absent = absent if not by_queue else set()
        return True

    def over(self, job_id: str) -> bool:
        """Whether SLURM has ended a job for good."""
        state = self.known.get(job_id)
        return state is not None and (state not in _LIVE or self._twice.get(job_id, 0) > 1)


def _sacct(arrays: str) -> dict[str, str] | None:
    return _ask(["sacct", "-n", "-X", "--parsable2", "-o", "JobID,State", "-j", arrays])


def _squeue(arrays: str) -> dict[str, str] | None:
    return _ask(["squeue", "-h", "-r", "-t", "all", "-o", "%i|%T", "-j", arrays])


def _ask(command: list[str]) -> dict[str, str] | None:
    """States by job id; None when the query failed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode:
        return {} if "invalid job id" in done.stderr.lower() else None
    out: dict[str, str] = {}
    for line in done.stdout.splitlines():
        job_id, _, state = line.partition("|")
        word = state.split(" ")[0].rstrip("+")  # `CANCELLED by 1000`
        out |= dict.fromkeys(_expand(job_id), word)
    return out


def _expand(job_id: str) -> list[str]:
    """`12_[3-4,6%2]`, as waiting elements are told together, as `12_3`, `12_4`, `12_6`."""
    array, bracket, rest = job_id.partition("_[")
    if not bracket:
        return [job_id]
    out = []
    for part in rest.split("]")[0].split("%")[0].split(","):
        first, _, last = part.partition("-")
        if first.isdecimal() and (last or first).isdecimal():
            out += [f"{array}_{number}" for number in range(int(first), int(last or first) + 1)]
    return out
