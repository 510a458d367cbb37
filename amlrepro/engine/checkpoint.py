"""Checkpoints: one safetensors file each, written atomically, with what it is in its header.

`last` holds model, strategy and optimiser, and where the run stands; `best` and milestones hold the model alone. Names
of tensors: `model/<name>`, `strategy/<name>`, `optimizer/<parameter>/<state>`. The header's only entry is one JSON
object. No random state needs storing: every draw is a function of the run's seed and the update (`numerics`).
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from amlrepro.config import RunConfig, parse_config
from amlrepro.data.tokens import Tokenizer
from amlrepro.engine.distributed import World
from amlrepro.errors import UserError
from amlrepro.files import write_json
from amlrepro.models import build_model
from amlrepro.models.checkpoint_file import write_tensors
from amlrepro.models.contract import RISModel

FORMAT = 1
VISIBLE_SECONDS = 90.0  # longer than shared file systems cache a folder's content
HEADER = "amlris"
BRIEF = ("format", "run_id", "epoch", "step", "horizon", "steps_per_epoch", "best")  # what the .json beside it repeats


def write(path: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write a checkpoint and, beside it, a short JSON for people; raises `UserError` when the disk is full."""
    header = {HEADER: json.dumps({"format": FORMAT, **meta}, ensure_ascii=False, allow_nan=False)}
    write_tensors(path, tensors, header)
    brief = {"format": FORMAT, **{key: meta[key] for key in BRIEF if key in meta}}
    write_json(path.with_suffix(".json"), {**brief, "tensors": len(tensors)})


def read_meta(path: Path) -> dict[str, Any]:
    """What a checkpoint says of itself; raises `UserError` for a missing, truncated or foreign file."""
    with _opened(path) as file:
        return _meta(file, path)


def read_meta_together(path: Path, world: World) -> dict[str, Any]:
    """As `read_meta`, of the file that the main process sees.

    Network file systems show a new file to other hosts with some delay: the others wait for the very same one.
    """
    meta = world.from_main(read_meta(path) if world.is_main else {})
    deadline = time.monotonic() + VISIBLE_SECONDS
    while not world.is_main and not _shows(path, meta):
        if time.monotonic() > deadline:
            raise UserError(
                "a process of this run does not see the checkpoint that the main one sees",
                where=path,
                expected=f"update {meta['step']} of {meta['run_id']}",
                hint="all hosts of a run need the same folder of results",
            )
        time.sleep(0.5)
    return meta


def _shows(path: Path, meta: Mapping[str, Any]) -> bool:
    try:
        return read_meta(path) == meta
    except UserError:
        return False


def is_ours(path: Path) -> bool:
    """Whether the file is a checkpoint of this project (an official one may be a safetensors file too)."""
    try:
        with safe_open(path, framework="pt") as file:
            return HEADER in (file.metadata() or {})
    except SafetensorError:
        return False


def read(path: Path, part: str, device: str = "cpu") -> dict[str, Tensor]:
    """Tensors of one part (`model`, `strategy`, `optimizer`), without its prefix; errors as `read_meta`."""
    with _opened(path, device) as file:
        _meta(file, path)
        prefix, names = f"{part}/", list(file.keys())
        return {name[len(prefix) :]: file.get_tensor(name) for name in names if name.startswith(prefix)}


def model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The model's part of a checkpoint."""
    return {f"model/{name}": tensor for name, tensor in model.state_dict().items()}


def all_tensors(model: nn.Module, strategy: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """All parts of a checkpoint that training can go on from."""
    tensors = model_tensors(model)
    tensors |= {f"strategy/{name}": tensor for name, tensor in strategy.state_dict().items()}
    for name, parameter in _named(optimizer):
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"optimizer/{name}/{key}"] = value
    return tensors


