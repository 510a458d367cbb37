"""Carry out a plan: make or look at the data, train and evaluate what the store misses, say what went wrong."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from amlrepro.cli.options import Opened, headline, say, wide_console
from amlrepro.cli.plan import print_plan
from amlrepro.cli.progress import watch
from amlrepro.cli.slurm import announce, print_submissions
from amlrepro.cli.until_decided import UntilDecided
from amlrepro.errors import UserError, unknown_name
from amlrepro.files import sweep
from amlrepro.launch.cluster import ClusterSettings, load_cluster, with_flags
from amlrepro.launch.executors import EXECUTORS, Settings, make_executor
from amlrepro.launch.job import Task, make_tasks
from amlrepro.launch.local import Outcome
from amlrepro.launch.slurm import SlurmExecutor
from amlrepro.launch.slurm_query import require_slurm
from amlrepro.suite.cancel import clear_cancel
from amlrepro.suite.lease import tidy
from amlrepro.suite.orders import at_work
from amlrepro.suite.rates import measure_rates
from amlrepro.suite.settings import load_settings
from amlrepro.suite.summary import summarize

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID


@dataclass(frozen=True)
class WorkOptions:
    """The options by which a command chooses where and how jobs run."""

    executor: Annotated[str, typer.Option("--executor", help="Where jobs run: local or slurm.")] = "local"
    device: Annotated[str | None, typer.Option("--device", help="auto, cpu or cuda.", show_default="auto")] = None
    gpus: Annotated[int | None, typer.Option("--gpus", min=0, help="GPUs to use at a time.", show_default="1")] = None
    jobs: Annotated[int | None, typer.Option("--jobs", min=1, help="Jobs at a time, whatever the device.")] = None
    jobs_per_gpu: Annotated[int | None, typer.Option("--jobs-per-gpu", min=1, help="Jobs at a time on a GPU.")] = None
    processes: Annotated[
        int | None, typer.Option("--processes", min=1, help="Processes of one training, a GPU each.", show_default="1")
    ] = None
    retries: Annotated[int, typer.Option("--retries", min=0, help="Starts again after a crash or a kill.")] = 1
    cluster: Annotated[Path | None, typer.Option("--cluster", help="YAML file of SLURM settings.")] = None
    time: Annotated[str | None, typer.Option("--time", help="SLURM: limit of a job, as 12:00:00.")] = None
    partition: Annotated[str | None, typer.Option("--partition", help="SLURM: partition.")] = None
    qos: Annotated[str | None, typer.Option("--qos", help="SLURM: quality of service.")] = None
    account: Annotated[str | None, typer.Option("--account", help="SLURM: account.")] = None
    constraint: Annotated[str | None, typer.Option("--constraint", help="SLURM: features of nodes.")] = None
    gres: Annotated[str | None, typer.Option("--gres", help="SLURM: resources of a process, as gpu:a100:1.")] = None
    no_wait: Annotated[bool, typer.Option("--no-wait", help="SLURM: submit, then end.")] = False
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would run.")] = False
    force: Annotated[bool, typer.Option("--force", help="Do finished work again.")] = False

    def check(self) -> None:
        """Raise `UserError` for an executor that is unknown or not available."""
        if self.executor not in EXECUTORS:
            raise unknown_name("executor", self.executor, EXECUTORS, "--executor")
        given = [f"--{name.replace('_', '-')}" for name, value in self._slurm_only().items() if value]
        if self.executor != "slurm" and given:
            raise UserError("an option of SLURM", where=given[0], expected="--executor slurm beside it")
        self.cluster_settings()
        if self.executor == "slurm" and not self.dry_run:
            require_slurm()

    def cluster_settings(self) -> ClusterSettings:
        """What jobs ask of SLURM: the file, the user's own file or nothing, and over it the options given."""
        named = self.cluster or load_settings().cluster
        if self.executor != "slurm" or named is None:
            base = ClusterSettings()
        else:
            base = load_cluster(Path(named).expanduser())
        flags = {name: value for name, value in self._slurm_only().items() if name not in ("cluster", "no_wait")}
        return with_flags(base, flags)

    def _slurm_only(self) -> dict[str, Any]:
        names = ("cluster", "time", "partition", "qos", "account", "constraint", "gres", "no_wait")
        return {name: getattr(self, name) for name in names}


