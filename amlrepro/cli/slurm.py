"""What `--executor slurm` says: what would be submitted, and what was."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from amlrepro.launch.cluster import ClusterSettings, sbatch_options
from amlrepro.launch.slurm_query import missing_programs
from amlrepro.launch.submissions import open_jobs, submissions_folder

if TYPE_CHECKING:
    from rich.console import Console

    from amlrepro.cli.options import Opened
    from amlrepro.launch.job import Task
    from amlrepro.launch.slurm import SlurmExecutor
    from amlrepro.launch.slurm_groups import Group
    from amlrepro.suite.summary import PlanSummary


def print_submissions(opened: Opened, tasks: list[Task], settings: ClusterSettings, summary: PlanSummary) -> None:
    """What would be submitted, by class of jobs; and what of SLURM is missing on this machine."""
    from amlrepro.cli.options import wide_console
    from amlrepro.launch.slurm_groups import make_groups, make_parts

    console = wide_console()
    known = {(run, kind) for run, kind, _ in open_jobs(opened.store.folder)}
    parts = [part for task in tasks for part in make_parts(task)]
    groups = make_groups([part for part in parts if part.key not in known], settings)
    total = sum(len(group.parts) for group in groups)
    say(console, f"\nSLURM: {total} jobs in {len(groups)} calls of sbatch")
    hours = {run.planned.run_id: run.hours_left for run in summary.runs}
    for group in groups:
        _print_group(console, group, settings, hours)
    if len(parts) > total:
        say(console, f"  {len(parts) - total} more were submitted before and are not again, if SLURM still has them")
    say(console, f"  logs: {submissions_folder(opened.store.folder)}, and log.txt of each run")
    missing = missing_programs()
    if missing:
        found = ", ".join(f"{name} ({use})" for name, use in missing.items())
        say(console, f"SLURM is missing on this machine: no {found}; submit on a login node of the cluster")


def announce(console: Console, executor: SlurmExecutor) -> None:
    """What was submitted, and where it tells how it goes."""
    there = f"; {executor.adopted} jobs were with SLURM already" if executor.adopted else ""
    arrays = f"submitted as {', '.join(executor.job_ids)}" if executor.job_ids else "nothing to submit"
    say(console, f"{arrays}{there}")
    say(console, f"logs: {executor.logs}, and log.txt of each run")


def say(console: Console, line: str) -> None:
    """One line as it is."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def _print_group(console: Console, group: Group, settings: ClusterSettings, hours: dict[str, float | None]) -> None:
    count = len(group.parts)
    known = [hours.get(part.task.run_id) for part in group.parts if part.job.train]
    cost = sum(each for each in known if each is not None)
    parts = [f"{count} job{'s' * (count > 1)}", group.waits or "", f"about {cost:.0f} A800 hours" if cost else ""]
    say(console, f"  {group.job_class.title}: {'; '.join(part for part in parts if part)}")
    array = [f"--array=0-{count - 1}%{min(count, settings.jobs_at_once)}"] if count > 1 else []
    say(console, f"    sbatch {shlex.join([*array, *sbatch_options(group.parameters)])}")
    for line in group.parameters.get("setup", []):
        say(console, f"    setup: {line}")
