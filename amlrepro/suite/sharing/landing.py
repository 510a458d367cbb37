"""An archive taken into a store: all of it is checked first, then each run lands whole, is there already, or conflicts.

Nothing that is there is ever replaced. What is taken out waits in a folder `.import.*` beside the profiles, and a run's
folder appears by being renamed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from amlrepro.errors import UserError
from amlrepro.files import disk_errors
from amlrepro.machine import is_dead, writer
from amlrepro.rundir import RunDir
from amlrepro.suite.lease import LeaseHeld, acquire
from amlrepro.suite.sharing.archive import Archive, Watch, require_space
from amlrepro.suite.sharing.compare import Difference, differences, same_records
from amlrepro.suite.sharing.manifest import Manifest
from amlrepro.suite.sharing.origins import (
    LABS,
    Origin,
    check_laboratory,
    laboratories,
    laboratory_store,
    write_origin,
)
from amlrepro.suite.sharing.scrub import shared_files
from amlrepro.suite.store import Store

Outcome = Literal["imported", "more results", "already there", "conflict", "busy"]
_STAGE = ".import."


@dataclass(frozen=True)
class RunLanding:
    """What became of one run. files: those that landed. differences: of a conflict, ours beside theirs. copies: stores
    (a laboratory's name, or `own runs`) that hold the very same records of it, so that it counts once. reason: of
    `busy`."""

    run_id: str
    outcome: Outcome
    files: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = ()
    copies: tuple[str, ...] = ()
    reason: str | None = None


@dataclass(frozen=True)
class Landed:
    """What became of an archive. store: where its runs are; laboratory: None among one's own runs. ours: it holds only
    what was trained in this store and is there unchanged, so that nothing was to be taken in."""

    store: Store
    laboratory: str | None
    archive: str
    manifest: Manifest
    runs: tuple[RunLanding, ...]
    ours: bool = False

    def count(self, outcome: Outcome) -> int:
        """How many runs ended so."""
        return sum(run.outcome == outcome for run in self.runs)


def import_archive(
    root: Path,
    file: Path,
    *,
    laboratory: str | None = None,
    merge: bool = False,
    own: str | None = None,
    dry_run: bool = False,
    watch: Watch | None = None,
) -> Landed:
    """Check an archive and take its runs into the stores under `root`.

    laboratory: the name to keep it under, instead of the archive's own. merge: among one's own runs, for archives that
    this laboratory made. own: this laboratory's name, where it is known. dry_run: only say what would become of each
    run. An archive of this very store is recognised, whatever name it carries: nothing is made of it. Raises
    `UserError`, with nothing written, for an archive that is damaged, manipulated or not for this place.
    """
    with Archive(file) as archive:
        manifest = archive.manifest
        target, name = _target(root, manifest, laboratory, merge, own)
        origin = Origin(manifest.laboratory, archive.digest, manifest.package, time.time())
        with _stage(root) as stage:
            require_space(stage, archive.size)
            done = 0

            def count(size: int) -> None:
                nonlocal done
                done += size
                if watch:
                    watch(done, archive.size)

            with disk_errors(stage):
                staged = {run_id: archive.take_out(run_id, stage, count) for run_id in manifest.runs}
            home = Store(root, manifest.profile)
            if not merge and all(_is_ours(home, run, manifest) for run in staged.values()):
                there = tuple(RunLanding(run_id, "already there") for run_id in staged)
                return Landed(home, None, origin.archive, manifest, there, ours=True)
            places = [("own runs", home), *laboratories(home)]
            others = [(place, store) for place, store in places if store.folder != target.folder]
            landings = []
            for run_id, run in staged.items():
                copies = tuple(place for place, store in others if same_records(store.run(run_id), run))
                landings.append(_land(target, run, manifest, origin, copies, dry_run))
    return Landed(target, name, origin.archive, manifest, tuple(landings))


def _target(
    root: Path, manifest: Manifest, laboratory: str | None, merge: bool, own: str | None
) -> tuple[Store, str | None]:
    """Where an archive belongs. One's own runs must not come back as another laboratory's: they would count twice."""
    home, sender = Store(root, manifest.profile), manifest.laboratory
    if merge:
        if laboratory is not None:
            raise UserError("--merge and --lab exclude each other")
        if own is not None and own != sender:
            raise UserError(
                "an archive of another laboratory is not merged into one's own runs",
                found=sender,
                expected=own,
                hint="leave out --merge: it is kept apart, and verdicts take it in as a laboratory of its own",
            )
        return home, None
    name = sender if laboratory is None else check_laboratory(laboratory)
    if own is not None and name.casefold() == own.casefold():
        raise UserError(
            f"{name} is this laboratory itself",
            hint="--merge takes the archive into your own runs; --lab NAME keeps it apart under another name",
        )
    for known in sorted(path.name for path in (root / LABS).iterdir()) if (root / LABS).is_dir() else []:
        if known != name and known.casefold() == name.casefold():
            raise UserError("a laboratory of nearly that name is there", found=known, hint=f"--lab {known}, or another")
    return laboratory_store(home, name), name


def _is_ours(home: Store, staged: RunDir, manifest: Manifest) -> bool:
    """Whether a run was trained in this store, and all that the archive has of it is there, to the byte: two trainings
    of one recipe differ at least in when they ran."""
    there = home.run(staged.path.name)
    if not there.config.exists() or there.origin.exists():
        return False
    ours = {file.name: file.sha256 for file in shared_files(there)}
    theirs = manifest.of_run(staged.path.name).items()
    return all(ours.get(name) == file.sha256 for name, file in theirs if not name.startswith("checkpoints/"))


@contextlib.contextmanager
def _stage(root: Path) -> Iterator[Path]:
    """A folder on the store's file system that leaves nothing behind."""
    missing = [folder for folder in (root, *root.parents) if not folder.exists()]
    with disk_errors(root):
        root.mkdir(parents=True, exist_ok=True)
        for old in root.glob(f"{_STAGE}*"):  # of processes that were killed
            if is_dead(old.name.split(".")[2]):
                shutil.rmtree(old, ignore_errors=True)
        stage = Path(tempfile.mkdtemp(prefix=f"{_STAGE}{writer()}.", dir=root))
    try:
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        with contextlib.suppress(OSError):  # not empty: something landed
            for folder in missing:
                folder.rmdir()


def _land(
    target: Store, staged: RunDir, manifest: Manifest, origin: Origin, copies: tuple[str, ...], dry_run: bool
) -> RunLanding:
    run_id = staged.path.name
    there, theirs = target.run(run_id), manifest.of_run(run_id)
    if not there.path.exists():
        if not dry_run and not _appear(staged, there, origin):
            return _land(target, staged, manifest, origin, copies, dry_run)
        return RunLanding(run_id, "imported", tuple(sorted(theirs)), copies=copies)
    if not there.config.exists():
        return RunLanding(run_id, "busy", reason="its folder is there without a configuration", copies=copies)
    ours = {file.name: file.sha256 for file in shared_files(there)}
    new = tuple(sorted(name for name in theirs if name not in ours and not (there.path / name).exists()))
    other = sorted(
        name
        for name, file in theirs.items()
        if name not in new and not name.startswith("checkpoints/") and ours.get(name) != file.sha256
    )
    if other:
        return RunLanding(run_id, "conflict", (), differences(there, staged, other), copies)
    if not new:
        return RunLanding(run_id, "already there", copies=copies)
    if not dry_run:
        try:
            with acquire(there, lambda reason: None, patience=0.0):
                _add(staged, there, new)
                write_origin(there, origin)
        except LeaseHeld as error:
            return RunLanding(run_id, "busy", reason=error.what, copies=copies)
    return RunLanding(run_id, "more results", new, copies=copies)


def _appear(staged: RunDir, there: RunDir, origin: Origin) -> bool:
    """Rename a whole run into place; False when a folder of that name has come into being meanwhile."""
    with disk_errors(there.path):
        write_origin(staged, origin)
        for path in (path for path in staged.path.rglob("*") if path.is_file()):
            with path.open("rb") as f:
                os.fsync(f.fileno())
        there.path.parent.mkdir(parents=True, exist_ok=True)
        if there.path.exists():
            return False
        try:
            os.rename(staged.path, there.path)
        except OSError:
            if there.path.exists():
                return False
            raise
    return True


def _add(staged: RunDir, there: RunDir, names: tuple[str, ...]) -> None:
    """Put further results into a run: what describes a table after the table, so that none is ever half there."""
    for name in sorted(names, key=lambda name: (name.endswith(".json"), name)):
        target = there.path / name
        with disk_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            with (staged.path / name).open("rb") as f:
                os.fsync(f.fileno())
            os.link(staged.path / name, target)  # never replaces
