"""Official weights in this project's own form: safetensors under our names, with the model's sizes in the header."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import nn

from amlrepro.config import RunConfig
from amlrepro.errors import UserError
from amlrepro.models.backbones.fit import misfit, mismatches
from amlrepro.models.checkpoint_file import write_tensors
from amlrepro.models.contract import RISModel
from amlrepro.models.registry import get_spec, load_object

HEADER = "amlris_weights"


def write_converted(path: Path, name: str, model: RISModel) -> None:
    """Write a model's weights; what else it needs to be built again stands in the file's header.

    Raises `UserError` for a model that does not keep its `options`.
    """
    options: Any = getattr(model, "options", None)
    if options is None:
        expected = "an attribute `options`, the sizes it was built with"
        raise UserError(
            f"model {name!r} does not say how to build it again", where=type(model).__name__, expected=expected
        )
    described = {"model": name, "options": options.model_dump(mode="json"), "vocabulary": vocabulary_size(model)}
    weights = getattr(model, "class_weights", None)
    if weights is not None:
        described["class_weights"] = weights.tolist()
    write_tensors(path, model.state_dict(), {HEADER: json.dumps(described)})


def converted_header(source: str | Path | Mapping[str, Any]) -> dict[str, Any] | None:
    """What `write_converted` noted in a file (`model`, `options`, `vocabulary`, ...); None for anything else."""
    if isinstance(source, Mapping) or not Path(source).is_file():
        return None
    try:
        with safe_open(source, framework="pt") as file:
            text = (file.metadata() or {}).get(HEADER)
    except SafetensorError:
        return None
    return dict(json.loads(text)) if text else None


def load_converted(name: str, path: str | Path, header: Mapping[str, Any]) -> RISModel:
    """The model of such a file, in evaluation mode; raises `UserError` when it is of another model."""
    if header["model"] != name:
        raise UserError("weights of another model", where=path, found=header["model"], expected=name)
    spec = get_spec(name)
    changes: dict[str, Any] = {
        "model": {"name": name, "size": next(iter(spec.sizes)), "options": header["options"]},
        "init": {"vision": "scratch", "text": "scratch"},
    }
    if "class_weights" in header:
        changes["train.class_weights"] = header["class_weights"]
    config = RunConfig().with_changes(changes, str(path))
    model: RISModel = load_object(spec.build)(config, header["vocabulary"])
    tensors = load_file(path)
    found = mismatches(model.state_dict(), tensors)
    if found:
        raise misfit(spec.title, found, path)
    model.load_state_dict(tensors)
    return model.eval()


def vocabulary_size(model: nn.Module) -> int:
    """Rows of the largest embedding table, the words'; 0 where there is none."""
    return max((module.num_embeddings for module in model.modules() if isinstance(module, nn.Embedding)), default=0)
