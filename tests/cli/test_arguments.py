"""Lists on the command line."""

from __future__ import annotations

import pytest

from amlrepro.cli.arguments import join_lists
from amlrepro.cli.options import parse_seeds
from amlrepro.errors import UserError


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("run table1 --seeds 0 1 2", "run table1 --seeds 0,1,2"),
        ("run --seeds 0 1 2 table1", "run --seeds 0,1,2 table1"),
        ("run table1 --seeds 0,1,2 --force", "run table1 --seeds 0,1,2 --force"),
        ("run table1 --seeds 3", "run table1 --seeds 3"),
        ("run table1 --seeds", "run table1 --seeds"),
        ("run --seeds 0 1 --set seed=1 table1", "run --seeds 0,1 --set seed=1 table1"),
        ("bench --rounds 5", "bench --rounds 5"),
    ],
)
def test_items_are_joined(typed: str, read: str) -> None:
    assert join_lists(typed.split()) == read.split()


def test_seeds() -> None:
    assert parse_seeds("0,1,2") == parse_seeds("0 1 2") == (0, 1, 2)
    assert parse_seeds(None) is None
    for wrong in ("a", "1.5", "-1", ""):
        with pytest.raises(UserError, match="whole numbers"):
            parse_seeds(wrong)
