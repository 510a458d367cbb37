"""Both sides of the loading benchmark give the same batches, and the second one has them from disk."""

from __future__ import annotations

import pytest

from amlrepro.bench.catalogue import find
from amlrepro.bench.spec import Setting
from amlrepro.data import source
from amlrepro.data.cache import ArrayCache


@pytest.mark.parametrize("model", ["caris", "detris", "rela"])
def test_batches_are_the_same_on_both_sides(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "_cache", ArrayCache())  # the benchmark takes it away
    measured = find(f"loading_{model}").run(Setting(sizes="smoke", rounds=4))
    assert [len(seconds) for seconds in measured.sides.values()] == [4, 4]
    assert measured.gate is not None
    assert measured.gate.passed
    pixels = 3 * 96 * 96 / (1 << 20)  # a picture's bytes; masks are packed
    assert pixels < measured.details["MiB a picture with its masks"] < 1.2 * pixels
