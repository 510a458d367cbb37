"""ImageNet files of Swin into timm's module: both layouts in use, window tables resized."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isqrt
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from amlrepro.errors import UserError
from amlrepro.models.backbones.fit import load_fitting
from amlrepro.models.checkpoint_file import read_tensors

_DROPPED = re.compile(r"(head\.|norm\.)|.*\.(attn_mask|relative_position_index)$")
_DOWNSAMPLE = re.compile(r"(?<=^layers\.)(\d+)(?=\.downsample\.)")
_TABLE = "relative_position_bias_table"


def load_swin(swin: nn.Module, source: str | Path | Mapping[str, Any], resize_tables: bool = True) -> None:
    """Copy a Swin file into timm's `SwinTransformer` without final norm and head.

    Takes the original layout (a stage ends with its downsampling layer) and timm's (a stage begins with it): the first
    is told by `layers.0.downsample`, which the second never has. Position tables of another window are resized
    bicubically as [heads, S, S] images, or refused where `resize_tables` is False. Head, final norm, masks and index
    buffers are dropped. Raises `UserError` naming the keys that are missing, left over or of another shape.
    """
    tensors = {key: value for key, value in read_tensors(source).items() if not _DROPPED.match(key)}
    if any(key.startswith("layers.0.downsample.") for key in tensors):
        tensors = {_DOWNSAMPLE.sub(lambda m: str(int(m.group()) + 1), key): value for key, value in tensors.items()}
    expected = swin.state_dict()
    for key, value in tensors.items():
        if key.endswith(_TABLE) and key in expected and len(value) != len(expected[key]):
            if not resize_tables:
                raise _other_window(source, len(value), len(expected[key]))
            tensors[key] = resize_table(value, expected[key].shape[0])
    load_fitting(swin, tensors, source, "Swin")


def resize_table(table: Tensor, rows: int) -> Tensor:
    """A relative position table [S * S, heads] for another window, [rows, heads], by bicubic interpolation."""
    if table.shape[0] == rows:
        return table
    old, new = isqrt(table.shape[0]), isqrt(rows)
    if old * old != table.shape[0] or new * new != rows:
        return table  # not square: reported as a wrong shape
    image = table.T.reshape(1, -1, old, old)
    return F.interpolate(image, size=(new, new), mode="bicubic", align_corners=False).reshape(-1, rows).T.contiguous()


def _other_window(source: str | Path | Mapping[str, Any], found: int, expected: int) -> UserError:
    return UserError(
        "these Swin weights were trained with another window",
        where="a state dict in memory" if isinstance(source, Mapping) else source,
        found=f"position tables of {found} rows, window {(isqrt(found) + 1) // 2}",
        expected=f"{expected} rows, window {(isqrt(expected) + 1) // 2}",
    )
