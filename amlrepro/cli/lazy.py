"""A group of commands that imports a command when it is called, so that `amlris --help` starts at once."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup


@dataclass(frozen=True)
class Entry:
    """A command by name. target: `module:function`, or a `typer.Typer` of subcommands; help: one line for the list;
    panel: under which heading it stands there."""

    name: str
    target: str
    help: str
    panel: str

    def load(self) -> Any:
        """The command itself, its module imported."""
        module, _, attribute = self.target.partition(":")
        found = getattr(importlib.import_module(module), attribute)
        if not isinstance(found, typer.Typer):
            app = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode="rich", add_completion=False)
            app.command(self.name)(found)
            found = app
        command = typer.main.get_command(found)
        command.name = self.name
        return command


class LazyGroup(TyperGroup):
    """Lists its entries without importing them. A subclass sets `entries`."""

    entries: ClassVar[Sequence[Entry]] = ()

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for entry in self.entries:
            listed = TyperCommand(entry.name, callback=None, help=entry.help, rich_help_panel=entry.panel)
            self.add_command(listed, entry.name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Import the command that is called."""
        entry = next((each for each in self.entries if args and each.name == args[0]), None)
        if entry is not None:
            self.commands[entry.name] = entry.load()
        return super().resolve_command(ctx, args)
