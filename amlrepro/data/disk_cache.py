"""Arrays kept on disk for all processes and runs, bounded in size; may be deleted at any time. Torch-free.

Nothing depends on it: what is missing, damaged or removed meanwhile is made anew, and a cache that cannot be written
to (a full disk, no permission) is only read. What keeps a wrong array out is the key, which its owner takes from all
that the array follows from.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import os
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from amlrepro.data.segments import DATA, INDEX, ROW_BYTES, Array, Entry, Segment, Writer, remove, segments

IDLE = 3600.0  # seconds without use after which a segment may make room for others
TOUCH = 600.0  # seconds between two signs that a segment is in use
AGAIN = 600.0  # seconds after which a full cache is looked at again
SEGMENT, GRANT = 256 << 20, 32 << 20  # most bytes of a segment; bytes between two looks at the room there is
RESERVE = 10 << 30  # bytes of the disk that are left to others

_log = logging.getLogger("amlrepro.data")


class DiskCache:
    """Flat arrays of bytes under keys of 16 bytes; may be used from several threads.

    They lie in `root/kind`; at most `limit` bytes in all kinds together, which each process that writes may exceed by
    1/32 of it or 32 MiB. When there is no room, segments make some that no process has used for an hour; else what
    comes new is not kept: with least-recently-used a cache that is smaller than one epoch would keep nothing in time.
    """

    def __init__(self, root: Path, kind: str, limit: int, reserve: int = RESERVE) -> None:
        self.root, self.folder, self.limit, self.reserve = root, root / kind, limit, reserve
        self._entries: dict[bytes, Entry] = {}
        self._checked: set[Entry] = set()
        self._segments: dict[str, Segment] = {}
        self._writer: Writer | None = None
        self._granted = 0  # bytes that may be written before the next look at the room
        self._lock = threading.RLock()
        self._next_look = self._next_touch = self._closed_until = -math.inf
        self._told: set[str] = set()

    def get(self, key: bytes, make: Callable[[], Array], *, packed: bool = False) -> Array:
        """The flat array under `key`, made by `make` and kept when it is not there. packed: compressed on disk."""
        found = self.find(key)
        if found is None:
            found = make().reshape(-1)
            self._keep(key, found, packed)
        return found

    def find(self, key: bytes) -> Array | None:
        """The array under `key`, None when there is none; the first time in this process its checksum is tested."""
        if time.monotonic() > self._next_touch:
            self._tend()
        entry = self._entries.get(key)
        if entry is None:
            with self._lock:
                self._look()
            entry = self._entries.get(key)
        if entry is None:
            return None
        found = self._read(entry)
        if found is None:
            self._entries.pop(key, None)
        return found

    def _read(self, entry: Entry) -> Array | None:
        payload = entry.segment.read(entry)
        if payload is None:
            return None
        if entry not in self._checked:
            if zlib.crc32(payload.data) != entry.checksum:
                self._damaged(entry.segment)
                return None
            self._checked.add(entry)
        try:
            return np.frombuffer(zlib.decompress(payload.data), dtype=np.uint8) if entry.packed else payload
        except zlib.error:
            return None

    def _look(self, *, anyway: bool = False) -> None:
        """Learn what other processes have written and removed. Costs at most a fifth of the time that passes."""
        start = time.monotonic()
        if start < self._next_look and not anyway:
            return
        try:
            names = {entry.name[: -len(INDEX)] for entry in os.scandir(self.folder) if entry.name.endswith(INDEX)}
        except OSError:
            names = set()
        for name in self._segments.keys() - names:
            self._drop(name)
        for name in names:
            segment = self._segments.setdefault(name, Segment(self.folder / name))
            for key, entry in segment.new_rows():
                self._entries.setdefault(key, entry)
        now = time.monotonic()
        self._next_look = now + 5 * (now - start)

    def _tend(self) -> None:
        """Every ten minutes: say which segments are in use, let go of those that were removed."""
        with self._lock:
            self._next_touch = time.monotonic() + TOUCH
            self._look(anyway=True)
            for segment in self._segments.values():
                if segment.used:
                    segment.touch()

    def _drop(self, name: str) -> None:
        segment = self._segments.pop(name)
        segment.forget()
        for key, entry in list(self._entries.items()):
            if entry.segment is segment:
                self._entries.pop(key, None)
                self._checked.discard(entry)

    def _damaged(self, segment: Segment) -> None:
        """Remove a segment with wrong bytes, unless it was written to lately: then they are perhaps not there yet."""
        with self._lock, contextlib.suppress(OSError):
            if time.time() - segment.stem.with_suffix(DATA).stat().st_mtime > TOUCH:
                remove(segment.stem)
                self._look(anyway=True)

    def _keep(self, key: bytes, array: Array, packed: bool) -> None:
        if self._closed_until > time.monotonic():
            return
        plain = np.ascontiguousarray(array).data
        payload = memoryview(zlib.compress(plain, 1)) if packed else plain
        with self._lock:
            self._look()
            if key in self._entries:  # another process was faster
                return
            try:
                length = len(payload) + ROW_BYTES
                writer = self._open_writer(length)
                if writer is not None:
                    self._entries[key] = writer.append(key, payload, packed)
                    self._granted -= length
            except OSError as error:
                self._give_up(error)

    def _open_writer(self, length: int) -> Writer | None:
        """Where `length` bytes may be written; None when the cache is full."""
        writer = self._writer
        if writer is not None and (writer.process != os.getpid() or writer.vanished()):
            self._writer, self._granted = None, 0
        if self._granted < length:
            self._granted = max(self._grant_bytes, length)
            if not self._has_room(self._granted):
                self._closed_until, self._granted = time.monotonic() + AGAIN, 0
                return None
        if self._writer is None or (self._writer.size > 0 and self._writer.size + length > self._segment_bytes):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._writer = Writer(self.folder)
            self._segments[self._writer.stem.name] = self._writer.segment
        return self._writer

    def _has_room(self, length: int) -> bool:
        """Whether `length` more bytes fit, once segments have gone that nobody uses."""
        files = segments(self.root)
        excess = sum(segment.size for segment in files) + length - self.limit
        for segment in files:
            if excess > 0 and segment.used < time.time() - IDLE:
                remove(segment.stem)
                excess -= segment.size
        if excess > 0:
            self._say(f"the cache of network inputs is full ({_size(self.limit)}): the rest is made at each visit")
            return False
        existing = next(path for path in (self.root, *self.root.parents) if path.exists())
        disk = os.statvfs(existing)
        if disk.f_bavail * disk.f_frsize - length < self.reserve:
            self._say(f"no network inputs are kept on a disk with less than {_size(self.reserve)} free")
            return False
        return True

    def _give_up(self, error: OSError) -> None:
        """Write no more in this process; on a full disk what was written last makes room for what matters more."""
        writer, self._writer, self._closed_until = self._writer, None, math.inf
        if writer is not None and error.errno in (errno.ENOSPC, errno.EDQUOT):
            remove(writer.stem)
            self._look(anyway=True)
        self._say(f"network inputs are not kept any more: {error.strerror or error}")

    def _say(self, what: str) -> None:
        if what not in self._told:
            self._told.add(what)
            _log.warning("%s (%s; see `amlris data cache`)", what, self.root)

    @property
    def _segment_bytes(self) -> int:
        return min(SEGMENT, self.limit // 16)

    @property
    def _grant_bytes(self) -> int:
        return min(GRANT, self.limit // 32)


def _size(size: int) -> str:
    return f"{size / (1 << 30):.3g} GiB"
