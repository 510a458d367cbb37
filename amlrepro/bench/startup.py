"""Commands that people wait for, each in a process of its own: `--help`, `plan all`, and `status` of a large store."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from amlrepro.bench.large_store import fill_order, fill_runs, large_plan
from amlrepro.bench.spec import Gate, Measurement, Setting
from amlrepro.bench.timing import alternate
from amlrepro.metrics.spread import quartiles
from amlrepro.suite.store import Store

ROUNDS, HELP_ROUNDS = 8, 16
SEEDS = {"smoke": 1}
MANY_SEEDS = 17  # 510 runs
HEAVY = ("torch", "pandas")
_COMMAND = "import sys; from amlrepro.cli.main import main; sys.exit(main())"  # as the console script does
_TELL = f"import atexit, sys; atexit.register(lambda: print(*({{*{HEAVY!r}}} & {{*sys.modules}}), file=sys.stderr)); "


def help_(setting: Setting) -> Measurement:
    """`amlris --help` beside a process that imports typer and rich as typer itself does, as a ratio."""
    reference, ours, bare = "import typer, typer.rich_utils", "amlris --help", "import typer, rich"
    with _place() as place:
        calls = {reference: place.call("-c", reference), ours: place.amlris("--help"), bare: place.call("-c", bare)}
        seconds = alternate(calls, setting.rounds or HELP_ROUNDS)
        gate = place.light("--help")
    sides = {name: seconds[name] for name in (reference, ours)}
    ratios = [b / a for a, b in zip(*sides.values(), strict=True)]
    beside = [b / a for a, b in zip(seconds[bare], seconds[ours], strict=True)]
    return Measurement(sides, gate=gate, values=ratios, details={f"over {bare}": quartiles(beside), **place.cpu})


def plan_all(setting: Setting) -> Measurement:
    """Seconds of `amlris plan all`: at full size without data beside a store of many runs, and of the demo; the longer
    one of a round counts."""
    arguments = {"paper": ["--assume-data"], "demo": []}
    with _place(_seeds(setting)) as place:
        commands = {name: ["plan", "all", "--profile", name, *more] for name, more in arguments.items()}
        calls = {f"amlris plan all --profile {name}": place.amlris(*given) for name, given in commands.items()}
        seconds = alternate(calls, setting.rounds or ROUNDS)
        gate = place.light(*commands["paper"])
    return Measurement(seconds, gate=gate, values=_longest(seconds), details={"runs": place.runs, **place.cpu})


def status(setting: Setting) -> Measurement:
    """Seconds of `amlris status` beside a store of many runs that one order asked for."""
    with _place(_seeds(setting)) as place:
        seconds = alternate({"amlris status": place.amlris("status")}, setting.rounds or ROUNDS)
        gate = place.light("status")
    return Measurement(seconds, gate=gate, details={"runs": place.runs, **place.cpu})


def _seeds(setting: Setting) -> int:
    return SEEDS.get(setting.sizes, MANY_SEEDS)


def _longest(seconds: Mapping[str, list[float]]) -> list[float]:
    return [max(each) for each in zip(*seconds.values(), strict=True)]


class _Place:
    """A folder to call commands in. runs: how many its store `results` holds."""

    def __init__(self, folder: Path, runs: int) -> None:
        self._folder = folder
        self._cpu: dict[str, list[float]] = {}
        self.runs = runs

    @property
    def cpu(self) -> dict[str, Any]:
        """Processor's seconds of each command that was timed, over all its calls: which other work on the machine
        lengthens less than the time until it ends."""
        return {"cpu_seconds": {name: quartiles(values) for name, values in self._cpu.items() if len(values) > 1}}

    def amlris(self, *arguments: str) -> Callable[[], str]:
        """A call of `amlris` with these arguments."""
        return self.call("-c", _COMMAND, *arguments)

    def call(self, *arguments: str) -> Callable[[], str]:
        """A call of Python, which returns what it wrote to standard error; raises where it fails.

        Modules are compiled by the first call and kept, as those of an installed program are.
        """
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment = kept | {"PYTHONPYCACHEPREFIX": str(self._folder / "compiled")}

        spent = self._cpu.setdefault(" ".join(each for each in arguments if each not in ("-c", _COMMAND)), [])

        def run() -> str:
            before = os.times()
            done = subprocess.run(
                [sys.executable, *arguments],
                cwd=self._folder,
                env=environment,
                check=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            after = os.times()
            spent.append(after.children_user + after.children_system - before.children_user - before.children_system)
            return done.stderr

        return run

    def light(self, *arguments: str) -> Gate:
        """Whether a command does without the heavy libraries."""
        found = self.call("-c", _TELL + _COMMAND, *arguments)().split()
        heavy = [name for name in HEAVY if name in found]
        return Gate("imports of torch or pandas", ", ".join(heavy) or "none", "none", not heavy)


@contextmanager
def _place(seeds: int = 0) -> Iterator[_Place]:
    """A temporary place; with seeds, beside a store whose runs all have results."""
    with tempfile.TemporaryDirectory() as folder:
        runs = 0
        if seeds:
            plan, store = large_plan(seeds), Store(Path(folder) / "results", "paper")
            runs = fill_runs(store, plan).runs
            fill_order(store, plan)
        yield _Place(Path(folder), runs)
