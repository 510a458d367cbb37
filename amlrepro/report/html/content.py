"""What a page beside the tables says, before it is HTML: chapters of sentences, tiles and grids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Tone = Literal["", "good", "bad", "open"]


@dataclass(frozen=True)
class Text:
    """One place in a grid. tone: shown as a label, good, bad or undecided; href: where it leads; detail: small, below;
    anchor: its own name."""

    text: str
    tone: Tone = ""
    href: str | None = None
    detail: str = ""
    anchor: str | None = None


@dataclass(frozen=True)
class Header:
    """A column's name; numbers stand to the right."""

    text: str
    number: bool = False


@dataclass(frozen=True)
class Grid:
    """A table. The first place of each row names the row. tall: long enough to be cut between printed pages."""

    title: str
    headers: tuple[Header, ...]
    rows: tuple[tuple[Text, ...], ...]
    note: str = ""

    @property
    def tall(self) -> bool:
        return len(self.rows) > 12


@dataclass(frozen=True)
class Tile:
    """A number that is seen first. value: large; note: small, below."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Chapter:
    """A part of a page with a name of its own. points: a list of sentences; `code` in backticks."""

    id: str
    title: str
    paragraphs: tuple[str, ...] = ()
    tiles: tuple[Tile, ...] = ()
    points: tuple[str, ...] = ()
    grids: tuple[Grid, ...] = ()


@dataclass(frozen=True)
class Page:
    """A page: `<name>.html`. kicker: above the title; lead: what a reader should know before all else. runs: whether it
    shows what came out of runs (of `seeds`), and not only what is printed or published."""

    name: str
    kicker: str
    title: str
    lead: str
    chapters: tuple[Chapter, ...]
    runs: bool = True
    seeds: tuple[int, ...] = ()

    @property
    def file(self) -> str:
        return f"{self.name}.html"


def grid(title: str, headers: Sequence[str], rows: Sequence[Sequence[Text | str]], note: str = "") -> Grid:
    """A grid from plain texts; a header that begins with `>` is that of numbers."""
    names = tuple(Header(text.removeprefix(">"), text.startswith(">")) for text in headers)
    places = tuple(tuple(Text(each) if isinstance(each, str) else each for each in row) for row in rows)
    return Grid(title, names, places, note)
