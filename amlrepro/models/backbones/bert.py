"""transformers' BERT by the models' options, and public files into it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from amlrepro.models.backbones.fit import load_fitting
from amlrepro.models.checkpoint_file import read_tensors

_OLD_NORM = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}


class BertSizes(Protocol):
    """Sizes of a BERT, as the models' options name them."""

    @property
    def text_width(self) -> int: ...
    @property
    def text_layers(self) -> int: ...
    @property
    def text_heads(self) -> int: ...
    @property
    def text_mlp(self) -> int: ...
    @property
    def text_positions(self) -> int: ...
    @property
    def text_dropout(self) -> float: ...


def build_bert(sizes: BertSizes, vocab_size: int) -> Any:
    """transformers' `BertModel` without pooler, fresh."""
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=vocab_size,
        hidden_size=sizes.text_width,
        num_hidden_layers=sizes.text_layers,
        num_attention_heads=sizes.text_heads,
        intermediate_size=sizes.text_mlp,
        max_position_embeddings=sizes.text_positions,
        hidden_dropout_prob=sizes.text_dropout,
        attention_probs_dropout_prob=sizes.text_dropout,
        attn_implementation="eager",
    )
    return BertModel(config, add_pooling_layer=False)


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
