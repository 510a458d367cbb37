"""Digests of the public weights that pretrained encoders start from. Torch-free."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from amlrepro.config import RunConfig
from amlrepro.data.digest import file_digest
from amlrepro.errors import UserError
from amlrepro.models.backbones.locate import NeededWeights, find_weights, locate
from amlrepro.models.registry import get_spec, load_object


def needed_weights(config: RunConfig) -> Mapping[str, NeededWeights]:
    """The public weights that a configuration reads, under `vision` and `text`; none where it starts from scratch."""
    spec = get_spec(config.model.name)
    if spec.pretrained is None:
        return {}
    needed: Mapping[str, NeededWeights] = load_object(spec.pretrained)(config)
    return needed


def weight_digests(config: RunConfig) -> dict[str, str]:
    """`init` keys with the digests of the files that are on this machine; those that are not are left out."""
    digests = {}
    for part, needed in needed_weights(config).items():
        path = locate(needed, _given(config, part))
        if path is not None:
            digests[f"init.{part}_digest"] = file_digest(path)[:12]
    return digests


def missing_weights(config: RunConfig) -> list[NeededWeights]:
    """Public weights that the configuration needs and that are not on this machine."""
    return [needed for part, needed in needed_weights(config).items() if locate(needed, _given(config, part)) is None]


def require_weights(config: RunConfig) -> dict[str, Path]:
    """The files by part; raises `UserError` that says how to get a missing one."""
    return {part: find_weights(needed, _given(config, part)) for part, needed in needed_weights(config).items()}


def check_weight_files(configs: Iterable[RunConfig], overrides: Mapping[str, Any]) -> None:
    """Raise `UserError` where one file is named for encoders that start from different ones."""
    needed: dict[str, dict[str, NeededWeights]] = {"vision": {}, "text": {}}
    for config in configs:
        for part, weights in needed_weights(config).items():
            needed[part][weights.name] = weights
    for part, by_name in needed.items():
        setting = f"exec.{part}_weights"
        if overrides.get(setting) is not None and len(by_name) > 1:
            variables = ", ".join(f"{weights.variable} ({name})" for name, weights in by_name.items())
            raise UserError(
                "one file cannot serve models that start from different ones",
                where=f"--set {setting}",
                found=overrides[setting],
                hint=f"name each by its environment variable: {variables}",
            )


def _given(config: RunConfig, part: str) -> str | None:
    return config.exec.vision_weights if part == "vision" else config.exec.text_weights
