"""`amlris bench`: what AML's stage one costs, measured side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def bench(
    profile: Annotated[str, typer.Option(help="Whose sizes are timed: demo (CPU) or paper (GPU).")] = "demo",
    rounds: Annotated[int, typer.Option(min=4, help="Alternating rounds after the warm-up.")] = 30,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    out: Annotated[Path, typer.Option(help="Folder for the JSON result.")] = Path("results/bench"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the JSON instead of a table.")] = False,
) -> None:
    """Time a training step of CARIS against the same step with AML, alternating; write the ratio and its spread."""
    import json

    import torch
    from rich.console import Console
    from rich.table import Table

    from amlrepro.engine.bench import bench_pair
    from amlrepro.files import write_json
    from amlrepro.suite.profile import bench_configs

    torch.set_num_threads(threads)
    configs = bench_configs(profile)
    vocabulary = 30522 if profile == "paper" else 128
    result = bench_pair(f"stage_one_{profile}", configs, vocab_size=vocabulary, rounds=rounds, warmup=3)
    write_json(out / f"{result['name']}.json", result)
    if as_json:
        typer.echo(json.dumps(result))
        return
    table = Table(title=f"Training step, {profile} sizes, {result['device']}, {rounds} rounds")
    table.add_column("side")
    table.add_column("median s", justify="right")
    table.add_column("quartiles", justify="right")
    for side, spread in result["seconds"].items():
        table.add_row(side, f"{spread['median']:.4f}", f"{spread['q1']:.4f} to {spread['q3']:.4f}")
    ratio = result["ratio"]
    table.add_row("ratio", f"{ratio['median']:.3f}", f"{ratio['q1']:.3f} to {ratio['q3']:.3f}")
    Console().print(table)
