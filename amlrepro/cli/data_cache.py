"""`amlris data cache`: what is kept of resized pictures and masks, where, and removing it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from amlrepro.cli.options import JsonOption, wide_console


def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Remove all of it; runs that use it go on.")] = False,
    folder: Annotated[
        Path | None, typer.Option("--dir", help="Folder in place of AMLRIS_CACHE: what a run has as exec.cache_dir.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the cache of network inputs: by protocol its arrays, its size, when it was last used."""
    from amlrepro.data.inputs import cache_folder
    from amlrepro.data.segments import remove, segments

    place = cache_folder(str(folder) if folder else None)
    files = segments(place) if place else []
    if clear:
        for segment in files:
            remove(segment.stem)
    kinds = {
        name: {
            "arrays": sum(segment.entries for segment in files if segment.stem.parent.name == name),
            "bytes": sum(segment.size for segment in files if segment.stem.parent.name == name),
            "used": max(segment.used for segment in files if segment.stem.parent.name == name),
        }
        for name in sorted({segment.stem.parent.name for segment in files})
    }
    if as_json:
        typer.echo(json.dumps({"folder": str(place) if place else None, "cleared": clear, "kinds": kinds}, indent=1))
        return
    console = wide_console()
    console.print(f"cache of network inputs: {place or 'off (AMLRIS_CACHE)'}", markup=False)
    for name, of in kinds.items():
        hours = (time.time() - of["used"]) / 3600
        size = f"{of['bytes'] / (1 << 30):.2f} GiB"
        console.print(f"  {name}: {of['arrays']:,} arrays, {size}, last used {hours:.1f} hours ago")
    if clear:
        console.print(f"removed {sum(segment.size for segment in files) / (1 << 30):.2f} GiB")
    elif not kinds:
        console.print("  nothing is kept")
