"""Making a report of hundreds of runs and thousands of evaluations whose metrics are cached, at three sizes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from amlrepro.bench.large_store import Size, fill_cache, fill_large, large_plan
from amlrepro.bench.scaling import exponent
from amlrepro.bench.spec import Gate, Measurement, Setting
from amlrepro.bench.timing import alternate
from amlrepro.metrics.spread import quartiles
from amlrepro.report.api import report as write_report
from amlrepro.suite.plan import Plan
from amlrepro.suite.store import Store

ROUNDS = 4
SEEDS = {"smoke": (1, 2, 3)}
MANY_SEEDS = (2, 8, 21)  # the last: 630 runs, 5,103 evaluations
LINEAR = 1.15  # an exponent of growth that still counts as linear


def report(setting: Setting) -> Measurement:
    """Seconds of all tables, figures and pages from the largest of three stores, made again where they were made
    before, as by a second `amlris report`. Gate: how they grow with the number of runs."""
    sizes: list[Size] = []
    processor: list[float] = []
    calls = {}
    with tempfile.TemporaryDirectory() as folder:
        for seeds in SEEDS.get(setting.sizes, MANY_SEEDS):
            plan, store = large_plan(seeds), Store(Path(folder) / str(seeds), "paper")
            sizes.append(fill_large(store, plan))
            fill_cache(store, plan)
            calls[f"{sizes[-1].runs} runs"] = _report(store, plan, processor)
        seconds = alternate(calls, setting.rounds or ROUNDS)
    runs = [size.runs for size in sizes]
    growth = quartiles([exponent(runs, each) for each in zip(*seconds.values(), strict=True)])
    gate = Gate("exponent of growth with the runs", growth["median"], f"at most {LINEAR}", growth["median"] <= LINEAR)
    details = {
        "runs": runs,
        "evaluations": [size.evals for size in sizes],
        "growth": growth,
        "seconds": [quartiles(values)["median"] for values in seconds.values()],
        "cpu_seconds": quartiles(processor[len(calls) - 1 :: len(calls)][1:]),  # of the largest, without the warm-up
    }
    return Measurement(seconds, gate=gate, values=[*seconds.values()][-1], details=details)


def _report(store: Store, plan: Plan, processor: list[float]) -> Callable[[], None]:
    """A report, which notes the processor's seconds it took."""

    def call() -> None:
        begin = time.process_time()
        write_report(store, plan)
        processor.append(time.process_time() - begin)

    return call
