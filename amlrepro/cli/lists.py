"""Options that take several values, and what single values of theirs mean."""

from __future__ import annotations

from amlrepro.cli.arguments import split_list
from amlrepro.data.specs import COMBINED, DATASETS, dataset_spec, parse_dataset_split
from amlrepro.errors import UserError, unknown_name


def items(text: str | None, where: str) -> list[str]:
    """The items of a list option, none where it is not given; raises `UserError` for one that is given and empty."""
    if text is None:
        return []
    found = split_list(text)
    if not found:
        raise UserError("an empty list", where=where)
    return found


def usual_split(text: str) -> tuple[str, str]:
    """Data set and split of `refcoco:val`; plans know a data set's usual partition only."""
    dataset, owner, split = parse_dataset_split(text)
    usual = dataset_spec(dataset).default
    if owner not in (None, usual):
        raise UserError("tables use the usual partition", where="--eval", found=text, expected=f"{dataset}({usual})")
    return dataset, split


def training_set(name: str) -> str:
    """The name of what models are trained on; raises `UserError` with the nearest."""
    if name not in (*DATASETS, COMBINED):
        raise unknown_name("data set", name, (*DATASETS, COMBINED), "--train")
    return name
