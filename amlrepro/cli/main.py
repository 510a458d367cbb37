"""The `amlris` command: registers the subcommands and turns user errors into one message and exit code 2."""

from __future__ import annotations

import sys

import typer

from amlrepro.errors import UserError

app = typer.Typer(
    name="amlris",
    help="Rerun the experiments of AMLRIS (ICLR 2026) and set the results beside the printed numbers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    add_completion=False,
)


def main() -> None:
    """Entry point of the console script."""
    try:
        app()
    except UserError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("interrupted; give the same command again to go on from the last checkpoint", err=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
