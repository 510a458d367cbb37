"""Side-by-side timing: order of the calls, spread and ratios by hand, what is kept, and real pairs at smoke size."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from amlrepro.bench.catalogue import BENCHMARKS, choose, find
from amlrepro.bench.isolated import merged
from amlrepro.bench.result import as_json, device_slug, read_results, write_result
from amlrepro.bench.spec import Benchmark, Gate, Measurement, Setting, Target
from amlrepro.bench.timing import alternate
from amlrepro.errors import UserError
from amlrepro.metrics.spread import quartiles


def test_sides_alternate_after_the_warm_up() -> None:
    calls: list[str] = []
    seconds = alternate({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=3, warmup=2)
    assert "".join(calls) == "ab" * 5
    assert {side: len(values) for side, values in seconds.items()} == {"a": 3, "b": 3}


def test_quartiles_by_hand() -> None:
    """Of 1, 2, 3, 4, 5 the inclusive quartiles are 2, 3 and 4."""
    assert quartiles([5.0, 1.0, 4.0, 2.0, 3.0]) == {"median": 3.0, "q1": 2.0, "q3": 4.0}


def _bench(reads: str, value: float) -> Benchmark:
    return Benchmark("b", "ours", "theirs", reads, "nowhere:f", {"cpu": Target(value)})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("reads", "target", "median", "met"),
    [("overhead", 1.5, 1.5, True), ("speedup", 0.7, 2 / 3, False), ("value", 3.0, 2.0, True)],
)
def test_ratios_by_hand(reads: str, target: float, median: float, met: bool) -> None:
    """Sides 2, 4, 2 and 3, 6, 3: every round has 3/2 over, 2/3 the other way; a value is the first side's own."""
    bench = _bench(reads, target)
    measured = Measurement({"theirs": [2.0, 4.0, 2.0], "ours": [3.0, 6.0, 3.0]})
    kept = as_json(bench, Setting(rounds=3), measured, "CPU (X), threads: 1", "2")
    assert kept["value"]["median"] == pytest.approx(median)
    assert (kept["met"], kept["rounds"], kept["gate"]) == (met, 3, None)
    assert as_json(bench, Setting(device="cuda"), measured, "G", "2")["met"] is None  # no target for that kind


def test_rounds_of_several_processes_are_one_measurement() -> None:
    """Two processes with ratios 2 and 4, and 1 and 3: the median of all four is 2.5. One failed gate fails all."""
    good, bad = Gate("g", 1.0, "1", True), Gate("g", 0.5, "1", False)
    parts = [
        Measurement({"a": [2.0, 4.0], "b": [1.0, 1.0]}, gate=good, details={"batch": 8}),
        Measurement({"a": [1.0, 3.0], "b": [1.0, 1.0]}, gate=bad),
    ]
    whole = merged(parts)
    assert whole.sides == {"a": [2.0, 4.0, 1.0, 3.0], "b": [1.0] * 4}
    assert whole.gate is bad
    assert whole.details == {"batch": 8, "processes": 2}
    kept = as_json(_bench("speedup", 2.0), Setting(), whole, "CPU (X), threads: 1", "2")
    assert (kept["value"]["median"], kept["rounds"], kept["met"]) == (2.5, 4, True)
    assert merged(parts[:1]) == parts[0]


def test_results_are_kept_by_device(tmp_path: Path) -> None:
    bench = _bench("speedup", 1.0)
    measured = Measurement({"a": [2.0], "b": [1.0]}, gate=Gate("masks", 1.0, "at least 0.999", True))
    kept = as_json(bench, Setting(), measured, "CPU (Intel(R) Xeon(R) Processor), threads: 1", "2")
    path = write_result(tmp_path, kept)
    assert path == tmp_path / "cpu-intel-xeon-processor" / "demo" / "b.json"
    assert read_results(tmp_path) == [kept]
    assert read_results(tmp_path, ["other"]) == []
    path.write_text("[]")
    with pytest.raises(UserError, match="no result of"):
        read_results(tmp_path)


def test_names_of_devices() -> None:
    assert device_slug("NVIDIA A800-SXM4-80GB") == "nvidia-a800-sxm4-80gb"


def test_every_benchmark_can_be_found_and_names_a_function() -> None:
    assert len({bench.name for bench in BENCHMARKS}) == len(BENCHMARKS)
    for bench in BENCHMARKS:
        module, _, name = bench.measure.partition(":")
        assert callable(getattr(importlib.import_module(module), name))
        assert find(bench.name) is bench
    assert choose([]) == [bench for bench in BENCHMARKS if bench.usual]
    with pytest.raises(UserError, match="stage_one"):
        choose(["stage_on"])


def test_stage_one_at_smoke_size() -> None:
    """Both sides really step: every round has two positive times, and the ratio is theirs."""
    bench = find("stage_one")
    measured = bench.run(Setting("smoke", rounds=4))
    plain, with_aml = measured.sides.values()
    assert list(measured.sides) == ["CARIS", "CARIS+AML"]
    assert bench.values(measured) == [b / a for a, b in zip(plain, with_aml, strict=True)]
    assert len(plain) == 4
    assert min(plain + with_aml) > 0


@pytest.mark.slow
def test_memory_is_that_of_each_process_alone() -> None:
    """Two fresh processes a side; every one holds PyTorch, and none the memory of the one before."""
    measured = find("stage_one_memory").run(Setting("smoke"))
    assert {side: len(peaks) for side, peaks in measured.sides.items()} == {"CARIS": 2, "CARIS+AML": 2}
    peaks = [peak for side in measured.sides.values() for peak in side]
    assert 50 < min(peaks) <= max(peaks) < 1.5 * min(peaks)
