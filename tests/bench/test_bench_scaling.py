"""Growth of cost: the exponent by hand, and three real sizes each at smoke size."""

from __future__ import annotations

import pytest

from amlrepro.bench.catalogue import find
from amlrepro.bench.scaling import exponent
from amlrepro.bench.spec import Setting


def test_exponent_by_hand() -> None:
    """5 n^2 grows with exponent 2, n log-free linear with 1, a constant with 0."""
    assert exponent([2, 4, 8], [20, 80, 320]) == pytest.approx(2)
    assert exponent([1, 10, 100], [3, 30, 300]) == pytest.approx(1)
    assert exponent([1, 10, 100], [7, 7, 7]) == pytest.approx(0)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "key"), [("growth_batch", "batch"), ("growth_data", "refs")])
def test_three_sizes_step(name: str, key: str) -> None:
    """Sizes rise, every round has a time for each, and the values are the exponents of those."""
    bench = find(name)
    measured = bench.run(Setting("smoke", rounds=4))
    sizes, sides = measured.details[key], list(measured.sides.values())
    assert list(sizes) == sorted(set(sizes))
    assert [len(side) for side in sides] == [4, 4, 4]
    assert bench.values(measured) == [exponent(sizes, each) for each in zip(*sides, strict=True)]
