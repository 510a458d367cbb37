"""Lists on the command line: `--seeds 0 1 2` means the same as `--seeds 0,1,2`."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def join_lists(arguments: Sequence[str]) -> list[str]:
    """The arguments with the items after a list option joined by commas, so that it takes one value.

    Seeds end at the first word that is no number, so an experiment's name may follow them.
    """
    out: list[str] = []
    belongs: Callable[[str], bool] | None = None
    begun = False
    for argument in arguments:
        if belongs is None or not belongs(argument):
            belongs, begun = _LISTS.get(argument), False
            out.append(argument)
        elif begun:
            out[-1] += f",{argument}"
        else:
            begun = True
            out.append(argument)
    return out


def _is_numbers(word: str) -> bool:
    return word.replace(",", "").isdecimal()


_LISTS: dict[str, Callable[[str], bool]] = {"--seeds": _is_numbers}
