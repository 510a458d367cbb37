"""What is known of a log of the official CARIS or AMLRIS code, once it is read (`official_reader.py`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Code = Literal["caris", "amlris"]


@dataclass(frozen=True)
class Read:
    """A number as it stands in a line of the log."""

    value: float
    text: str
    line: int


@dataclass(frozen=True)
class Broken:
    """A line that is not what it begins like. expected: what it should have been."""

    line: int
    text: str
    expected: str


@dataclass(frozen=True)
class Window:
    """One line about updates. after: whole epochs trained before it; update: of the epoch, of `of` updates; values: by
    name, (median of the last 20, mean of the epoch), or the current value twice."""

    after: int
    update: int
    of: int
    line: int
    values: dict[str, tuple[float, float]]


@dataclass
class Scores:
    """The results of one evaluation. after: whole epochs trained, None where the log does not tell; line: of
    `Final results:`; better: it was the best so far."""

    after: int | None
    line: int
    metrics: dict[str, Read] = field(default_factory=dict)
    better: bool = False


@dataclass
class OfficialLog:
    """A log as it was read. code: whose losses it prints, None without any; arguments: of the command, where the log
    shows it; ended: line by whole epochs trained; skipped: batches left out for not being finite; samples: of a
    stand-alone evaluation; begun_again: lines at which a training went on from an earlier epoch."""

    path: Path
    sha256: str
    lines: int = 0
    code: Code | None = None
    arguments: dict[str, tuple[str, int]] = field(default_factory=dict)
    windows: list[Window] = field(default_factory=list)
    ended: dict[int, int] = field(default_factory=dict)
    scores: list[Scores] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)
    skipped: int = 0
    samples: int | None = None
    image_size: int | None = None
    resolution: Literal["resized", "original"] | None = None
    begun_again: list[int] = field(default_factory=list)

    @property
    def is_training(self) -> bool:
        return bool(self.windows or self.ended)

    @property
    def epochs(self) -> int:
        """Whole epochs trained."""
        return max(self.ended, default=0)
