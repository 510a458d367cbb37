"""Lists on the command line: `--seeds 0 1 2` means the same as `--seeds 0,1,2`."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def join_lists(arguments: Sequence[str]) -> list[str]:
    """The arguments with the items after a list option joined by commas, so that it takes one value.

    Numbers end at the first word that is none, so an experiment's name may follow them; names at the next option.
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


def _is_value(word: str) -> bool:
    return not word.startswith("-") or word[1:2].isdecimal()


def _is_word(word: str) -> bool:
    return not word.startswith("-")


_LISTS: dict[str, Callable[[str], bool]] = {
    "--seeds": _is_numbers,
    "--severity": _is_numbers,
    **dict.fromkeys(("--models", "--eval", "--perturbations", "--metric", "--metrics", "--readings"), _is_word),
    **dict.fromkeys(("--values", "--by-values"), _is_value),
}


def split_list(text: str) -> list[str]:
    """The items of a list as `join_lists` hands it over, each once, in order."""
    return list(dict.fromkeys(item for item in text.replace(",", " ").split()))
