"""One writer a run: a lease file with an owner, kept alive by a heartbeat. Works on a shared file system.

Clocks of different hosts are never compared. An owner on this host is judged by its process; any other by whether
the heartbeat file changes while this process watches it on its own monotonic clock.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from amlrepro import files
from amlrepro.errors import UserError
from amlrepro.files import disk_errors
from amlrepro.machine import machine, process_start, writer
from amlrepro.rundir import RunDir
from amlrepro.suite.cancel import REASON, cancel_requested

if TYPE_CHECKING:
    from filelock import FileLock

BEAT_SECONDS = 5.0
PAUSE_SECONDS = 15.0  # without a look at the lease, after which nothing is written before the next look
LOST = "another process took over the run"
EXPIRY_SECONDS = 90.0  # longer than shared file systems cache a file's attributes


@dataclass(frozen=True)
class Owner:
    """Who holds a lease. machine: host, boot, process namespace; started: the process's start, against reused ids."""

    token: str
    host: str
    machine: str
    pid: int
    started: str

    @classmethod
    def me(cls) -> Owner:
        """This process, with a token of its own."""
        pid = os.getpid()
        return cls(uuid.uuid4().hex, socket.gethostname(), machine(), pid, process_start(pid) or "")

    def alive(self) -> bool | None:
        """Whether the owning process lives; None where only its heartbeat can tell (another host)."""
        if self.machine != machine():
            return None
        start = process_start(self.pid)
        return start is not None and start == self.started


class LeaseHeld(UserError):
    """Another process is at work on the run."""


class Lease:
    """The right to write in a run's folder, held until `release` (or the end of the `with` block).

    A thread renews the heartbeat and checks that the lease is still ours; `on_lost` is called from that thread when it
    is not (this process was suspended for so long that another took over), and once when somebody asks to cancel the
    run, or when `watch_parent` is given and that process is gone. Files of the run that are written after a pause are
    held back until the lease has been looked at, so that a process that was suspended spoils nothing.
    """

    def __init__(self, run: RunDir, owner: Owner, on_lost: Callable[[str], None], watch_parent: int | None) -> None:
        self.run = run
        self.owner = owner
        self._on_lost = on_lost
        self._parent = watch_parent
        self._stop = threading.Event()
        self._looked = time.monotonic()
        self._thread = threading.Thread(target=self._keep_alive, name="heartbeat", daemon=True)
        run.beat()
        files.guards.append(self._guard)
        self._thread.start()

    def release(self) -> None:
        """Stop the heartbeat and give the lease back."""
        self._stop.set()
        self._thread.join()
        files.guards.remove(self._guard)
        if self._still_ours():
            lease_path(self.run).unlink(missing_ok=True)

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _still_ours(self) -> bool:
        owner = read_owner(self.run)
        return owner is not None and owner.token == self.owner.token

    def _guard(self, path: Path) -> None:
        """Called before a file takes its place: after a pause, the lease may be another's."""
        if time.monotonic() - self._looked < PAUSE_SECONDS or not path.is_relative_to(self.run.path):
            return
        if not self._still_ours():
            self._on_lost(LOST)
            raise LeaseHeld(LOST, where=self.run.path)
        self._looked = time.monotonic()

    def _keep_alive(self) -> None:
        told = False
        while not self._stop.wait(1.0):
            reason = self._reason_to_end()
            if reason is not None and not told:
                told = True  # saving may take a while: the heartbeat goes on
                self._on_lost(reason)
            if time.monotonic() - self._looked < BEAT_SECONDS:
                continue
            if not self._still_ours():
                self._on_lost(LOST)
                return
            self._looked = time.monotonic()
            with contextlib.suppress(OSError):  # a full disk must not end a training that could still finish
                self.run.beat()

    def _reason_to_end(self) -> str | None:
        if self._parent is not None and os.getppid() != self._parent:
            return "the process that started this one is gone"
        return REASON if cancel_requested(self.run) else None


def lease_path(run: RunDir) -> Path:
    """The lease file of a run."""
    return run.path / "lease.json"


def read_owner(run: RunDir) -> Owner | None:
    """Who holds the run, None when nobody does."""
    try:
        return Owner(**json.loads(lease_path(run).read_text("utf-8")))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError):
        return Owner("", "unknown", "unknown", 0, "")


