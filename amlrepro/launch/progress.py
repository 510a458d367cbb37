"""How a job ended and where it stands, as launchers know it from the run's folder. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from amlrepro.launch.job import Task

TRAINING_SHARE = 0.95  # of a job that trains and evaluates, for its progress


@dataclass(frozen=True)
class Outcome:
    """How a job ended. user_error: the user can mend it. reason: None when it is done. remedy: what helps."""

    task: Task
    done: bool
    user_error: bool = False
    reason: str | None = None
    remedy: str | None = None


@dataclass(frozen=True)
class JobProgress:
    """Where a job stands, from the run's `state.json`.

    phase: waiting, queued, starting, training, evaluating, elsewhere (another launcher has the run), done, failed,
    interrupted. fraction: of its training and evaluations together, 0 to 1.
    """

    task: Task
    phase: str
    epoch: int = 0
    fraction: float = 0.0
    loss: float | None = None
    images_per_s: float | None = None
    eta_s: float | None = None


def progress_of(task: Task, outcome: Outcome | None, since: float | None, elsewhere: bool = False) -> JobProgress:
    """Where a job of this machine stands. since: when it was started, None when it was not. elsewhere: another launcher
    has its run."""
    state: dict[str, Any] = task.job.run.read_state()
    epoch = int(state.get("epoch", 0))
    if outcome is not None:
        return JobProgress(task, "done" if outcome.done else "failed", epoch, 1.0 if outcome.done else 0.0)
    if since is None:
        return JobProgress(task, "elsewhere" if elsewhere else "waiting", epoch)
    if state.get("updated", 0) < since:
        return JobProgress(task, "starting", epoch)
    share = TRAINING_SHARE if task.job.train else 0.0
    evaluation = state.get("evaluation") or ({"done": 0, "total": 1} if state["state"] == "done" else None)
    if evaluation:  # also between training and the first evaluation, when the state is `done` for a moment
        return JobProgress(task, "evaluating", epoch, share + (1 - share) * evaluation["done"] / evaluation["total"])
    steps = state.get("steps_per_epoch", 1) * max(1, task.planned.until)
    return JobProgress(
        task,
        "training",
        epoch,
        share * min(1.0, state.get("step", 0) / steps),
        state.get("loss"),
        state.get("images_per_s"),
        state.get("eta_s"),
    )
