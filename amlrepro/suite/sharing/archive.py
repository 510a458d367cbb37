"""An archive of runs, opened with no trust in it (`sharing/packing.py` makes them).

An archive is a zip: `manifest.json`, then `runs/<run_id>/...` in alphabetical order, all dated 1980, so that the same
runs give the same bytes. It is known by the SHA-256 of its manifest, which names the SHA-256 of every file.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from amlrepro.errors import UserError
from amlrepro.rundir import RunDir
from amlrepro.suite.sharing.contents import check_run
from amlrepro.suite.sharing.manifest import (
    LARGEST_MANIFEST,
    MANIFEST,
    MOST_FILES,
    ManifestFile,
    digest,
    read_manifest,
)

_MOST_TIMES = 200  # how many times an archive's size its files may have together, and _ALLOWANCE bytes
_ALLOWANCE = 64 << 20
_BLOCK = 1 << 20
# What the library raises for files that are no zip, torn, or made to confuse it.
_DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, struct.error, OSError, EOFError),
    *(ValueError, OverflowError, IndexError, NotImplementedError, RuntimeError),
)
Watch = Callable[[int, int], None]  # bytes done, bytes in all


class Archive:
    """An archive that has been opened: its manifest is sound, and it holds the files the manifest names, no others.

    Their bytes are checked when they are taken out. Raises `UserError` for everything that is not as it should be.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise UserError("no such file" if not path.exists() else "not a file", where=path)
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except _DAMAGED as error:
            if not _begins_as_one(path):
                expected = "a zip file that `amlris export` made"
                raise UserError("not an archive of runs", where=path, expected=expected) from None
            hint = "it may be torn: have it sent again"
            raise UserError("not an archive, or not all of it", where=path, found=str(error), hint=hint) from error
        try:
            self._entries = self._read_entries()
            data = self._read_manifest()
            self.digest = digest(data)
            self.manifest = read_manifest(data, path)
            self._agree()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._zip.close()

    @property
    def size(self) -> int:
        """Bytes of all files together, unpacked."""
        return sum(file.size for file in self.manifest.files)

    def take_out(self, run_id: str, folder: Path, watch: Callable[[int], None] | None = None) -> RunDir:
        """Write a run's files into the new folder `folder/runs/<run_id>`, and check them: each against its hash, all
        together against each other. watch(bytes) is called now and then."""
        run = RunDir(folder / "runs" / run_id)
        for name, file in self.manifest.of_run(run_id).items():
            target = run.path / name  # of a shape that the manifest's check lets through
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as sink:
                self._copy(file, sink.write, watch)
        check_run(run)
        return run

    def _read_entries(self) -> dict[str, zipfile.ZipInfo]:
        """What the zip holds, by name: plain files, each once."""
        found = self._zip.infolist()
        if len(found) > MOST_FILES + 1:
            raise UserError("too many files in one archive", where=self.path, found=len(found))
        entries = {info.filename: info for info in found}
        for info in found:
            kind = stat.S_IFMT(info.external_attr >> 16)
            plain = kind in (0, stat.S_IFREG) and not info.is_dir() and not info.flag_bits & 0x1
            if not plain or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise UserError("the archive holds what is no plain file", where=self.path, found=repr(info.filename))
            if info.filename != info.orig_filename:
                raise UserError("a name with odd characters", where=self.path, found=repr(info.orig_filename[:200]))
        if len(entries) != len(found):
            raise UserError("the archive holds a file twice", where=self.path)
        return entries

    def _read_manifest(self) -> bytes:
        info = self._entries.get(MANIFEST)
        if info is None:
            raise UserError(f"the archive has no {MANIFEST}", where=self.path, expected="one that `amlris export` made")
        if info.file_size > LARGEST_MANIFEST:
            raise UserError("the manifest is too large", where=self.path, found=f"{info.file_size:,} bytes")
        parts: list[bytes] = []
        self._read(MANIFEST, parts.append, None)
        return b"".join(parts)

    def _agree(self) -> None:
        """The manifest names what is there, with its size, and nothing that could fill the disk."""
        named = {file.path: file for file in self.manifest.files}
        there = self._entries.keys() - {MANIFEST}
        for what, names in (("lacks a file that", named.keys() - there), ("holds a file that", there - named.keys())):
            if names:
                told = "its manifest names" if what.startswith("lacks") else "its manifest does not name"
                more = f" and {len(names) - 1} more" if len(names) > 1 else ""
                raise UserError(f"the archive {what} {told}", where=self.path, found=f"{sorted(names)[0]!r}{more}")
        for name, file in named.items():
            if self._entries[name].file_size != file.size:
                found = f"{name}: {self._entries[name].file_size:,} bytes"
                raise UserError("a file has another size", where=self.path, found=found, expected=f"{file.size:,}")
        most = _MOST_TIMES * self.path.stat().st_size + _ALLOWANCE
        if self.size > most:
            found = f"{self.size:,} bytes in a file of {self.path.stat().st_size:,}"
            raise UserError("the archive unpacks to far more than runs do", where=self.path, found=found)

    def _copy(self, file: ManifestFile, sink: Callable[[bytes], object], watch: Callable[[int], None] | None) -> None:
        hasher = hashlib.sha256()

        def both(block: bytes) -> None:
            hasher.update(block)
            sink(block)

        self._read(file.path, both, watch)
        if hasher.hexdigest() != file.sha256:
            raise UserError(
                "a file is not the one that the manifest names",
                where=f"{self.path}: {file.path}",
                found=f"SHA-256 {hasher.hexdigest()[:16]}...",
                expected=f"{file.sha256[:16]}...",
                hint="the archive was changed or damaged: have it sent again",
            )

    def _read(self, name: str, sink: Callable[[bytes], object], watch: Callable[[int], None] | None) -> None:
        """Hand on a file's bytes: as many as its entry says, never more."""
        with self._legible(name):
            source = self._zip.open(self._entries[name])
        with source:
            while True:
                with self._legible(name):
                    block = source.read(_BLOCK)
                if not block:
                    return
                sink(block)
                if watch:
                    watch(len(block))

    @contextlib.contextmanager
    def _legible(self, name: str) -> Iterator[None]:
        """What the library says of a damaged entry, as one error."""
        try:
            yield
        except _DAMAGED as error:
            raise UserError(
                "a file in the archive cannot be read",
                where=f"{self.path}: {name}",
                found=str(error) or type(error).__name__,
                hint="the archive was changed or damaged: have it sent again",
            ) from error


def require_space(folder: Path, size: int) -> None:
    """Raise `UserError` when so many bytes do not fit beside what is in a folder."""
    free = shutil.disk_usage(folder).free
    if size > free:
        raise UserError(
            "the disk has not enough room", where=folder, found=f"{free:,} bytes free", expected=f"{size:,}"
        )


def _begins_as_one(path: Path) -> bool:
    """Whether a file begins as a zip does, as far as it goes; a torn one does too."""
    try:
        with path.open("rb") as f:
            return b"PK".startswith(f.read(2))
    except OSError:
        return True