def acquire(
    run: RunDir,
    on_lost: Callable[[str], None],
    *,
    patience: float = 15.0,
    expiry: float = EXPIRY_SECONDS,
    watch_parent: int | None = None,
) -> Lease:
    """Take the lease of a run. Raises `LeaseHeld` when another process holds it and goes on living.

    patience: seconds to wait for a living owner on this host to let go. expiry: seconds without a heartbeat after which
    an owner elsewhere counts as dead.
    """
    me = Owner.me()
    with disk_errors(run.path):
        run.path.mkdir(parents=True, exist_ok=True)
        while True:
            if _create(run, me):
                _sweep(run)
                return Lease(run, me, on_lost, watch_parent)
            owner = read_owner(run)
            if owner is None:
                continue
            if not _wait_for_end(run, owner, patience, expiry):
                raise LeaseHeld(
                    f"run {run.path.name} is being worked on by another process",
                    where=run.path,
                    found=f"process {owner.pid} on {owner.host}",
                    hint="wait for it, or stop it; then give the same command again",
                )
            if _take_over(run, owner, me):
                _sweep(run, owner)
                return Lease(run, me, on_lost, watch_parent)


def tidy(run: RunDir, *, done: bool = False) -> None:
    """Remove what killed writers left in a run's folder: temporary files, and a lease. Nothing where somebody may be at
    work on the run. done: all that was asked of it is there, so what a replay of milestones left can go as well."""
    if held(run) is not None:
        return
    left = [lease_path(run), *files.temporary(run.path), *([run.replay] if done else [])]
    if any(path.exists() for path in left):
        with contextlib.suppress(LeaseHeld), acquire(run, lambda reason: None, patience=0.0):
            if done:
                shutil.rmtree(run.replay, ignore_errors=True)


def held(run: RunDir) -> Owner | None:
    """The owner of a run unless it is known to be dead. An owner on another host gets the benefit of the doubt."""
    owner = read_owner(run)
    return None if owner is None or owner.alive() is False else owner


def _create(run: RunDir, me: Owner) -> bool:
    """Create the lease with its content in one step (a hard link), or find it there."""
    draft = _draft(run, me)
    try:
        os.link(draft, lease_path(run))
    except FileExistsError:
        # A network file system may carry out a request whose answer is lost, and find the link at the second try.
        return os.stat(draft).st_nlink == 2
    finally:
        draft.unlink(missing_ok=True)
    return True


def _take_over(run: RunDir, dead: Owner, me: Owner) -> bool:
    """Replace a dead owner's lease by ours; False when someone else was faster."""
    with _takeover_lock(run):
        current = read_owner(run)
        if current is None or current.token != dead.token:
            return False
        os.replace(_draft(run, me), lease_path(run))
        return True


def _sweep(run: RunDir, former: Owner | None = None) -> None:
    """Remove temporary files of dead writers; we have just got the lease. former: who had it before, on any host.

    Others write in the folder without the lease now and then (a launcher, a report); what may be theirs stays. Files of
    the safetensors library do not say whose they are, but only who has the lease writes checkpoints.
    """
    # Whether a process of this machine lives can be seen; its number may be another's by now.
    away = former is not None and former.machine != machine()
    files.sweep(run.path, writer(former.machine, former.pid) if away and former else None)
    for folder in (run.checkpoints, RunDir(run.replay).checkpoints):
        for path in folder.glob(".tmp*"):
            path.unlink(missing_ok=True)


def _draft(run: RunDir, me: Owner) -> Path:
    draft = run.path / f".lease.json.{writer()}.{me.token}.tmp"
    draft.write_text(json.dumps(asdict(me)), "utf-8")
    return draft


def _takeover_lock(run: RunDir) -> FileLock:
    from filelock import FileLock

    return FileLock(run.path / ".lease.lock")


def _wait_for_end(run: RunDir, owner: Owner, patience: float, expiry: float) -> bool:
    """True when the lease is given back or its owner is dead, False when the owner lives on."""
    begin, beat = time.monotonic(), last_beat(run)
    while True:
        alive = owner.alive()
        now = read_owner(run)
        if alive is False or now is None or now.token != owner.token:
            return True
        waited = time.monotonic() - begin
        if alive is None and last_beat(run) != beat:
            return False
        if waited >= (patience if alive else expiry):
            return not alive
        time.sleep(0.2)


def last_beat(run: RunDir) -> tuple[int, bytes]:
    """When the heartbeat was last renewed, by the file server's clock, and by whom; to be compared for change only."""
    try:
        with run.heartbeat.open("rb") as f:  # opening makes network file systems look again
            return os.fstat(f.fileno()).st_mtime_ns, f.read()
    except OSError:
        return 0, b""
