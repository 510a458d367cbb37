"""What all executors can do, and the choice between them. Torch-free."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from amlrepro.errors import unknown_name
from amlrepro.launch.cluster import ClusterSettings
from amlrepro.launch.job import Task
from amlrepro.launch.local import JobProgress, LocalExecutor, Outcome
from amlrepro.launch.slots import make_slots
from amlrepro.launch.slurm import SlurmExecutor

EXECUTORS = ("local", "slurm")


class Executor(Protocol):
    """Carries out tasks. Call `step` until `finished`; a failed task stops no other.

    places: where tasks run, for people: `2 at a time (gpu0, gpu1)`.
    """

    tasks: list[Task]
    outcomes: list[Outcome]
    places: str

    @property
    def finished(self) -> bool:
        """Whether every task has an outcome."""

    def step(self) -> None:
        """Take in tasks that have ended and start what can start. Raises `UserError` for a full disk."""

    def progress(self) -> list[JobProgress]:
        """Where every task stands, in order."""

    def stop(self, patience: float = 120.0, tell: Callable[[str], None] | None = None) -> None:
        """Stop watching; what runs is left resumable. tell: shows a line."""


@dataclass(frozen=True)
class Settings:
    """What a user may choose of the executors.

    gpus, jobs, jobs_per_gpu: local slots. retries: how often in a row a failed job is started again. cluster: what jobs
    ask of SLURM. store: folder of the profile's results. tell: shows a line.
    """

    store: Path
    gpus: int | None = None
    jobs: int | None = None
    jobs_per_gpu: int | None = None
    retries: int = 1
    cluster: ClusterSettings | None = None
    tell: Callable[[str], None] = lambda line: None


def make_executor(name: str, tasks: list[Task], settings: Settings) -> Executor:
    """The executor of that name for some tasks (at least one). Raises `UserError` for an unknown name, missing GPUs, or
    a machine without SLURM."""
    if name == "slurm":
        return SlurmExecutor(tasks, settings.cluster or ClusterSettings(), settings.store, settings.retries)
    if name != "local":
        raise unknown_name("executor", name, EXECUTORS, "--executor")
    execution = tasks[0].job.config.exec
    processes = max(task.job.config.exec.processes for task in tasks)
    slots = make_slots(
        execution.device, execution.threads, settings.gpus, settings.jobs, settings.jobs_per_gpu, processes
    )
    needed = sum(task.job.config.exec.processes for task in tasks)
    return LocalExecutor(tasks, slots[:needed], settings.retries, settings.tell)
