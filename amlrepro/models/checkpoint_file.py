"""Weight files read safely: safetensors, or pickles that may hold tensors, plain containers and argparse namespaces."""

from __future__ import annotations

import argparse
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from amlrepro.errors import UserError

_NESTED = ("model", "state_dict")


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


def read_metadata(path: Path) -> dict[str, str]:
    """The text metadata of a safetensors file; empty for other files."""
    if path.suffix != ".safetensors":
        return {}
    from safetensors import safe_open

    with safe_open(path, framework="pt") as f:
        return dict(f.metadata() or {})


def _read_file(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise UserError("no such weight file", where=path)
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            values = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error)
        if "Unsupported" in reason or "GLOBAL" in reason:
            raise UserError(
                "this file asks to run code while loading, so it was not loaded",
                where=path,
                found=_first_line(reason),
                expected="tensors, containers, numbers and text only",
            ) from None
        raise _unreadable(path, reason) from None
    except (RuntimeError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise _unreadable(path, str(error)) from None
    if not isinstance(values, Mapping):
        raise UserError("not a checkpoint", where=path, found=type(values).__name__, expected="a dict of tensors")
    return values


def _read_safetensors(path: Path) -> Mapping[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

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
