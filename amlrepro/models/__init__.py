"""Models: CARIS and others, their specifications (torch-free) and official checkpoints. Imports `config` only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from amlrepro.config import RunConfig
    from amlrepro.models.contract import RISModel

__all__ = ["build_model", "load_official"]


def build_model(config: RunConfig, vocab_size: int) -> RISModel:
    """The model a configuration describes, with a text vocabulary of `vocab_size`; loads encoders if it says so."""
    from amlrepro.models.registry import get_spec, load_object

    model: RISModel = load_object(get_spec(config.model.name).build)(config, vocab_size)
    return model


def load_official(name: str, source: str | Path | Mapping[str, Any], **options: Any) -> RISModel:
    """A model with the weights of an official checkpoint, in evaluation mode; `model(image, ids, mask).logits`.

    source: path of the checkpoint, its state dict, or a dict that holds it under `model`; or what
    `amlris weights convert --to ours` made of one. Keys are strict. Sizes are read from the tensors; `options` names
    what they do not show (CARIS: `text_heads`). Raises `UserError`.
    """
    from amlrepro.errors import UserError
    from amlrepro.models.converted import converted_header, load_converted
    from amlrepro.models.registry import get_spec, load_object

    spec = get_spec(name)
    header = converted_header(source)
    if header is not None and isinstance(source, str | Path):
        return load_converted(name, source, header)
    if spec.official is None:
        where = source if isinstance(source, str | Path) else None
        raise UserError(f"model {name!r} has no official checkpoints, only runs and converted files", where=where)
    model: RISModel = load_object(spec.official)(source, **options)
    return model
