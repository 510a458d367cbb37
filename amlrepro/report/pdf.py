"""From a LaTeX document to a PDF, with pdflatex."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from amlrepro.errors import UserError
from amlrepro.files import write_bytes

PDFLATEX_SECONDS = 120
PASSES = 3  # longtable and the table of contents settle over several


def compile_pdf(document_path: Path) -> Path:
    """Compile a document beside the files it takes in with pdflatex and return the PDF.

    pdflatex runs in a folder of its own, in which the document's neighbours are links, so nothing but the PDF is
    written beside the document. Raises `UserError` when it is not installed or fails.
    """
    source = document_path.resolve()
    with tempfile.TemporaryDirectory(prefix="amlris-latex-") as folder:
        for path in source.parent.iterdir():
            if path.is_dir() or path.suffix == ".tex":
                (Path(folder) / path.name).symlink_to(path)
        for _ in range(PASSES):
            _run(folder, source)
        target = document_path.with_suffix(".pdf")
        write_bytes(target, (Path(folder) / target.name).read_bytes())
    return target


def _run(folder: str, source: Path) -> None:
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", source.name]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=PDFLATEX_SECONDS
        )
    except FileNotFoundError as error:
        hint = "install texlive-latex-recommended, or leave --pdf out"
        raise UserError("pdflatex is not installed", where=source, hint=hint) from error
    except subprocess.TimeoutExpired as error:
        raise UserError("pdflatex did not end", where=source, found=f"{PDFLATEX_SECONDS} s") from error
    if done.returncode:
        said = [line for line in done.stdout.splitlines() if line.startswith(("!", "l."))]
        raise UserError("pdflatex failed", where=source, found="; ".join(said[:3]) or done.returncode)
