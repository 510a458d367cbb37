"""Why a number is not there, in words for a footnote."""

from __future__ import annotations

from amlrepro.suite.store import RunStatus


def why_absent(status: RunStatus) -> str:
    """Why an evaluation or a history that a run should have given is not in the store."""
    if status.stale:
        return "made by an older version"
    if status.state == "done":
        return "trained, not evaluated yet"
    if status.state == "failed":
        return f"training failed: {status.reason or 'see the log'}"
    if status.state in ("running", "interrupted", "preempted"):
        return f"{status.state} after epoch {status.epoch}"
    if status.state == "absent" and status.reason:
        return f"not started: {status.reason}"
    return "not run yet"
