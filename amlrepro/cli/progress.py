"""Live progress of local jobs: a table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from amlrepro.launch.executors import Executor
from amlrepro.launch.local import JobProgress

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

POLL_SECONDS = 0.25
DRAW_SECONDS = 1.0
LINE_SECONDS = 15.0


def watch(executor: Executor, console: Console) -> None:
    """Run the executor to its end, showing where it stands."""
    from rich.live import Live

    clock = Clock(executor)
    if not console.is_terminal:
        lines = _Lines(console)
        while not executor.finished:
            executor.step()
            lines.update(executor.progress(), clock)
            time.sleep(POLL_SECONDS)
        return
    with Live(console=console, auto_refresh=False, transient=True) as live:
        drawn = 0.0
        while not executor.finished:
            executor.step()
            if time.monotonic() - drawn >= DRAW_SECONDS:
                drawn = time.monotonic()
                live.update(_table(executor.progress(), clock), refresh=True)
            time.sleep(POLL_SECONDS)


class Clock:
    """Time left of all jobs together, from the pace since the start."""

    def __init__(self, executor: Executor) -> None:
        self._begin = time.monotonic()
        self._done = self._share(executor.progress())

    def left(self, jobs: list[JobProgress]) -> float | None:
        """Seconds left, None before there is a pace to judge by."""
        now = self._share(jobs)
        gained = now - self._done
        if gained < 0.01:
            return None
        return (time.monotonic() - self._begin) * (1 - now) / gained

    @staticmethod
    def _share(jobs: list[JobProgress]) -> float:
        whole = sum(job.task.weight for job in jobs)
        done = sum(job.task.weight * (1.0 if job.phase in ("done", "failed") else job.fraction) for job in jobs)
        return done / whole if whole else 1.0


class _Lines:
    """One plain line when a job changes its phase, and one for each at work every quarter of a minute."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._phases: dict[str, str] = {}
        self._said: dict[str, float] = {}

    def update(self, jobs: list[JobProgress], clock: Clock) -> None:
        now = time.monotonic()
        for job in jobs:
            name = job.task.name
            changed = self._phases.get(name, "waiting") != job.phase
            due = job.phase in ("training", "evaluating") and now - self._said.get(name, now) >= LINE_SECONDS
            self._phases[name] = job.phase
            if changed or due:
                self._said[name] = now
                parts = [job.phase, *(f"{key} {value}" for key, value in describe(job).items() if value)]
                left = clock.left(jobs)
                parts += [f"all done in about {duration(left)}"] if left is not None and job.phase != "failed" else []
                self._console.print(f"{name}: {', '.join(parts)}", highlight=False, soft_wrap=True, markup=False)


def describe(job: JobProgress) -> dict[str, str]:
    """What is known of a job at work, as text by name; empty text where it is not known."""
    at_work = job.phase == "training"
    return {
        "epoch": f"{job.epoch}/{job.task.planned.until}" if job.phase != "waiting" else "",
        "loss": f"{job.loss:.4f}" if at_work and job.loss is not None else "",
        "images/s": f"{job.images_per_s:.1f}" if at_work and job.images_per_s else "",
        "left": duration(job.eta_s) if at_work and job.images_per_s and job.eta_s is not None else "",
    }


def duration(seconds: float) -> str:
    """`2 h 05 min`, `3 min 20 s`, `12 s`."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"


def _table(jobs: list[JobProgress], clock: Clock) -> Table:
    from rich import box
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    left = clock.left(jobs)
    done = sum(job.phase == "done" for job in jobs)
    caption = f"{done} of {len(jobs)} done" + (f", about {duration(left)} left" if left is not None else "")
    table = Table(box=box.SIMPLE_HEAD, caption=caption, caption_justify="left", pad_edge=False)
    table.add_column("run", no_wrap=True, overflow="ellipsis", ratio=1)
    table.add_column("phase", width=11)
    table.add_column("", width=16)
    for name in ("epoch", "loss", "images/s", "left"):
        table.add_column(name, justify="right", no_wrap=True)
    for job in jobs:
        bar = ProgressBar(1.0, 1.0 if job.phase == "done" else job.fraction, width=16)
        style = {"done": "green", "failed": "red", "waiting": "dim"}.get(job.phase, "")
        table.add_row(job.task.name, job.phase, bar, *describe(job).values(), style=style)
    return table
