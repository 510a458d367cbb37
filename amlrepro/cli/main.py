"""The `amlris` command: registers the subcommands and turns user errors into one message and exit code 2."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from amlrepro.cli.ablate import ablate
from amlrepro.cli.arguments import join_lists
from amlrepro.cli.audit import audit
from amlrepro.cli.bench import bench
from amlrepro.cli.cancel import cancel
from amlrepro.cli.claims import claims
from amlrepro.cli.data import app as data_app
from amlrepro.cli.diff import diff
from amlrepro.cli.evaluate import evaluate
from amlrepro.cli.export import export
from amlrepro.cli.gc import gc
from amlrepro.cli.import_ import import_
from amlrepro.cli.import_log import import_log
from amlrepro.cli.logs import logs
from amlrepro.cli.plan import plan
from amlrepro.cli.predict import predict
from amlrepro.cli.readings import readings
from amlrepro.cli.report import report
from amlrepro.cli.retry import retry
from amlrepro.cli.robustness import robustness
from amlrepro.cli.run import run
from amlrepro.cli.status import status
from amlrepro.cli.verify_harness import verify_harness
from amlrepro.cli.weights import app as weights_app
from amlrepro.errors import UserError

app = typer.Typer(
    name="amlris",
    help="Rerun the experiments of AMLRIS (ICLR 2026) and set the results beside the printed numbers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    add_completion=False,
)

for _command in (
    run,
    ablate,
    plan,
    status,
    logs,
    diff,
    cancel,
    retry,
    gc,
    report,
    claims,
    readings,
    audit,
    export,
    import_log,
    robustness,
    evaluate,
    verify_harness,
    predict,
    bench,
):
    app.command()(_command)

app.command("import")(import_)
app.add_typer(data_app, name="data")
app.add_typer(weights_app, name="weights")


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script; `arguments` instead of the process's own, for tests."""
    try:
        app(join_lists(sys.argv[1:] if arguments is None else arguments))
    except UserError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
