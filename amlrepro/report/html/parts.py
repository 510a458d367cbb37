"""What a page is given besides tables: figures, and verdicts on cells."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from amlrepro.errors import UserError

CellKey = tuple[str, str, str, str]  # experiment, block, row key, column key
_TYPES = {".svg": "image/svg+xml", ".png": "image/png"}


@dataclass(frozen=True)
class Verdict:
    """What is concluded about a cell. label: a word or two, shown in the cell; text: why, in a sentence."""

    label: str
    text: str


Verdicts = Mapping[CellKey, Verdict]


@dataclass(frozen=True)
class PageFigure:
    """A figure. alt: what a reader who cannot see it should know; files: as saved, SVG and PNG among them; reason: why
    there are none; run_ids: of the runs it shows."""

    experiment: str
    id: str
    title: str
    alt: str
    files: tuple[Path, ...]
    caption: str = ""
    reason: str | None = None
    run_ids: tuple[str, ...] = ()

    def data_uri(self) -> str:
        """The picture inside a URI: SVG, or PNG where the drawing is made of pixels. Raises `UserError` without one."""
        path = _embeddable(self.files)
        if path is None:
            found = ", ".join(p.name for p in self.files) or "nothing"
            raise UserError("a figure has no picture for the page", where=self.id, found=found, expected="SVG or PNG")
        return f"data:{_TYPES[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def _embeddable(files: Iterable[Path]) -> Path | None:
    by_suffix = {path.suffix: path for path in files}
    svg, png = by_suffix.get(".svg"), by_suffix.get(".png")
    if svg is not None and png is not None:
        return png if b"<image" in svg.read_bytes() else svg
    return svg or png
