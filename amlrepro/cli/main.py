"""The `amlris` command: registers the subcommands and turns user errors into one message and exit code 2."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence

import typer

from amlrepro.cli.arguments import join_lists
from amlrepro.cli.plan import plan
from amlrepro.cli.run import run
from amlrepro.cli.status import logs, status
from amlrepro.errors import UserError

app = typer.Typer(
    name="amlris",
    help="Rerun the experiments of AMLRIS (ICLR 2026) and set the results beside the printed numbers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    add_completion=False,
)

app.command()(run)
app.command()(plan)
app.command()(status)
app.command()(logs)
for _name in ("report", "evaluate", "bench"):
    if importlib.util.find_spec(f"amlrepro.cli.{_name}"):
        app.command(_name)(getattr(importlib.import_module(f"amlrepro.cli.{_name}"), _name))
for _name in ("data", "weights"):
    if importlib.util.find_spec(f"amlrepro.cli.{_name}"):
        app.add_typer(importlib.import_module(f"amlrepro.cli.{_name}").app, name=_name)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script; `arguments` instead of the process's own, for tests."""
    try:
        app(join_lists(sys.argv[1:] if arguments is None else arguments))
    except UserError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
