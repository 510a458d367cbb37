"""What a user did wrong, said once and clearly. Imported by every room; imports nothing of the package."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """An error the user can mend: the command line prints it without a traceback and exits with code 2.

    Parameters
    ----------
    what: one sentence that says what is wrong.
    where: file, field or flag it was found in.
    found, expected: what stood there, and what would have been right.
    hint: the next step.
    """

    def __init__(
        self,
        what: str,
        *,
        where: object = None,
        found: object = None,
        expected: object = None,
        hint: str | None = None,
    ) -> None:
        self.what = what
        self.where = where
        self.found = found
        self.expected = expected
        self.hint = hint
        super().__init__(self.message())

    def message(self) -> str:
        """The message as printed: the sentence, then one indented line for each part that is known."""
        lines = [self.what]
        parts = (("where", self.where), ("found", self.found), ("expected", self.expected), ("next", self.hint))
        lines += [f"  {name + ':':<10}{value}" for name, value in parts if value is not None]
        return "\n".join(lines)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (self.what, self.where, self.found, self.expected, self.hint)


def _rebuild(what: str, where: object, found: object, expected: object, hint: str | None) -> UserError:
    return UserError(what, where=where, found=found, expected=expected, hint=hint)


def nearest(name: str, choices: Iterable[str], n: int = 3) -> list[str]:
    """The up to `n` choices that look most like `name`, best first (at least one if there are any choices)."""
    pool = list(choices)
    lowered = {c.lower(): c for c in reversed(pool)}
    close = difflib.get_close_matches(name.lower(), list(lowered), n=n, cutoff=0.4)
    if not close:
        close = difflib.get_close_matches(name.lower(), list(lowered), n=1, cutoff=0.0)
    return [lowered[c] for c in close]


def unknown_name(kind: str, name: str, choices: Iterable[str], where: object = None) -> UserError:
    """The error for a name that does not exist, with the nearest right ones."""
    pool = list(choices)
    return UserError(
        f"unknown {kind} {name!r}",
        where=where,
        expected=(", ".join(pool) or "there is none yet") if len(pool) <= 12 else f"one of {len(pool)} names",
        hint="did you mean " + " or ".join(repr(c) for c in nearest(name, pool)) + "?" if pool else None,
    )
