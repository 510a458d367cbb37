"""Files of the cache on disk: a segment holds arrays one after another, and beside it lies an index of them.

A segment has one writer, which only appends: first the bytes, then their row of the index. So nothing that was once
published changes, no lock is needed on a file system that several machines share, and what a killed writer leaves is
bytes without a row, or a torn row. Every row carries a checksum of itself and one of its bytes. Torch-free.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.uint8]
DATA, INDEX = ".data", ".index"
_ROW = struct.Struct("<16sQIII")  # key, offset, length, checksum of the bytes, 1 for packed ones
_SUM = struct.Struct("<I")  # checksum of the row
ROW_BYTES = _ROW.size + _SUM.size


class Entry(NamedTuple):
    """Where an array lies. packed: its bytes are compressed (zlib)."""

    segment: Segment
    offset: int
    length: int
    checksum: int
    packed: bool


class Segment:
    """One segment as a reader sees it; `stem` is its path without the ending."""

    def __init__(self, stem: Path) -> None:
        self.stem = stem
        self.used = False  # since its last use was told to others
        self._told = 0  # bytes of the index that were read
        self._file: _File | None = None
        self._gone = False

    def new_rows(self) -> Iterator[tuple[bytes, Entry]]:
        """Keys and entries that were published since the last call."""
        try:
            with self.stem.with_suffix(INDEX).open("rb", buffering=0) as f:  # opened anew: a network file system then
                f.seek(self._told)  # asks its server for the present size
                rows = f.read()
        except OSError:
            return
        for start in range(0, len(rows) - ROW_BYTES + 1, ROW_BYTES):
            row = rows[start : start + _ROW.size]
            if _SUM.unpack_from(rows, start + _ROW.size)[0] != zlib.crc32(row):
                return
            key, offset, length, checksum, packed = _ROW.unpack(row)
            self._told += ROW_BYTES
            yield key, Entry(self, offset, length, checksum, bool(packed))

    def read(self, entry: Entry) -> Array | None:
        """The bytes of an entry as they lie there; None when the file is gone or too short.

        Read, not mapped into memory: a map of a file that another machine removed kills the process.
        """
        file = self._file
        try:
            if file is None:
                if self._gone:
                    return None
                file = self._file = _File(self.stem.with_suffix(DATA), os.O_RDONLY)
            out = np.empty(entry.length, dtype=np.uint8)
            if os.preadv(file.number, [out.data], entry.offset) != entry.length:
                return None
        except OSError:  # removed, also by another machine (ESTALE)
            return None
        self.used = True
        return out

    def forget(self) -> None:
        """Read no more; the file is closed when no thread reads it, so that its room is free once it is removed."""
        self._gone, self._file = True, None

    def touch(self) -> None:
        """Tell others that this segment is in use, by the index's time of change."""
        self.used = False
        with contextlib.suppress(OSError):
            os.utime(self.stem.with_suffix(INDEX))


class Writer:
    """The one writer of a new segment in a folder; raises `OSError` when it cannot be made."""

    def __init__(self, folder: Path) -> None:
        self.process = os.getpid()  # a forked child must not write here
        self.size = self._rows = 0
        self.stem = folder / secrets.token_hex(8)
        self.segment = Segment(self.stem)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        self._data = _File(self.stem.with_suffix(DATA), flags)
        self._index = _File(self.stem.with_suffix(INDEX), flags)

    def append(self, key: bytes, payload: memoryview, packed: bool) -> Entry:
        """Publish bytes under a key of 16 bytes. After an `OSError` nothing more may be appended."""
        entry = Entry(self.segment, self.size, len(payload), zlib.crc32(payload), packed)
        row = _ROW.pack(key, *entry[1:])
        self.size += len(payload)  # first: whatever interrupts this, published bytes are never written over
        self._data.write(payload, entry.offset)
        self._index.write(memoryview(row + _SUM.pack(zlib.crc32(row))), self._rows * ROW_BYTES)
        self._rows += 1
        return entry

    def vanished(self) -> bool:
        """Whether somebody removed the segment."""
        return not all(self.stem.with_suffix(suffix).exists() for suffix in (DATA, INDEX))


class _File:
    """An open file, closed when nobody refers to it any more: a thread that reads may be the last to do so."""

    def __init__(self, path: Path, flags: int) -> None:
        self.number = os.open(path, flags | os.O_CLOEXEC, 0o666)

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)

    def write(self, data: memoryview, offset: int) -> None:
        while data:
            written = os.pwrite(self.number, data, offset)
            data, offset = data[written:], offset + written


@dataclass(frozen=True)
class Files:
    """The files of a segment on disk: bytes, when it was last used, how many entries."""

    stem: Path
    size: int
    used: float
    entries: int


def segments(folder: Path) -> list[Files]:
    """All segments in the folder's folders, the longest unused first."""
    found: dict[Path, list[tuple[str, os.stat_result]]] = {}
    for suffix in (DATA, INDEX):
        for path in folder.glob(f"*/*{suffix}"):
            with contextlib.suppress(OSError):
                found.setdefault(path.with_suffix(""), []).append((suffix, path.stat()))
    files = [
        Files(
            stem,
            sum(status.st_size for _, status in parts),
            max(status.st_mtime for _, status in parts),
            sum(status.st_size // ROW_BYTES for suffix, status in parts if suffix == INDEX),
        )
        for stem, parts in found.items()
    ]
    return sorted(files, key=lambda segment: segment.used)


def remove(stem: Path) -> None:
    """Remove a segment: first its index, so that nobody finds it any more."""
    for suffix in (INDEX, DATA):
        with contextlib.suppress(OSError):
            stem.with_suffix(suffix).unlink()
