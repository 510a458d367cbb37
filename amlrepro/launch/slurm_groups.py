"""Which jobs SLURM gets for some tasks: their parts, grouped into arrays, and what waits for what. Torch-free.

A run needs one job; a training with several processes hands its evaluations to a smaller job that waits for it, and
measurements of time and memory wait for the run's other jobs and get a node for themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from amlrepro.launch.cluster import ClusterSettings, JobClass, Kind, submission
from amlrepro.launch.job import Job, Task

LARGEST_ARRAY = 1000  # SLURM's own limit, unless a cluster changes it


@dataclass(frozen=True)
class Part:
    """One job of a task. after: kinds of the same run's jobs that come first."""

    task: Task
    job: Job
    job_class: JobClass
    after: tuple[Kind, ...] = ()

    @property
    def key(self) -> tuple[str, Kind]:
        return self.task.run_id, self.job_class.kind


@dataclass(frozen=True)
class Group:
    """Parts that are submitted in one call. parameters: for submitit."""

    job_class: JobClass
    parts: tuple[Part, ...]
    parameters: dict[str, Any]

    @property
    def waits(self) -> str | None:
        """What the jobs wait for, for people."""
        after = {kind for part in self.parts for kind in part.after}
        return f"each waits for its run's {' and '.join(sorted(after))}" if after else None


def make_parts(task: Task) -> list[Part]:
    """The jobs of a task, in order."""
    job, gpu = task.job, task.job.config.exec.device != "cpu"
    processes = job.config.exec.processes
    if task.alone:
        return [Part(task, job, JobClass("measurement", 1, gpu), after=("training", "evaluation"))]
    if processes == 1:
        return [Part(task, job, JobClass("training", 1, gpu))]
    single = job.config.with_changes({"exec.processes": 1})
    rest = job.model_copy(update={"train": False, "fresh": False, "config": single})
    training = Part(task, job.model_copy(update={"evals": [], "probes": []}), JobClass("training", processes, gpu))
    evaluation = JobClass("evaluation", 1, gpu)
    if not job.train:
        return [Part(task, rest, evaluation)]
    has_more = bool(job.evals or job.probes)
    return [training, *([Part(task, rest, evaluation, after=("training",))] if has_more else [])]


def make_groups(parts: Iterable[Part], settings: ClusterSettings) -> list[Group]:
    """One array for each class of jobs, those that others wait for first. Elements of an array and of the one that
    waits for it have the same order. Raises `UserError` for processes that do not fit on nodes."""
    classes: dict[tuple[Any, ...], list[Part]] = {}
    for part in parts:
        first = part.task.job.config.exec.processes if part.after == ("training",) else 0
        classes.setdefault((len(part.after), part.job_class, first), []).append(part)
    groups = []
    for (_, job_class, _), members in sorted(classes.items(), key=lambda item: item[0]):
        # Those with evaluations to follow come first, so that both arrays count alike.
        ordered = sorted(members, key=lambda part: not (part.task.job.evals or part.task.job.probes))
        parameters = submission(job_class, settings)
        for begin in range(0, len(ordered), LARGEST_ARRAY):
            groups.append(Group(job_class, tuple(ordered[begin : begin + LARGEST_ARRAY]), parameters))
    return groups


def dependency(group: Group, first: list[str]) -> dict[str, Any]:
    """Which jobs have to end before a group's: well, for evaluations; in any way, for measurements."""
    if not first:
        return {}
    if group.job_class.kind == "measurement":
        rule = "afterany:" + ":".join(first)
    elif _count_alike(first, len(group.parts)):
        rule = "aftercorr:" + first[0].split("_")[0]
    else:
        rule = "afterok:" + ":".join(first)
    extra = {**group.parameters["additional_parameters"], "kill-on-invalid-dep": "yes"}
    return {"dependency": rule, "additional_parameters": extra}


def _count_alike(first: list[str], number: int) -> bool:
    """Whether the jobs are elements 0, 1, ... of one array, which SLURM can match one to one with those of another."""
    array = first[0].split("_")[0]
    return number > 1 and first == [f"{array}_{index}" for index in range(number)]
