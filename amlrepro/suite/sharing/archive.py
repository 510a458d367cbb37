"""Runs packed into one file, and that file opened again with no trust in it.

An archive is a zip: `manifest.json`, then `runs/<run_id>/...` in alphabetical order, all dated 1980, so that the same
runs give the same bytes. It is known by the SHA-256 of its manifest, which names the SHA-256 of every file.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import amlrepro
from amlrepro.config import VERSIONS
from amlrepro.errors import UserError
from amlrepro.files import atomic_path
from amlrepro.rundir import RunDir
from amlrepro.suite.lease import held
from amlrepro.suite.sharing.contents import check_run
from amlrepro.suite.sharing.manifest import (
    LARGEST_MANIFEST,
    MANIFEST,
    MOST_FILES,
    Manifest,
    ManifestFile,
    digest,
    read_manifest,
)
from amlrepro.suite.sharing.origins import check_laboratory, read_origin
from amlrepro.suite.sharing.scrub import LEFT_OUT, SharedFile, shared_files
from amlrepro.suite.store import Store, is_stale

SUFFIX = ".zip"
_DATE = (1980, 1, 1, 0, 0, 0)
_PACKED = (".json", ".jsonl", ".yaml")  # the rest is compressed already, or noise
_MOST_TIMES = 200  # how many times an archive's size its files may have together, and _ALLOWANCE bytes
_ALLOWANCE = 64 << 20
_BLOCK = 1 << 20
# What the library raises for files that are no zip, torn, or made to confuse it.
_DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, struct.error, OSError, EOFError),
    *(ValueError, OverflowError, IndexError, NotImplementedError, RuntimeError),
)
Watch = Callable[[int, int], None]  # bytes done, bytes in all


@dataclass(frozen=True)
class Packed:
    """What was packed. digest: SHA-256 of the manifest. left_out: runs that stayed, with the reason. size: in bytes."""

    file: Path
    digest: str
    manifest: Manifest
    left_out: dict[str, str]
    size: int


def export_archive(
    store: Store,
    file: Path,
    run_ids: Sequence[str],
    laboratory: str,
    *,
    checkpoints: bool = False,
    force: bool = False,
    watch: Watch | None = None,
) -> Packed:
    """Pack finished runs of a store into a new file, and check that it can be taken in again.

    Runs that are not finished, stale or another laboratory's stay out. checkpoints: with the weights of `last` and
    `best`. force: replace a file that is there. Raises `UserError` when there is nothing to pack, for a file that is
    there, a wrong suffix, or a run that is changed meanwhile.
    """
    check_laboratory(laboratory)
    if file.suffix != SUFFIX:
        raise UserError("an archive is a zip file", where=file, expected=f"a name that ends in {SUFFIX}")
    if file.exists() and not force:
        raise UserError("the file is there already", where=file, hint="name another one, or add --force to replace it")
    reasons = {run_id: why_not(store, run_id, laboratory) for run_id in sorted(set(run_ids))}
    chosen = [run_id for run_id, reason in reasons.items() if reason is None]
    left_out = {run_id: reason for run_id, reason in reasons.items() if reason is not None}
    if not chosen:
        found = "; ".join(f"{run_id}: {reason}" for run_id, reason in list(left_out.items())[:3]) or "no runs"
        raise UserError("there is nothing to export", where=store.folder, found=found)
    packed = {
        f"runs/{run_id}/{shared.name}": shared
        for run_id in chosen
        for shared in shared_files(store.run(run_id), checkpoints)
    }
    manifest = Manifest(
        package=amlrepro.__version__,
        components={name: number for name, number in sorted(VERSIONS.items()) if number != 1},
        laboratory=laboratory,
        profile=store.profile,
        checkpoints=checkpoints,
        left_out=list(LEFT_OUT),
        runs=chosen,
        files=[ManifestFile(path=path, size=each.size, sha256=each.sha256) for path, each in sorted(packed.items())],
    )
    with atomic_path(file) as temporary:
        _pack(temporary, manifest, packed, watch)
        _verify(temporary, file, manifest)
    return Packed(file, digest(manifest.to_bytes()), manifest, left_out, file.stat().st_size)


def why_not(store: Store, run_id: str, laboratory: str) -> str | None:
    """Why a run is not for an archive of this laboratory; None where it is."""
    run = store.run(run_id)
    if not run.config.exists():
        return "there is nothing of it yet"
    if held(run) is not None:
        return "somebody is at work on it"
    state = str(run.read_state().get("state", "queued"))
    if state != "done":
        return f"it is not finished ({state})"
    if is_stale(run):
        return "it was made by an older version of a component"
    origin = read_origin(run)
    if origin is not None and origin.laboratory != laboratory:
        return f"it is of laboratory {origin.laboratory}"
    return None


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


def _pack(target: Path, manifest: Manifest, files: dict[str, SharedFile], watch: Watch | None) -> None:
    total, done = sum(file.size for file in manifest.files), 0
    with zipfile.ZipFile(target, "w", allowZip64=True) as archive:
        _add(archive, MANIFEST, len(manifest.to_bytes()), [manifest.to_bytes()])
        for file in manifest.files:
            _add(archive, file.path, file.size, files[file.path].blocks())
            done += file.size
            if watch:
                watch(done, total)


def _add(archive: zipfile.ZipFile, name: str, size: int, blocks: Iterable[bytes]) -> None:
    info = zipfile.ZipInfo(name, _DATE)
    info.create_system = 3
    info.external_attr = (stat.S_IFREG | 0o644) << 16
    info.compress_type = zipfile.ZIP_DEFLATED if name.endswith(_PACKED) else zipfile.ZIP_STORED
    info.file_size = size
    with archive.open(info, "w", force_zip64=size >= 1 << 31) as sink:
        for block in blocks:
            sink.write(block)


def _begins_as_one(path: Path) -> bool:
    """Whether a file begins as a zip does, as far as it goes; a torn one does too."""
    try:
        with path.open("rb") as f:
            return b"PK".startswith(f.read(2))
    except OSError:
        return True


def _verify(packed: Path, file: Path, manifest: Manifest) -> None:
    """Take everything out once, as whoever gets the archive will."""
    try:
        with Archive(packed) as archive, tempfile.TemporaryDirectory(dir=file.parent, prefix=".export.") as folder:
            for run_id in manifest.runs:
                shutil.rmtree(archive.take_out(run_id, Path(folder)).path)
    except UserError as error:
        where = str(error.where).replace(str(packed), str(file))
        hint = "is somebody at work on that run? Else look at the file named"
        raise UserError(f"not exported: {error.what}", where=where, found=error.found, hint=hint) from error
