"""Weight files read safely: safetensors, or pickles that may hold tensors, plain containers and argparse namespaces."""

from __future__ import annotations

import argparse
import errno
import os
import pickle
import pickletools
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from amlrepro.errors import UserError
from amlrepro.files import atomic_path

_NESTED = ("model", "state_dict")
_STARTS = (b"PK\x03\x04", *(bytes([0x80, protocol]) for protocol in range(2, 6)))
_SNIFFED = 512
_EXPECTED = "safetensors, or a file written by torch.save"
_CALLS = ("REDUCE", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "BUILD")
# How torch names the function or class that a pickle wants; instructions it does not know are "Unsupported operand".
_CODE = re.compile(r"(?:GLOBAL|function|[Bb]uild|but got) [^\n]*?([A-Za-z_][\w]*(?:\.\w+)+)")


def read_tensors(source: str | Path | Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of a checkpoint: a file, or a dict in memory; those under `model` or `state_dict` if it nests them.

    A `module.` prefix on every key is stripped. Raises `UserError` for a file that is missing, torn, no weight file, or
    whose pickle asks for anything but data (nothing of it is executed).
    """
    values = source if isinstance(source, Mapping) else _read_file(Path(source))
    for name in _NESTED:
        inner = values.get(name)
        if isinstance(inner, Mapping):
            values = inner
            break
    tensors = {str(key): value for key, value in values.items() if isinstance(value, Tensor)}
    if not tensors:
        raise UserError("no weights found", where=_label(source), found=f"entries {sorted(map(str, values))[:8]}")
    if all(key.startswith("module.") for key in tensors):
        tensors = {key.removeprefix("module."): value for key, value in tensors.items()}
    return tensors


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Write safetensors, whole or not at all; raises `UserError` when the disk is full."""
    ready = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        try:
            save_file(ready, temporary, metadata=metadata)
        except SafetensorError as error:
            if f"os error {errno.ENOSPC}" in str(error):  # the library hides the operating system's error in its text
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
            raise


def write_torch(path: Path, value: Mapping[str, Any]) -> None:
    """Write as `torch.save` does, whole or not at all; raises `UserError` when the disk is full."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        try:
            torch.save(value, file)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):  # torch trips over closing what it could not write
                raise error.__context__ from None
            raise


def read_metadata(path: Path) -> dict[str, str]:
    """The text metadata of a safetensors file; empty for other files."""
    if path.suffix != ".safetensors":
        return {}
    with safe_open(path, framework="pt") as f:
        return dict(f.metadata() or {})


def _read_file(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise UserError("no such weight file", where=path)
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    _require_torch_file(path)
    try:
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # on pickle protocols, which the error says better
            values = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _refused(path, str(error)) from None
    except (RuntimeError, EOFError, ValueError, KeyError, IndexError, zipfile.BadZipFile) as error:
        raise _unreadable(path, str(error)) from None
    if not isinstance(values, Mapping):
        raise UserError("not a checkpoint", where=path, found=type(values).__name__, expected="a dict of tensors")
    return values


def _require_torch_file(path: Path) -> None:
    """Raise `UserError` unless the file begins as those of `torch.save` do: with a zip archive or a binary pickle."""
    with path.open("rb") as file:
        start = file.read(_SNIFFED)
    if not start or start.startswith(_STARTS):
        return
    found = "text" if _is_text(start) else "neither a zip archive nor a pickle"
    raise UserError("not a checkpoint file", where=path, found=found, expected=_EXPECTED)


def _is_text(start: bytes) -> bool:
    try:
        text = start.decode("utf-8", errors="ignore" if len(start) == _SNIFFED else "strict")
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character.isspace() for character in text)


def _refused(path: Path, reason: str) -> UserError:
    """The error for a pickle that torch would not load: one that wants code, or one that is none of torch's."""
    code = _CODE.search(reason)
    if code is None and not _calls(path):
        found = "a pickle that torch.save did not write"
        return UserError("not a checkpoint file", where=path, found=found, expected=_EXPECTED)
    return UserError(
        "this file asks to run code while loading, so it was not loaded",
        where=path,
        found=code[1] if code else "a pickle that calls functions",
        expected="tensors, containers, numbers and text only",
    )


def _calls(path: Path) -> bool:
    """Whether a plain pickle has instructions that call anything; it is only read through, not carried out."""
    with path.open("rb") as file:
        try:
            return any(instruction.name in _CALLS for instruction, _, _ in pickletools.genops(file))
        except ValueError:
            return False


def _read_safetensors(path: Path) -> Mapping[str, Any]:
    try:
        tensors: Mapping[str, Any] = load_file(path)
    except SafetensorError as error:
        raise _unreadable(path, str(error)) from None
    return tensors


def _unreadable(path: Path, reason: str) -> UserError:
    return UserError(
        "not a readable weight file", where=path, found=_first_line(reason), hint="download or copy it again"
    )


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0][:200] if text.strip() else "an empty or torn file"


def _label(source: str | Path | Mapping[str, Any]) -> object:
    return "a state dict in memory" if isinstance(source, Mapping) else source
