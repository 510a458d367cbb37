"""Which network inputs are kept on disk, where, and under which keys: all that an input follows from. Torch-free.

Keys come from contents, not from names and times: the same picture at another place is the same input, and one that was
replaced is another.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from amlrepro.data.disk_cache import DiskCache
from amlrepro.data.refer import Annotation, ImageInfo
from amlrepro.data.segments import Array
from amlrepro.models.spec import Protocol
from amlrepro.sections import ExecConfig

VERSION = 1  # raise it when the same picture or annotation becomes another input
VARIABLE = "AMLRIS_CACHE"
OFF = "off"
Stamp = tuple[int, int, int, int] | None


class InputCache:
    """Pictures at input size, before normalisation, and masks, of one protocol and size; shared by all data sets."""

    def __init__(self, arrays: DiskCache) -> None:
        self.arrays = arrays
        self._digests: dict[Path, tuple[Stamp, bytes]] = {}

    def picture(self, path: Path, stamp: Stamp, make: Callable[[bytes], Array]) -> Array:
        """The flat input of the picture file; `make` gets the file's content. stamp: the file's (`file_stamp`).

        The file is read once a process, for its digest. Raises `OSError` when it cannot be read.
        """
        known = self._digests.get(path)
        if known is not None and known[0] == stamp:
            found = self.arrays.find(known[1])
            if found is not None:
                return found
        content = path.read_bytes()
        key = hashlib.blake2b(content, digest_size=16).digest()
        self._digests[path] = stamp, key
        return self.arrays.get(key, lambda: make(content))

    def mask(self, key: bytes, make: Callable[[], Array]) -> Array:
        """The flat array under a key of `mask_key`."""
        return self.arrays.get(key, make, packed=True)


def file_stamp(path: Path) -> Stamp:
    """What changes when a file is replaced or written to: node, size and both times; None when there is no file."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def mask_key(kind: str, size: int, info: ImageInfo, objects: Sequence[Annotation]) -> bytes:
    """16 bytes that stand for the mask of these objects: their outlines, the picture's size, how it is drawn."""
    digest = hashlib.blake2b(f"{kind} {size} {info.height} {info.width}".encode(), digest_size=16)
    for annotation in objects:
        digest.update(f" {annotation.iscrowd}".encode())
        if isinstance(annotation.segmentation, Mapping):
            digest.update(repr(sorted(annotation.segmentation.items())).encode())
        else:
            for polygon in annotation.segmentation or ():
                digest.update(f" {len(polygon)} ".encode() + polygon.tobytes())
    return digest.digest()


def cache_folder(place: str | None = None) -> Path | None:
    """Where inputs are kept: `place`, else `AMLRIS_CACHE`, else `$XDG_CACHE_HOME/amlrepro/inputs`; None for `off`.

    A folder that somebody names gets a folder `amlris-inputs` in it, and nothing else there is touched.
    """
    place = place or os.environ.get(VARIABLE)
    try:
        if place:
            return None if place == OFF else Path(place).expanduser().absolute() / "amlris-inputs"
        return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser().absolute() / "amlrepro" / "inputs"
    except RuntimeError:  # a user without a home
        return None


def open_inputs(execution: ExecConfig, protocol: Protocol, size: int) -> InputCache | None:
    """The cache of a protocol's inputs at a size, one a process; None where it is off."""
    folder = cache_folder(execution.cache_dir)
    if folder is None or execution.cache_gib == 0:
        return None
    about = {"resize": protocol.resize, "border": list(protocol.border), "size": size, **_versions()}
    return _opened(folder, json.dumps(about, sort_keys=True), f"{protocol.resize}-{size}", execution.cache_gib)


@functools.cache
def _opened(folder: Path, about: str, name: str, gib: float) -> InputCache:
    kind = f"{name}-{hashlib.blake2b(about.encode(), digest_size=4).hexdigest()}"
    return InputCache(DiskCache(folder, kind, int(gib * (1 << 30))))


@functools.cache
def _versions() -> dict[str, Any]:
    """What the bits of an input hang on besides the protocol: a shared folder serves several installations."""
    from PIL import features

    packages = {name: version(name) for name in ("pillow", "numpy", "scipy", "pycocotools")}
    jpeg = [features.version("jpg"), features.version_feature("libjpeg_turbo")]
    return {"inputs": VERSION, "jpeg": jpeg, "machine": platform.machine(), **packages}
