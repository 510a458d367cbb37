"""What an ablation may vary: the axes of the method by name, and how their values are read. Torch-free."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, get_args

from amlrepro.aml.presets import PRESETS
from amlrepro.errors import UserError, unknown_name
from amlrepro.schema import Strict
from amlrepro.sections import AFMConfig, PMMEConfig


@dataclass(frozen=True)
class Axis:
    """One axis. key: the setting it changes, dotted; "preset" changes no setting but the row's preset, so that a
    profile's own keys for that preset apply. choices: its values by name, or none where it takes numbers; low, high:
    their range, both included, high None without an upper end; whole: integers only.
    """

    name: str
    key: str
    title: str
    choices: tuple[str, ...] = ()
    low: float = 0
    high: float | None = None
    whole: bool = False

    @property
    def numeric(self) -> bool:
        """Whether values lie on a line, so that a plot may join them."""
        return not self.choices

    @property
    def allowed(self) -> str:
        """The values, in words."""
        if self.choices:
            return ", ".join(self.choices)
        kind = "a whole number" if self.whole else "a number"
        return f"{kind} of at least {self.low:g}" if self.high is None else f"{kind} from {self.low:g} to {self.high:g}"


def _choices(group: type[Strict], field: str) -> tuple[str, ...]:
    return get_args(group.model_fields[field].annotation)


AXES: dict[str, Axis] = {
    axis.name: axis
    for axis in (
        Axis("tau", "afm.tau", "threshold tau", high=1),
        Axis("rho", "afm.rho", "dropout rho", high=1),
        Axis("da", "pmme.dim", "projection width D_a", low=1, whole=True),
        Axis("stage", "pmme.stage", "features of PMME", _choices(PMMEConfig, "stage")),
        Axis("projection", "pmme.projection", "projection", _choices(PMMEConfig, "projection")),
        Axis("level", "afm.level", "level of the mask", _choices(AFMConfig, "level")),
        Axis("block", "afm.block", "side of a block in pixels", low=1, whole=True),
        Axis("tokens", "pmme.tokens", "tokens in softmax and maximum", _choices(PMMEConfig, "tokens")),
        Axis("normalize", "pmme.normalize", "normalisation of features", _choices(PMMEConfig, "normalize")),
        Axis("dropout", "afm.dropout", "rule of the dropout", _choices(AFMConfig, "dropout")),
        Axis("preset", "preset", "preset", tuple(PRESETS)),
    )
}


def axis(name: str) -> Axis:
    """The axis called `name`; raises `UserError` with the nearest."""
    found = AXES.get(name.strip().lower())
    if found is None:
        raise unknown_name("axis", name, AXES)
    return found


def parse_value(axis: Axis, text: str) -> dict[str, Any]:
    """One value as the change it makes, `{"afm.tau": 0.3}`; a fraction may be written as one, `1/6`.

    Raises `UserError` naming the values that an axis takes, for another name, for what is no number, and for a number
    out of range. Whether a block divides the picture is known only with the rest of the configuration.
    """
    text = text.strip()
    if axis.choices:
        if text not in axis.choices:
            raise unknown_name(f"value of {axis.name}", text, axis.choices, axis.key)
        return {axis.key: text}
    return {axis.key: _number(axis, text)}


def parse_values(axis: Axis, texts: Sequence[str]) -> list[dict[str, Any]]:
    """Values given one by one or joined by commas, in order and each once, as `parse_value` reads them.

    Raises `UserError` as it does, and for none.
    """
    parts = [part for text in texts for part in text.split(",") if part.strip()]
    if not parts:
        raise UserError(f"no values for {axis.name}", where="--values", expected=axis.allowed)
    changes: list[dict[str, Any]] = []
    for part in parts:
        change = parse_value(axis, part)
        if change not in changes:
            changes.append(change)
    return changes


def _number(axis: Axis, text: str) -> int | float:
    wrong = UserError(f"{text!r} is no value of {axis.name}", where=axis.key, expected=axis.allowed)
    try:
        value = int(text) if axis.whole else float(Fraction(text)) if "/" in text else float(text)
    except (ValueError, ZeroDivisionError):
        raise wrong from None
    if not math.isfinite(value) or value < axis.low or (axis.high is not None and value > axis.high):
        raise wrong
    return value
