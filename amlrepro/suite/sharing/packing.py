"""Runs packed into one file, an archive (`sharing/archive.py` tells what that is)."""

from __future__ import annotations

import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import amlrepro
from amlrepro.config import VERSIONS
from amlrepro.errors import UserError
from amlrepro.files import atomic_path
from amlrepro.suite.lease import held
from amlrepro.suite.sharing.archive import Archive, Watch
from amlrepro.suite.sharing.manifest import MANIFEST, Manifest, ManifestFile, digest
from amlrepro.suite.sharing.origins import check_laboratory, read_origin
from amlrepro.suite.sharing.scrub import LEFT_OUT, SharedFile, shared_files
from amlrepro.suite.store import Store, is_stale

SUFFIX = ".zip"
_DATE = (1980, 1, 1, 0, 0, 0)
_PACKED = (".json", ".jsonl", ".yaml")  # the rest is compressed already, or noise


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
