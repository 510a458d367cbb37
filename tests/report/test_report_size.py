"""A report's work grows with what is in the store, no faster: every file is read once, records and sums not at all."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fake_store import make_plan

from amlrepro.bench.large_store import Size, fill_large, large_plan
from amlrepro.report.api import report
from amlrepro.suite.plan import Plan
from amlrepro.suite.store import Store

pytestmark = pytest.mark.slow
_listeners: list[Counter[str]] = []


def _hear(event: str, arguments: tuple[object, ...]) -> None:
    if _listeners and event == "open" and isinstance(arguments[0], str):
        _listeners[-1][arguments[0]] += 1


sys.addaudithook(_hear)


@contextmanager
def opened_files() -> Iterator[Counter[str]]:
    """How often each file is opened meanwhile, by the interpreter's own account."""
    _listeners.append(Counter())
    try:
        yield _listeners[-1]
    finally:
        _listeners.pop()


def reported(folder: Path, plan: Plan) -> tuple[Store, Size]:
    """A store for which a report was made, so that everything is cached."""
    store = Store(folder, "paper")
    size = fill_large(store, plan)
    report(store, plan)
    return store, size


def test_work_grows_with_the_store_and_no_faster(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    opened, seconds, sizes = [], [], []
    for seeds in (2, 5):
        plan = large_plan(seeds)
        store, size = reported(tmp_path / str(seeds), plan)
        begin = time.process_time()
        with opened_files() as files:
            report(store, plan)
        seconds.append(time.process_time() - begin)
        sizes.append(size)
        runs = {name: n for name, n in files.items() if name.startswith(str(store.folder / "runs"))}
        assert runs
        assert {name: n for name, n in runs.items() if n > 1} == {}
        assert not [name for name in runs if name.endswith((".parquet", ".npz"))]
        assert len(runs) <= 5 * size.runs + size.evals + size.probes  # config, state, history, provenance, lease
        opened.append(len(runs))
    with capsys.disabled():
        for size, took in zip(sizes, seconds, strict=True):
            print(f"\nreport on {size.runs} runs, {size.evals} evaluations: {took:.2f} s of CPU", end="")
    assert opened[1] <= 2.5 * opened[0]
    assert seconds[1] < 3.5 * seconds[0]  # quadratic would be 6.25


def test_what_is_kept_is_what_would_be_calculated(tmp_path: Path) -> None:
    plan = make_plan("paper", (0, 1))
    store, _ = reported(tmp_path, plan)
    folder = store.folder / "report" / "table1"
    first = (folder / "table1.json").read_bytes()
    assert (store.folder / "cache.json").exists()
    report(store, plan)
    assert (folder / "table1.json").read_bytes() == first
    (store.folder / "cache.json").write_text("{ torn")  # a broken cache is no cache
    report(store, plan)
    assert (folder / "table1.json").read_bytes() == first
    with opened_files() as files:
        report(store, plan)
    assert files[str(store.folder / "cache.json")] == 1
