"""Side-by-side timing: order of the calls, spread by hand, and a real pair at smoke size."""

from __future__ import annotations

import pytest

from amlrepro.engine.bench import alternate, bench_pair, quartiles
from amlrepro.suite.profile import bench_configs


def test_sides_alternate_after_the_warm_up() -> None:
    calls: list[str] = []
    seconds = alternate({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=3, warmup=2)
    assert "".join(calls) == "ab" * 5
    assert {side: len(values) for side, values in seconds.items()} == {"a": 3, "b": 3}


def test_quartiles_by_hand() -> None:
    """Of 1, 2, 3, 4, 5 the inclusive quartiles are 2, 3 and 4."""
    assert quartiles([5.0, 1.0, 4.0, 2.0, 3.0]) == {"median": 3.0, "q1": 2.0, "q3": 4.0}


def test_a_pair_of_training_steps() -> None:
    configs = bench_configs("smoke")
    result = bench_pair("stage_one", configs, vocab_size=40, rounds=4, warmup=1)
    assert list(result["seconds"]) == list(configs)
    assert all(0 < s["q1"] <= s["median"] <= s["q3"] for s in result["seconds"].values())
    assert result["ratio"]["median"] > 0
    with pytest.raises(ValueError, match="two sides"):
        bench_pair("one", dict(list(configs.items())[:1]), vocab_size=40, rounds=4, warmup=1)
