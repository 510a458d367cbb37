"""The JL error against the printed tables and the audit of them."""

from __future__ import annotations

import math

import pytest

from amlrepro.metrics.jl import jl_bound, jl_error


def test_printed_errors() -> None:
    """Tables 5 and 8 print 0.2955, 0.2088, 0.1478; the one that no argument gives beside the others is 0.2090."""
    assert [f"{jl_error(dim):.4f}" for dim in (1024, 2048, 4096)] == ["0.2955", "0.2090", "0.1478"]


def test_own_sizes() -> None:
    """The audit's example: M = 196, N_l = 20, sigma = 0.05."""
    assert [round(jl_bound(dim, 196, 20), 4) for dim in (1024, 2048, 4096)] == [0.2967, 0.2098, 0.1484]


def test_is_the_solution_of_the_printed_condition() -> None:
    eps = jl_bound(300, 49, 8, sigma=0.1)
    assert 8 * math.log(49 * 8 / 0.1) / eps**2 == pytest.approx(300)


@pytest.mark.parametrize(("dim", "argument"), [(0, 71_500.0), (64, 1.0)])
def test_refused(dim: int, argument: float) -> None:
    with pytest.raises(ValueError, match="no error"):
        jl_error(dim, argument)
