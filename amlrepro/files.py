"""Files that are never half-written. Imported by every room; imports only `errors` and `machine`."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from amlrepro.errors import UserError
from amlrepro.machine import is_dead, writer

guards: list[Callable[[Path], None]] = []  # called with a path before what was written takes its place there


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full disk or a missing permission into a `UserError` that names the path."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(
                "the disk is full", where=path, hint="free some space, then give the same command again: it resumes"
            ) from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise UserError("cannot write here", where=path, found=os.strerror(error.errno)) from error
        raise


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is flushed to disk and renamed to `path`, else removed."""
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.{writer()}.", suffix=".tmp")
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            with temporary.open("rb+") as f:
                os.fsync(f.fileno())
            os.chmod(temporary, 0o666 & ~_umask())
            guard(path)
            os.replace(temporary, path)
            _sync_directory(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def guard(path: Path) -> None:
    """Ask all `guards` before something is written to `path`."""
    for ask in list(guards):
        ask(path)


def temporary(folder: Path) -> Iterator[Path]:
    """Temporary files anywhere in a folder: ours, and those of the safetensors library."""
    for within, _, names in os.walk(folder):  # folders that vanish meanwhile are passed over
        yield from (Path(within, name) for name in names if name.startswith(".tmp") or _is_ours(name))


def sweep(folder: Path, dead: str | None = None) -> list[Path]:
    """Remove temporary files that killed processes of this machine left anywhere in a folder; returns them.

    dead: a writer, as `machine.writer` names it, that is known to live no more, wherever it was.
    """
    removed = []
    for path in temporary(folder):
        parts = path.name.split(".")
        if len(parts) > 3 and (parts[-3] == dead or is_dead(parts[-3])):
            path.unlink(missing_ok=True)
            removed.append(path)
    return removed


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 to `path` atomically."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON to `path` atomically."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The JSON value in `path`; a `UserError` names the file when it does not parse."""
    try:
        return json.loads(path.read_bytes().decode("utf-8"))  # JSON needs no translation of line ends
    except json.JSONDecodeError as error:
        raise UserError("not a JSON file", where=path, found=str(error)) from error


def append_jsonl(path: Path, row: dict[str, Any]) -> None:
    """Append one row to a JSON-lines file in one write."""
    guard(path)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps(row, ensure_ascii=False).encode() + b"\n"
        with path.open("ab") as f:
            if f.tell():  # a torn last line of a killed process must not swallow this row
                with path.open("rb") as r:
                    r.seek(-1, os.SEEK_END)
                    if r.read(1) != b"\n":
                        line = b"\n" + line
            f.write(line)


def read_jsonl(path: Path, having: re.Pattern[bytes] | None = None) -> list[dict[str, Any]]:
    """Rows of a JSON-lines file; lines that do not parse (torn by a kill) are left out. No file: no rows.

    having: what a line must have somewhere; others are not parsed, which takes most of the time.
    """
    if not path.exists():
        return []
    rows = []
    for line in path.read_bytes().split(b"\n"):
        if having is not None and having.search(line) is None:
            continue
        with contextlib.suppress(ValueError):
            row = json.loads(line)
            if isinstance(row, dict):
                rows.append(row)
    return rows


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with path.open("rb") as f:
        digest = hashlib.sha256()
        while chunk := f.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def canonical_hash(value: Any, length: int = 12) -> str:
    """First `length` hexadecimal digits of the SHA-256 of `value` as canonical JSON (sorted keys, no spaces)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def _is_ours(name: str) -> bool:
    return name.startswith(".") and name.endswith(".tmp")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_directory(folder: Path) -> None:
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
