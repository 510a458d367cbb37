"""Why a job failed, judged by its exit code, its reason and the end of its log; and what helps. Torch-free."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from typing import Any, Literal, get_args

from amlrepro.launch.job import USER_ERROR

Cause = Literal["memory", "nan", "data", "disk", "node", "preempted", "killed", "error"]
CAUSES: tuple[str, ...] = get_args(Cause)

REMEDIES: dict[Cause, str] = {
    "memory": "run fewer at a time (--jobs-per-gpu 1, or --jobs with fewer), take a GPU with more memory, or for an "
    "evaluation --set exec.eval_batch with fewer pictures; train.batch changes what the run is, so it is left alone",
    "nan": "the last checkpoint is from before; try a lower train.lr or a longer train.warmup",
    "data": "mend or replace what the message names (`amlris data check ROOT` looks at all of it), then run again",
    "disk": "free some space, then give the same command again: it goes on from its last checkpoint",
    "node": "look at the machine or GPU that the log names; on another one the same command goes on",
    "preempted": "give the same command again: it goes on from its last checkpoint",
    "killed": "see who ended it (the system's log tells when memory ran out); the same command goes on",
    "error": "see the end of its log",
}
RETRIED = frozenset({"node", "preempted", "killed"})

# What libraries, drivers and the system say, in small letters. The first group that matches decides.
_SIGNS: tuple[tuple[Cause, str], ...] = (
    ("disk", r"no space left on device|disk quota exceeded|the disk is full"),
    ("nan", r"training has diverged|(loss|gradient)s? (is|are|was) (nan|not finite|non-finite)"),
    (
        "memory",
        r"out of memory|outofmemoryerror|cu(blas|dnn|solver)_status_alloc_failed|cuda_error_out_of_memory"
        r"|can't allocate memory|cannot allocate memory|not enough memory: you tried to allocate|std::bad_alloc"
        r"|\bmemoryerror\b|oom[-_ ]?kill|(insufficient|out of) shared memory|unable to allocate [\d.]+ [kmgt]i?b",
    ),
    (
        "node",
        r"uncorrectable ecc|nvlink error|gpu is lost|fallen off the bus|\bxid\b"
        r"|no cuda-capable device|cuda-capable device\(s\) is/are busy|unable to determine the device handle"
        r"|cuda driver initialization failed|system not yet initialized|cuda_error_not_initialized"
        r"|unspecified launch failure|hardware stack error|cuda unknown error"
        r"|nccl error|ncclsystemerror|ncclinternalerror|ncclremoteerror|ncclunhandledcudaerror"
        r"|watchdog caught collective operation timeout|connectfullmesh failed|connection (reset|closed) by peer"
        r"|stale file handle|input/output error|transport endpoint is not connected|remote i/o error|node[_ ]fail",
    ),
)
_DATA = re.compile(
    r"image|picture|annotation|\bdata\b|data root|instances|pickle|\brefs?\b|sentences|\bsplit\b|vocabulary|weight|"
    r"checkpoint|no such file|json",
)
_SIGNALLED = {128 + number: number for number in (1, 2, 6, 7, 9, 11, 15)}  # as shells and schedulers tell a signal
_ASKED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True)
class Failure:
    """How a job failed.

    cause: one of `CAUSES`. text: the reason, its first line a sentence. remedy: what helps. retry: whether the same job
    may succeed when it is simply started again.
    """

    cause: Cause
    text: str
    remedy: str
    retry: bool

    def record(self, node: str, attempts: int) -> dict[str, Any]:
        """`failure` of `state.json`. node: host, and slot or GPU. attempts: starts that ended in a failure."""
        return {"cause": self.cause, "reason": self.text, "node": node, "attempts": attempts}


def classify(
    exit_code: int | None, reason: str | None = None, log_tail: str = "", *, out_of_memory: bool = False
) -> Failure:
    """Judge a job that did not end with 0.

    exit_code: as a worker or `subprocess` gives it (a signal is negative or 128 more), None where nobody knows it (the
    machine is gone). reason: what the run's `state.json` says, if it is of this start. log_tail: the end of the log of
    this start. out_of_memory: the system is known to have ended processes for memory meanwhile.
    """
    number = _signal(exit_code)
    said = (reason or log_tail).lower()
    cause = _sign(said) or (_sign(log_tail.lower()) if exit_code != USER_ERROR else None)
    if cause is None and number == signal.SIGKILL:
        cause = "memory" if out_of_memory else "killed"
    elif cause is None and number in _ASKED:
        cause = "preempted"
    elif cause is None and (exit_code is None or number == signal.SIGBUS):
        cause = "node"
    elif cause is None:
        cause = "data" if exit_code == USER_ERROR and _DATA.search(said) else "error"
    crash = cause == "error" and exit_code != USER_ERROR
    text = reason or _last_error(log_tail) or _silent(exit_code, number, cause)
    return Failure(cause, text, REMEDIES[cause], crash or cause in RETRIED)


def _sign(text: str) -> Cause | None:
    return next((cause for cause, pattern in _SIGNS if re.search(pattern, text)), None)


def _signal(exit_code: int | None) -> int | None:
    if exit_code is None:
        return None
    return -exit_code if exit_code < 0 else _SIGNALLED.get(exit_code)


def _last_error(log_tail: str) -> str | None:
    """The last message of a user error in the log, or the last line of a traceback."""
    found = log_tail.rpartition("error: ")
    line_start = found[0].rpartition("\n")[2]
    if found[1] and not line_start:
        return found[2].strip() or None
    named = re.findall(r"^(?:[\w.]*(?:Error|Exception)): .*$", log_tail, re.MULTILINE)
    return named[-1].strip() if named else None


def _silent(exit_code: int | None, number: int | None, cause: Cause) -> str:
    """Why a job ended that left no message."""
    if cause == "memory":
        return "ended by the system, which had run out of memory"
    if exit_code is None:
        return "its machine went away"
    if number == signal.SIGKILL:
        return "killed from outside; the machine may have run out of memory"
    if number in _ASKED:
        return f"asked to end ({signal.Signals(number).name})"
    return f"ended by {signal.Signals(number).name}" if number else f"ended with exit code {exit_code}"
