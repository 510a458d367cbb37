"""`amlris weights`: which weight files are needed and found, what a file holds, the same weights in another form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from amlrepro.errors import UserError, unknown_name

if TYPE_CHECKING:
    from torch import Tensor

    from amlrepro.models.contract import RISModel

app = typer.Typer(help="List, check and convert weight files.", no_args_is_help=True)

Form = Literal["ours", "official"]
SUFFIX: dict[str, str] = {"ours": ".safetensors", "official": ".pth"}
File = Annotated[Path, typer.Argument(help="A weight file: official, converted, or a checkpoint of a run.")]
Model = Annotated[str, typer.Option("--model", help="Which model it is of.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


@app.command("list")
def list_weights(
    model: Annotated[str | None, typer.Option("--model", help="Only this model's.")] = None,
    size: Annotated[str | None, typer.Option("--size", help="Size of the models.", show_default="base")] = None,
    as_json: Json = False,
) -> None:
    """The public weights that the models start from, and where they lie on this machine."""
    from amlrepro.models.registry import model_names

    names = model_names() if model is None else (model,)
    rows = [row for name in names for row in _needed(name, size)]
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table("model", "part", "weights", "where")
    for row in rows:
        table.add_row(row["model"], row["part"], row["name"], row["path"] or "[red]not found[/red]")
    console.print(table)
    for row in {row["name"]: row for row in rows if row["path"] is None}.values():
        console.print(
            f"{row['name']}: {row['get']}; then set {row['setting']}=FILE or {row['variable']}=FILE",
            highlight=False,
            markup=False,
        )


@app.command()
def check(file: File, model: Model = "caris", as_json: Json = False) -> None:
    """Say what a file is and load it strictly: names, shapes, sizes. Exit code 2 when it does not load."""
    loaded, origin, tensors = _open(file, model)
    from amlrepro.models.converted import vocabulary_size

    known = _official(model).to_official(loaded) if origin == "official" else loaded.state_dict()
    options: Any = getattr(loaded, "options", None)
    found: dict[str, Any] = {
        "file": str(file),
        "model": model,
        "origin": origin,
        "tensors": len(tensors),
        "parameters": sum(p.numel() for p in loaded.parameters()),
        "mapped": sum(1 for key in tensors if key in known),
        "not needed": sorted(key for key in tensors if key not in known),
        "left over": [],
        "vocabulary": vocabulary_size(loaded),
        "sizes": options.model_dump(mode="json") if options is not None else {},
    }
    if as_json:
        typer.echo(json.dumps(found, indent=1))
        return
    typer.echo(f"{file}: {origin} weights of {model}, {found['parameters']:,} parameters")
    typer.echo(f"  {found['tensors']} tensors: {found['mapped']} mapped, none missing, none left over")
    if found["not needed"]:
        shown = ", ".join(found["not needed"][:4])
        more = len(found["not needed"]) - 4
        typer.echo(
            f"  {len(found['not needed'])} known and not needed: {shown}{f' and {more} more' if more > 0 else ''}"
        )
    typer.echo("  " + ", ".join(f"{key} {value}" for key, value in found["sizes"].items()))
    typer.echo(f"  vocabulary {found['vocabulary']}")


@app.command()
def convert(
    file: File,
    out: Annotated[Path, typer.Argument(help="Where to write: .safetensors (ours) or .pth (official).")],
    to: Annotated[str, typer.Option("--to", help="ours or official.")],
    model: Model = "caris",
    force: Annotated[bool, typer.Option("--force", help="Replace OUT if it exists.")] = False,
) -> None:
    """The same weights under our names as safetensors, or under the official names as the official code loads them."""
    if to not in SUFFIX:
        raise unknown_name("form", to, SUFFIX, "--to")
    if out.suffix != SUFFIX[to]:
        raise UserError(f"--to {to} writes a {SUFFIX[to]} file", where=out, expected=out.with_suffix(SUFFIX[to]))
    if out.exists() and not force:
        raise UserError("this file exists", where=out, hint="choose another name, or replace it with --force")
    loaded, _, _ = _open(file, model)
    if to == "ours":
        from amlrepro.models.converted import write_converted

        write_converted(out, model, loaded)
    else:
        from amlrepro.models.checkpoint_file import write_torch

        write_torch(out, {"model": _official(model).to_official(loaded)})
    typer.echo(f"{out}: {sum(p.numel() for p in loaded.parameters()):,} parameters of {model}, {to} form")


def _needed(name: str, size: str | None) -> list[dict[str, Any]]:
    """Rows of `weights list` for one model, at its first size unless another is asked for."""
    from amlrepro.config import RunConfig
    from amlrepro.models.backbones.locate import locate
    from amlrepro.models.registry import get_spec
    from amlrepro.suite.settings import load_settings
    from amlrepro.suite.weights import needed_weights

    settings = load_settings()
    given = {"vision": settings.vision_weights, "text": settings.text_weights}
    spec = get_spec(name)
    config = RunConfig().with_changes({"model": {"name": name, "size": size or next(iter(spec.sizes))}}, "--size")
    spec.resolve_options(config)
    rows = []
    for part, needed in needed_weights(config).items():
        path = locate(needed, given.get(part))
        rows.append(
            {
                "model": name,
                "part": part,
                "name": needed.name,
                "path": None if path is None else str(path),
                "setting": needed.setting,
                "variable": needed.variable,
                "get": needed.get,
            }
        )
    return rows


def _open(file: Path, name: str) -> tuple[RISModel, str, dict[str, Tensor]]:
    """The model a file holds, what kind of file it is (`official`, `converted`, `run`), and its tensors."""
    from amlrepro.models.registry import get_spec

    spec = get_spec(name)
    if not file.is_file():
        raise UserError("no such weight file", where=file)
    from amlrepro.engine import checkpoint
    from amlrepro.models import load_official
    from amlrepro.models.checkpoint_file import read_tensors
    from amlrepro.models.converted import converted_header

    if checkpoint.is_ours(file):
        model, _, config = checkpoint.load_for_evaluation(file)
        if config.model.name != spec.name:
            raise UserError("weights of another model", where=file, found=config.model.name, expected=name)
        return model, "run", checkpoint.read(file, "model")
    tensors = read_tensors(file)
    if converted_header(file) is not None:
        return load_official(name, file), "converted", tensors
    return load_official(name, file), "official", tensors


def _official(name: str) -> Any:
    """The module that knows a model's official names."""
    from importlib import import_module

    from amlrepro.models.registry import get_spec

    spec = get_spec(name)
    if spec.official is None:
        raise UserError(f"model {name!r} has no official checkpoints")
    return import_module(spec.official.partition(":")[0])
