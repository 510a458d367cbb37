"""Where the experiment files lie."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from amlrepro.errors import UserError


def experiments_folder() -> Path:
    """The folder of experiment files: `AMLRIS_EXPERIMENTS`, else `experiments/` beside the package."""
    return _folder(os.environ.get("AMLRIS_EXPERIMENTS"))


@cache
def _folder(named: str | None) -> Path:
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "experiments"
    if not folder.is_dir():
        raise UserError(
            "the folder of experiment files is missing",
            where=folder,
            hint="set AMLRIS_EXPERIMENTS to the project's experiments/ folder",
        )
    return folder
