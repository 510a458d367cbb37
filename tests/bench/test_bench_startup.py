"""Commands in processes of their own: what is told of imports, failures, and real pairs at smoke size."""

from __future__ import annotations

import subprocess

import pytest

from amlrepro.bench import startup
from amlrepro.bench.catalogue import find
from amlrepro.bench.spec import Setting


def test_heavy_imports_are_told_and_failures_raised() -> None:
    with startup._place() as place:
        told = place.call("-c", f"{startup._TELL}sys.modules['pandas'] = sys.modules['numpy'] = sys")
        assert told().split() == ["pandas"]
        with pytest.raises(subprocess.CalledProcessError):
            place.amlris("no-such-command")()
        gate = place.light("--help")
    assert gate.passed
    assert gate.found == "none"


@pytest.mark.slow
def test_help_is_set_beside_imports_and_status_beside_runs() -> None:
    """The ratio of every round is that of its two processes; the store of a seed has 30 runs."""
    bench = find("help")
    measured = bench.run(Setting("smoke", rounds=4))
    assert bench.values(measured) == [b / a for a, b in zip(*measured.sides.values(), strict=True)]
    for name in ("plan_all", "status"):
        bench = find(name)
        measured = bench.run(Setting("smoke", rounds=4))
        assert bench.values(measured) == [max(each) for each in zip(*measured.sides.values(), strict=True)]
        assert measured.gate is not None
        assert measured.gate.passed
        assert measured.details["runs"] == 30
        assert len(measured.details["cpu_seconds"]) == len(measured.sides)
