"""The rule of the gate by hand."""

from __future__ import annotations

import pytest

from amlrepro.bench.numerics_gate import judge


def test_the_rule_by_hand() -> None:
    """40 to 44 points: variance 2.5 on both sides, so the bound is 2.306 sqrt(2.5) sqrt(2 / 5) = 2.306."""
    base = [{"oiou": 40.0 + i, "miou": 30.0 + i} for i in range(5)]
    near = [{"oiou": seed["oiou"] + 2.3, "miou": seed["miou"]} for seed in base]
    far = [{"oiou": seed["oiou"] - 2.31, "miou": seed["miou"]} for seed in base]
    passed, details = judge({"faithful": base, "fast": near})
    assert passed
    assert details["oiou"]["bound"] == pytest.approx(2.306)
    assert details["oiou"]["difference"] == pytest.approx(2.3)
    assert not judge({"faithful": base, "fast": far})[0]
