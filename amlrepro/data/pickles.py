"""Annotation pickles without their dangers: containers, text and numbers only. Torch-free."""

from __future__ import annotations

import codecs
import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

from amlrepro.errors import UserError

_ERROR_HANDLER = "amlrepro.latin1"
_BROKEN = (
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    KeyError,
    IndexError,
    AttributeError,
    TypeError,
    struct.error,
    MemoryError,
    OverflowError,
)


def _latin1_for_bad_bytes(error: UnicodeError) -> tuple[str | bytes, int]:
    """Text of Python 2 is bytes: mostly ASCII or UTF-8; a byte that is neither is read as Latin-1."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start : error.end].decode("latin-1"), error.end


codecs.register_error(_ERROR_HANDLER, _latin1_for_bad_bytes)


def _bytes_as_text(text: str, encoding: str) -> str:
    """Stands in for `_codecs.encode`, by which Python 3 writes bytes into old pickle protocols."""
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"bytes in encoding {encoding!r}")
    return _text(text.encode("latin-1"))


_CONTAINERS: dict[tuple[str, str], Any] = {
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("collections", "OrderedDict"): OrderedDict,
    ("_codecs", "encode"): _bytes_as_text,
}


class _Forbidden(Exception):
    """Raised inside the unpickler for a global that is not a container."""


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        # names arrive as the file has them, and Python 2 calls its builtins `__builtin__`
        key = ("builtins" if module == "__builtin__" else module, name)
        if key not in _CONTAINERS:
            raise _Forbidden(f"{module}.{name}")
        return _CONTAINERS[key]


def load_plain_pickle(path: Path) -> Any:
    """The value in a pickle of Python 2 or 3 that holds containers, str, int, float, bool, None and bytes only.

    Python 2 strings and bytes become str (UTF-8, bad bytes as Latin-1). Nothing in the file is executed.

    Raises `UserError` when the file tries to execute code (naming the global), or is truncated or damaged.
    """
    if not path.is_file():
        raise UserError("no such file", where=path)
    with path.open("rb") as f:
        try:
            value = _PlainUnpickler(f, encoding="utf-8", errors=_ERROR_HANDLER).load()
        except _Forbidden as error:
            raise UserError(
                "this annotation file tries to execute code",
                where=path,
                found=f"a call of {error}",
                expected="lists, dictionaries, text and numbers only",
                hint="do not open this file with pickle; download the annotations again from a source you trust",
            ) from None
        except _BROKEN as error:
            raise UserError(
                "not a readable pickle (truncated or damaged)",
                where=path,
                found=f"{type(error).__name__}: {error}",
                hint="download or copy the file again",
            ) from None
    return _decoded(value) if _holds_bytes(value) else value


def _holds_bytes(value: Any, depth: int = 4) -> bool:
    """Whether bytes occur in the first entries; annotation lists are uniform, so these speak for all."""
    if isinstance(value, bytes):
        return True
    if depth == 0:
        return False
    if isinstance(value, dict):
        return any(_holds_bytes(k, 0) or _holds_bytes(v, depth - 1) for k, v in list(value.items())[:32])
    if isinstance(value, (list, tuple)):
        return any(_holds_bytes(item, depth - 1) for item in value[:4])
    return False


def _decoded(value: Any) -> Any:
    if isinstance(value, bytes):
        return _text(value)
    if isinstance(value, dict):
        return {_decoded(k): _decoded(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_decoded(item) for item in value)
    return value


def _text(value: bytes) -> str:
    return value.decode("utf-8", _ERROR_HANDLER)
