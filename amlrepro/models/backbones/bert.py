"""Public BERT files into transformers' module (caris.md 13.7)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from amlrepro.models.backbones.fit import load_fitting
from amlrepro.models.checkpoint_file import read_tensors

_OLD_NORM = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}


def load_bert(bert: nn.Module, source: str | Path | Mapping[str, Any]) -> None:
    """Copy a BERT file into `BertModel` without pooler.

    A `bert.` prefix is stripped, the old names of the norms' parameters are mapped, heads, pooler and index buffers are
    dropped. Raises `UserError` naming the keys that are missing, left over or of another shape.
    """
    tensors = {}
    for key, value in read_tensors(source).items():
        name = key.removeprefix("bert.")
        if name.startswith(("cls.", "pooler.")) or name.endswith(("position_ids", "token_type_ids")):
            continue
        for old, new in _OLD_NORM.items():
            if name.endswith(old):
                name = name.removesuffix(old) + new
        tensors[name] = value
    load_fitting(bert, tensors, source, "BERT")
