"""The layout of a safetensors file, as far as leaving tensors out needs it. Torch-free: weights are copied as bytes.

The file is the length of its header (8 bytes, little-endian), the header as JSON (by name: dtype, shape, data_offsets
from the header's end; `__metadata__` beside them) and the tensors' bytes.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from amlrepro.errors import UserError
from amlrepro.files import atomic_path

METADATA = "__metadata__"
_LENGTH = struct.Struct("<Q")
_ALIGNMENT = 8
_BLOCK = 1 << 22
_LARGEST_HEADER = 100 << 20  # as the library has it


def read_header(path: Path) -> tuple[dict[str, Any], int]:
    """The header, and where the tensors begin; raises `UserError` for a torn or foreign file."""
    try:
        with path.open("rb") as f:
            (length,) = _LENGTH.unpack(f.read(_LENGTH.size))
            if length > _LARGEST_HEADER:
                raise ValueError("the header is too long")
            header = json.loads(f.read(length))
            last = max((value["data_offsets"][1] for name, value in header.items() if name != METADATA), default=0)
            if f.seek(0, 2) != _LENGTH.size + length + last:
                raise ValueError("the file is not as long as its header says")
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError("this checkpoint is torn or no safetensors file", where=path, found=str(error)) from error
    return dict(header), _LENGTH.size + length


def bytes_of(header: dict[str, Any], chosen: Callable[[str], bool]) -> int:
    """How many bytes the chosen tensors take."""
    spans = [value["data_offsets"] for name, value in header.items() if name != METADATA and chosen(name)]
    return sum(end - begin for begin, end in spans)


def leave_out(path: Path, dropped: Callable[[str], bool]) -> int:
    """Replace a file by one without some tensors, whole or not at all; how many tensors are left. Metadata stay."""
    header, begin = read_header(path)
    kept = sorted(
        ((name, value) for name, value in header.items() if name != METADATA and not dropped(name)),
        key=lambda item: item[1]["data_offsets"],
    )
    made: dict[str, Any] = {METADATA: header[METADATA]} if METADATA in header else {}
    offset = 0
    for name, value in kept:
        size = value["data_offsets"][1] - value["data_offsets"][0]
        made[name] = {**value, "data_offsets": [offset, offset + size]}
        offset += size
    with atomic_path(path) as temporary, path.open("rb") as source, temporary.open("wb") as target:
        target.write(_head(made))
        for _, value in kept:
            source.seek(begin + value["data_offsets"][0])
            _copy(source, target, value["data_offsets"][1] - value["data_offsets"][0])
    return len(kept)


def head_with(header: dict[str, Any], metadata: dict[str, str]) -> bytes:
    """The beginning of a file with this header but other metadata; the tensors' bytes follow unchanged."""
    return _head({**header, METADATA: metadata})


def _head(header: dict[str, Any]) -> bytes:
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return _LENGTH.pack(len(text)) + text


def _copy(source: IO[bytes], target: IO[bytes], size: int) -> None:
    while size:
        block = source.read(min(size, _BLOCK))
        if not block:
            raise EOFError("a tensor is shorter than its header says")
        target.write(block)
        size -= len(block)
