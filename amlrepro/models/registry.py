"""Models by name: the ones shipped here and those that installed packages add. Torch-free."""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
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
    added = sorted({point.name for point in entry_points(group=ENTRY_POINTS)} - set(_SHIPPED))
    return (*_SHIPPED, *added)


@lru_cache
def get_spec(name: str) -> ModelSpec:
    """The specification of a model: shipped, or the `ModelSpec` that an entry point of its name gives.

    Raises `UserError` for an unknown name (with the nearest right ones), and for an entry point that cannot be loaded,
    gives no specification, one of another name, or is not the only one. A shipped name cannot be replaced.
    """
    if name in _SHIPPED:
        spec: ModelSpec = load_object(_SHIPPED[name])
        return spec
    points = list({point.value: point for point in entry_points(group=ENTRY_POINTS) if point.name == name}.values())
    if not points:
        raise unknown_name("model", name, model_names())
    if len(points) > 1:
        found = ", ".join(point.value for point in points)
        raise UserError(f"several installed packages bring a model {name!r}", found=found, hint="uninstall all but one")
    return _load_spec(name, points[0])


def _load_spec(name: str, point: EntryPoint) -> ModelSpec:
    where = f"entry point {name} = {point.value}"
    try:
        found = point.load()
    except (ImportError, AttributeError) as error:
        raise UserError(f"the package of model {name!r} cannot be imported", where=where, found=error) from error
    if not isinstance(found, ModelSpec):
        raise UserError(
            f"the entry point of model {name!r} gives no model specification",
            where=where,
            found=type(found).__name__,
            expected="an instance of amlrepro.models.spec.ModelSpec",
        )
    if found.name != name:
        raise UserError("a model's entry point and specification name it alike", where=where, found=found.name)
    return found