def restore(path: Path, model: nn.Module, strategy: nn.Module, optimizer: torch.optim.Optimizer, device: str) -> None:
    """Put a checkpoint's tensors into the three; raises `UserError` when it is of another model."""
    _load(model, read(path, "model", device), path)
    _load(strategy, read(path, "strategy", device), path)
    stored: dict[str, dict[str, Tensor]] = {}
    for name, tensor in read(path, "optimizer", device).items():
        parameter, _, key = name.rpartition("/")
        stored.setdefault(parameter, {})[key] = tensor
    names = [name for name, _ in _named(optimizer)]
    unknown = sorted(set(stored) - set(names))
    if unknown:
        raise UserError("the checkpoint's optimiser is of another model", where=path, found=unknown[0])
    state = {i: stored[name] for i, name in enumerate(names) if name in stored}
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def load_for_evaluation(path: Path, device: str = "cpu") -> tuple[RISModel, Tokenizer, RunConfig]:
    """The model of one of our checkpoints, in evaluation mode, with its tokenizer and configuration.

    Raises `UserError` for a file that is missing, torn or not one of ours.
    """
    meta = read_meta(path)
    config = parse_config(meta["config"], path)
    tokenizer = Tokenizer.from_json(meta["tokenizer"])
    scratch = config.init.model_copy(update={"vision": "scratch", "text": "scratch"})  # all weights come from the file
    model = build_model(config.model_copy(update={"init": scratch}), tokenizer.vocab_size)
    _load(model, read(path, "model", device), path)
    return model.to(device).eval(), tokenizer, config


def weights_digest(path: Path) -> str:
    """SHA-256 of the model's tensors by name: equal for equal weights, whatever else the checkpoint holds."""
    hasher = hashlib.sha256()
    for name, tensor in sorted(read(path, "model").items()):
        hasher.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)};".encode())
        hasher.update(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return hasher.hexdigest()


def remove_torn(folder: Path) -> None:
    """Remove temporary files of writers that were killed, ours and those of the safetensors library.

    A run has one writer, so none is in use.
    """
    for pattern in (".*.tmp", ".tmp*"):
        for temporary in folder.glob(pattern):
            temporary.unlink(missing_ok=True)


def _named(optimizer: torch.optim.Optimizer) -> list[tuple[str, nn.Parameter]]:
    return [pair for g in optimizer.param_groups for pair in zip(g["param_names"], g["params"], strict=True)]


def _opened(path: Path, device: str = "cpu") -> Any:
    if not path.is_file():
        raise UserError("no such checkpoint", where=path)
    try:
        return safe_open(path, framework="pt", device=_numbered(device))
    except SafetensorError as error:
        raise UserError(
            "this checkpoint is torn or no safetensors file",
            where=path,
            found=str(error),
            hint="remove it to start again from the beginning, or give another one",
        ) from error


def _numbered(device: str) -> str:
    """This process's GPU by number: to the library, `cuda` may be the machine's first one."""
    return f"cuda:{torch.cuda.current_device()}" if device == "cuda" else device


def _meta(file: Any, path: Path) -> dict[str, Any]:
    try:
        meta: dict[str, Any] = json.loads((file.metadata() or {})[HEADER])
    except (KeyError, ValueError) as error:
        found = "a safetensors file without its header"
        raise UserError("not a checkpoint of this project", where=path, found=found) from error
    if meta.get("format") != FORMAT:
        raise UserError("a checkpoint of another version", where=path, found=meta.get("format"), expected=FORMAT)
    return meta


def _load(module: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    own = module.state_dict()
    missing, left = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    wrong = sorted(name for name in own.keys() & tensors.keys() if own[name].shape != tensors[name].shape)
    if missing or left or wrong:
        counts = f"{len(missing)} tensors missing, {len(left)} left over, {len(wrong)} of another shape"
        first = (missing + left + wrong)[0]
        raise UserError("the checkpoint is of another model or size", where=path, found=f"{counts}; first: {first}")
    module.load_state_dict(tensors)
