"""Lists on the command line."""

from __future__ import annotations

import pytest

from amlrepro.cli.arguments import join_lists, split_list
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
        ("robustness --models caris caris_aml --force", "robustness --models caris,caris_aml --force"),
        ("robustness --eval refcoco:val refcocog:val", "robustness --eval refcoco:val,refcocog:val"),
        ("robustness --severity 1 2 --perturbations haze", "robustness --severity 1,2 --perturbations haze"),
        ("evaluate --severity 3 last.safetensors", "evaluate --severity 3 last.safetensors"),
        ("bench --rounds 5", "bench --rounds 5"),
    ],
)
def test_items_are_joined(typed: str, read: str) -> None:
    assert join_lists(typed.split()) == read.split()


def test_items_of_a_list() -> None:
    assert split_list("haze,lowlight, haze ,contrast") == ["haze", "lowlight", "contrast"]
    assert split_list(",") == []


def test_seeds() -> None:
    assert parse_seeds("0,1,2") == parse_seeds("0 1 2") == (0, 1, 2)
    assert parse_seeds(None) is None
    for wrong in ("a", "1.5", "-1", ""):
        with pytest.raises(UserError, match="whole numbers"):
            parse_seeds(wrong)
