"""Models by name: the ones shipped here and those that installed packages add. Torch-free."""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from amlrepro.errors import UserError, unknown_name
from amlrepro.models.spec import ModelSpec

ENTRY_POINTS = "amlrepro.models"
_SHIPPED = {name: f"amlrepro.models.{name}.spec:SPEC" for name in ("caris", "detris", "rela")}


def load_object(path: str) -> Any:
    """The object an import path `module:name` stands for."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def model_names() -> tuple[str, ...]:
    """All known models, the shipped ones first."""
    added = sorted(point.name for point in entry_points(group=ENTRY_POINTS) if point.name not in _SHIPPED)
    return (*_SHIPPED, *added)


@lru_cache
def get_spec(name: str) -> ModelSpec:
    """The specification of a model: shipped, or the `ModelSpec` that an entry point of its name gives.

    Raises `UserError` for an unknown name (with the nearest right ones) and for an entry point that gives no
    specification. A shipped name cannot be replaced.
    """
    if name in _SHIPPED:
        spec: ModelSpec = load_object(_SHIPPED[name])
        return spec
    points = [point for point in entry_points(group=ENTRY_POINTS) if point.name == name]
    if not points:
        raise unknown_name("model", name, model_names())
    found = points[0].load()
    if not isinstance(found, ModelSpec):
        raise UserError(
            f"the entry point of model {name!r} gives no model specification",
            where=points[0].value,
            found=type(found).__name__,
            expected="an instance of amlrepro.models.spec.ModelSpec",
        )
    return found
