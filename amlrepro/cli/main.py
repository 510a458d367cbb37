"""The `amlris` command: names the subcommands and turns user errors into one message and exit code 2."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from amlrepro.cli.arguments import join_lists
from amlrepro.cli.lazy import Entry, LazyGroup
from amlrepro.errors import UserError

_RUN, _WATCH, _JUDGE = "Run and report", "Watch and steer", "Judge"
_SHARE, _ONE, _INPUT = "Share and compare", "One model", "Inputs and speed"


def _entry(name: str, help_: str, panel: str, target: str = "") -> Entry:
    module = name.replace("-", "_")
    return Entry(name, f"amlrepro.cli.{target or f'{module}:{module}'}", help_, panel)


COMMANDS = (
    _entry("run", "Train and evaluate what tables and figures still miss, then report them.", _RUN),
    _entry("report", "Tables, figures and one HTML page from the results there are.", _RUN),
    _entry("ablate", "Sweep one setting, or two as a grid: a table and plots.", _RUN),
    _entry("robustness", "Score on perturbed pictures: a table, curves over severity.", _RUN),
    _entry("plan", "What would run and cost, and what a budget can decide.", _RUN),
    _entry("status", "How runs stand, what failed and why, which cells are filled.", _WATCH),
    _entry("logs", "The end of a run's log; -f follows it.", _WATCH),
    _entry("cancel", "Stop runs: they save and end, nothing done is lost.", _WATCH),
    _entry("retry", "Do once more what failed.", _WATCH),
    _entry("gc", "List and remove checkpoints that no experiment needs any more.", _WATCH),
    _entry("audit", "The paper by arithmetic: against itself and its released code.", _JUDGE),
    _entry("claims", "The paper's statements, judged by the results there are.", _JUDGE),
    _entry("readings", "Which reading of the method fits the paper's own numbers.", _JUDGE),
    _entry("verify-harness", "Official checkpoints against their published values.", _JUDGE),
    _entry("export", "Runs as one archive; histories for TensorBoard; records as a data set.", _SHARE),
    _entry("import", "Take the runs of another laboratory's archive.", _SHARE, "import_:import_"),
    _entry("import-log", "Numbers from training logs of the official code, marked as such.", _SHARE),
    _entry("diff", "Two runs side by side.", _SHARE),
    _entry("evaluate", "Score a checkpoint, ours or an official one, on a split.", _ONE),
    _entry("predict", "Segment what a sentence names in a picture.", _ONE),
    _entry("data", "Synthesise, check and describe data.", _INPUT, "data:app"),
    _entry("weights", "List, check and convert weight files.", _INPUT, "weights:app"),
    _entry("bench", "What AML costs here, and what each measure for speed brings.", _INPUT),
)


class Commands(LazyGroup):
    """All subcommands of `amlris`."""

    entries = COMMANDS


app = typer.Typer(
    name="amlris",
    cls=Commands,
    help="Rerun the experiments of AMLRIS (ICLR 2026) and set the results beside the printed numbers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    add_completion=False,
)


@app.callback()
def _group() -> None:
    """Makes a group of an application whose commands are not registered but found by name."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script; `arguments` instead of the process's own, for tests."""
    try:
        app(join_lists(sys.argv[1:] if arguments is None else arguments))
    except UserError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