def carry_out(
    opened: Opened,
    work: WorkOptions,
    show: Callable[[], None],
    looks: UntilDecided | None = None,
    first_line: str | None = None,
) -> None:
    """Print the headline; then with `--dry-run` the plan, else do what the store misses and `show` the results.

    show: called when at least one run is complete. Ends the command with exit code 2 when runs failed for reasons the
    user can mend, 1 when one failed otherwise, 130 when interrupted; every run is then resumable. With
    `--no-wait` it ends after submission. looks: the seeds after the first look wait for it, and are left out where they
    can change no verdict. first_line: in the place of the headline.
    """
    say(headline(opened) if first_line is None else first_line)
    tasks = make_tasks(opened.store, opened.plan.runs.values(), fresh=work.force)
    if work.dry_run:
        summary = summarize(opened.plan, opened.store, measure_rates(opened.store))
        print_plan(opened, summary)
        if looks is not None:
            looks.left(looks.split(tasks)[1])
            looks.tell()
            tasks = [task for task in tasks if task.run_id not in looks.skipped]
        if work.executor == "slurm":
            print_submissions(opened, tasks, work.cluster_settings(), summary)
        return
    sweep(opened.store.folder)
    for task in tasks:
        clear_cancel(task.job.run)  # whoever names a run now wants it
    if looks is None:
        opened.store.write_stopped({}, (task.run_id for task in tasks))  # those that were left out too
    with at_work(opened.store, opened.plan):
        _prepare(opened, tasks, wide_console())
        try:
            if looks is not None and tasks:
                outcomes = _by_looks(opened, tasks, work, looks)
            else:
                outcomes = _do(opened, tasks, work) if tasks else []
        finally:
            _tidy(opened)
    if work.no_wait and tasks:
        typer.echo("amlris status --watch shows how it goes; the same command without --no-wait waits and reports")
        return
    failed = [outcome for outcome in outcomes if not outcome.done]
    if len(failed) < len(opened.plan.runs) or not opened.plan.runs:
        show()
    if looks is not None:
        looks.conclude()
    if failed:
        raise typer.Exit(_tell_failures(failed))


def _by_looks(opened: Opened, tasks: list[Task], work: WorkOptions, looks: UntilDecided) -> list[Outcome]:
    """Run the tasks of the first look, then of the others those that are still worth it. Without waiting only what can
    be told already is submitted."""
    now, later = looks.split(tasks)
    outcomes = _do(opened, now, work) if now else []
    if now and work.no_wait:
        if later:
            typer.echo(f"{len(later)} runs wait for the first look; give the same command again when it is in")
        return outcomes
    left = looks.left(later)
    looks.keep()
    looks.tell()
    return outcomes + (_do(opened, left, work) if left else [])


def _do(opened: Opened, tasks: list[Task], work: WorkOptions) -> list[Outcome]:
    """Make or look at the data, then run the tasks. Ctrl-C and SIGTERM leave every run resumable."""
    console = wide_console()
    settings = Settings(
        opened.store.folder,
        work.gpus,
        work.jobs,
        work.jobs_per_gpu,
        work.retries,
        work.cluster_settings(),
        partial(console.print, highlight=False, markup=False, soft_wrap=True),
    )
    executor = make_executor(work.executor, tasks, settings)
    alone = sum(task.alone for task in tasks)
    then = f"; {alone} measurements of time and memory after them, one at a time" if alone else ""
    runs = f"{len(tasks) - alone} of {len(opened.plan.runs)} runs to do, {executor.places}"
    console.print(f"{runs}{then}", highlight=False)
    previous = {number: signal.signal(number, _interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        if isinstance(executor, SlurmExecutor):
            executor.step()
            announce(console, executor)
        if not work.no_wait:
            watch(executor, console)
    except KeyboardInterrupt:
        executor.stop(tell=console.print)
        typer.echo("interrupted; give the same command again to go on from where it stopped", err=True)
        raise typer.Exit(130) from None
    except BaseException:
        executor.stop()
        raise
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    return executor.outcomes


def _tidy(opened: Opened) -> None:
    """Remove what killed processes left in the store. What a living one is at work on stays, on other hosts too."""
    sweep(opened.store.folder)
    for planned in opened.plan.runs.values():
        run = opened.store.run(planned.run_id)
        tidy(run, done=run.replay.exists() and opened.store.missing(planned).nothing)


def _prepare(opened: Opened, tasks: list[Task], console: Console) -> None:
    """Synthetic data are made when they are missing; everything else that will be read is looked at first."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from amlrepro.data.synth import ensure_synth
    from amlrepro.suite.verify import verify_in_child

    if opened.plan.source == "refer":
        if tasks:
            console.print("checking the data")
            verify_in_child([task.planned for task in tasks])
        return
    columns = (TextColumn("drawing synthetic scenes"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    configs = [task.job.config for task in tasks] + [figure.config for figure in opened.plan.figures if figure.config]
    wanted = {config.exec.data_root: config.data.synth for config in configs}
    for folder, synth in wanted.items():
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
            show = partial(_show, bar, bar.add_task("scenes", total=None))
            ensure_synth(synth, Path(str(folder)), show)


def _show(bar: Progress, item: TaskID, done: int, total: int) -> None:
    bar.update(item, completed=done, total=total)


def _tell_failures(failed: list[Outcome]) -> int:
    """Print every reason once, with the runs it stopped; the exit code: 2 if the user can mend all of them, else 1."""
    reasons: dict[str, list[Outcome]] = {}
    for outcome in failed:
        reasons.setdefault(outcome.reason or "", []).append(outcome)
    for reason, outcomes in reasons.items():
        typer.echo(f"error: {reason}", err=True)
        for outcome in outcomes:
            typer.echo(f"  failed:   {outcome.task.run_id}, log {outcome.task.job.run.log}", err=True)
        if outcomes[0].remedy and "\n  next: " not in reason:
            typer.echo(f"  next:     {outcomes[0].remedy}", err=True)
    return 2 if all(outcome.user_error for outcome in failed) else 1


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
