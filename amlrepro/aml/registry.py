"""Named parts of the method. A new part is one new file in this folder: every module here is imported on look-up."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Generic, TypeVar

from amlrepro.errors import UserError

PartT = TypeVar("PartT")


class Registry(Generic[PartT]):
    """Parts of one kind by name; `setting` is the configuration key that chooses among them."""

    def __init__(self, setting: str) -> None:
        self.setting = setting
        self._parts: dict[str, PartT] = {}

    def register(self, name: str) -> Callable[[PartT], PartT]:
        """Decorator: make a part known under `name`."""

        def add(part: PartT) -> PartT:
            self._parts[name] = part
            return part

        return add

    def all(self) -> dict[str, PartT]:
        """Every part of this kind, by name."""
        _import_parts()
        return dict(self._parts)

    def get(self, name: str) -> PartT:
        """The part called `name`; raises `UserError` naming those that exist."""
        parts = self.all()
        if name not in parts:
            raise UserError(
                f"{self.setting} {name!r} is not available",
                found=f"{self.setting}={name}",
                expected=", ".join(sorted(parts)),
                hint=f"choose one of these with --set {self.setting}=...",
            )
        return parts[name]


def _import_parts() -> None:
    package = importlib.import_module("amlrepro.aml")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"amlrepro.aml.{module.name}")
