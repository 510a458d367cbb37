"""status, logs, cancel, retry and gc as typed, on generated stores."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from watched_store import make_plan, ordered_store, put_results, put_run

from amlrepro.cli import logs as logs_module
from amlrepro.cli import status_watch
from amlrepro.cli.carry_out import WorkOptions
from amlrepro.cli.main import main
from amlrepro.cli.options import Opened
from amlrepro.rundir import RunDir
from amlrepro.suite.cancel import cancel_requested, request_cancel
from amlrepro.suite.lease import Owner, lease_path
from amlrepro.suite.orders import at_work, read_orders
from amlrepro.suite.plan import Plan, PlannedRun
from amlrepro.suite.store import Store

MEMORY = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return make_plan(tmp_path_factory.mktemp("data"), ["table2"])


@pytest.fixture(autouse=True)
def store(tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store in `results` of the working folder, where table2 was asked for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AMLRIS_CONFIG", str(tmp_path / "none.yaml"))
    return ordered_store(Path("results"), plan)


@pytest.fixture
def runs(store: Store) -> list[PlannedRun]:
    (order,) = read_orders(store)
    return [order.planned(name) for name in order.run_ids]


def call(*arguments: str) -> int:
    """Exit code of `amlris ...`."""
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    return int(end.value.code or 0)


def between_looks(module: ModuleType, work: Iterator[None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Do one step of `work` before the first look and one in each pause between two."""
    next(work)
    stepping = SimpleNamespace(monotonic=time.monotonic, sleep=lambda seconds: next(work, None))
    monkeypatch.setattr(module, "time", stepping)
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.0)


def run_it(run: RunDir) -> None:
    """Put this process to work on a run."""
    run.path.mkdir(parents=True, exist_ok=True)
    lease_path(run).write_text(json.dumps(asdict(Owner.me())), "utf-8")
    run.beat()


def test_status_says_what_runs_what_failed_and_what_is_filled(
    store: Store, runs: list[PlannedRun], capsys: pytest.CaptureFixture[str]
) -> None:
    put_run(store, runs[0])
    put_results(store, runs[0])
    failure = {"cause": "memory", "reason": MEMORY, "node": "gpu03", "attempts": 3}
    put_run(store, runs[1], "failed", 1, reason=f"{MEMORY}\n  where: here", failure=failure)
    run_it(put_run(store, runs[2], "running", 1, loss=0.25, images_per_s=31.5, eta_s=125.0))
    assert call("status") == 0
    text = capsys.readouterr().out
    assert text.startswith("smoke | 4 runs: 1 running, 1 failed, 1 to do, 1 done")
    (line,) = [line for line in text.splitlines() if line.startswith(runs[2].run_id)]
    for part in ("training", "1/2", "0.2500", "31.5", "2 min 05 s", f"process {os.getpid()}"):
        assert part in line
    assert "failed (memory): 1 run on gpu03" in text
    assert "--jobs-per-gpu" in text  # the remedy
    assert "where: here" not in text
    cells = len(runs[0].evals)
    (line,) = [line for line in text.splitlines() if line.startswith("table2")]
    assert f"{cells} of 12" in line


def test_status_as_json(store: Store, runs: list[PlannedRun], capsys: pytest.CaptureFixture[str]) -> None:
    put_run(store, runs[0], "failed", 1, reason="training has diverged: loss or gradient is not finite")
    put_run(store, runs[1], "failed", 1, reason="training has diverged: loss or gradient is not finite")
    assert call("status", "table2", "--json") == 0
    values = json.loads(capsys.readouterr().out)
    assert [run["state"] for run in values["runs"]] == ["failed", "failed", "to do", "to do"]
    (group,) = values["failures"]
    assert (group["cause"], sorted(group["run_ids"])) == ("nan", sorted([runs[0].run_id, runs[1].run_id]))
    (experiment,) = values["experiments"]
    assert (experiment["experiment"], experiment["cells"], experiment["filled"]) == ("table2", 12, 0)


def test_status_of_experiments(store: Store, capsys: pytest.CaptureFixture[str], runs: list[PlannedRun]) -> None:
    """One that nobody asked for here is planned, to see what others have done for it; a wrong name is told."""
    put_run(store, runs[0])
    assert call("status", "table4", "--json") == 0
    (experiment,) = json.loads(capsys.readouterr().out)["experiments"]
    assert (experiment["experiment"], experiment["filled"]) == ("table4", 0)
    assert call("status", "tabel2") == 2
    assert "'table2'" in capsys.readouterr().err


def test_watching_in_lines_follows_changes_to_the_end(
    store: Store,
    runs: list[PlannedRun],
    plan: Plan,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def work() -> Iterator[None]:
        with at_work(store, plan):
            yield
            put_run(store, runs[0], "running", 1)
            run_it(store.run(runs[0].run_id))
            yield
            put_results(store, runs[0])
            put_run(store, runs[0])
            lease_path(store.run(runs[0].run_id)).unlink()
            yield

    between_looks(status_watch, work(), monkeypatch)
    assert call("status", "--watch") == 0
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith(runs[0].run_id)]
    assert [line.split(": ")[1].split(",")[0] for line in said] == ["queued", "training", "done"]


def test_logs_shows_the_end_and_follows_restarts(
    store: Store, runs: list[PlannedRun], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = put_run(store, runs[0], "running", 1)
    run_it(run)
    run.log.write_text("".join(f"line {number}\n" for number in range(50)), "utf-8")
    assert call("logs", runs[0].run_id[:-3], "-n", "3") == 0
    assert capsys.readouterr().out == "line 47\nline 48\nline 49\n"

    def work() -> Iterator[None]:
        yield
        with run.log.open("a", encoding="utf-8") as f:
            f.write("half a ")
            f.flush()
            yield
            f.write("line é\n--- restarted\n")
        yield
        put_run(store, runs[0], "failed", 1, reason="broken\n more")
        lease_path(run).unlink()
        yield

    between_looks(logs_module, work(), monkeypatch)
    assert call("logs", runs[0].run_id, "-n", "1", "--follow") == 0
    output = capsys.readouterr()
    assert output.out == "line 49\nhalf a line é\n--- restarted\n"
    assert output.err == f"{runs[0].run_id}: failed, broken\n"


def test_logs_of_a_wrong_or_ambiguous_name(
    store: Store, runs: list[PlannedRun], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("logs", runs[0].run_id.replace("refcoco", "refcooc")) == 2
    assert f"{runs[0].run_id}" in capsys.readouterr().err
    assert call("logs", "caris") == 2
    assert "several runs" in capsys.readouterr().err


def test_cancel_asks_first_and_says_what_it_did(
    store: Store,
    runs: list[PlannedRun],
    plan: Plan,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_it(put_run(store, runs[0], "running", 1))
    put_run(store, runs[1])
    put_results(store, runs[1])
    with at_work(store, plan):  # a launcher has the others in its queue
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        assert call("cancel", "table2") == 2
        assert "--yes" in capsys.readouterr().err
        assert not any(cancel_requested(store.run(run.run_id)) for run in runs)
        assert call("cancel", "table2", "--yes") == 0
    text = capsys.readouterr().out
    assert f"{runs[0].run_id}: asked to save and end" in text
    assert f"nothing to cancel of {runs[1].run_id}: done" in text
    assert f"{runs[2].run_id}: will not be started" in text
    assert [cancel_requested(store.run(run.run_id)) for run in runs] == [True, False, True, True]
    assert json.loads((store.run(runs[0].run_id).path / "cancel").read_text("utf-8")).keys() == {"by", "on", "when"}


def test_cancel_needs_to_be_told_what(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("cancel") == 2
    assert "--all" in capsys.readouterr().err
    assert call("cancel", "--all") == 0
    assert "nothing runs or waits" in capsys.readouterr().out


def test_cancel_takes_jobs_out_of_slurms_queue(
    store: Store,
    runs: list[PlannedRun],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One call of scancel for those that have not begun."""
    folder = store.folder / "slurm"
    folder.mkdir()
    ids = [run.run_id for run in runs[:3]]
    (folder / "7.json").write_text(json.dumps({"job_id": "7", "kind": "training", "runs": ids, "since": 0.0}), "utf-8")
    (folder / "7_2_0.json").write_text("{}", "utf-8")  # begun
    for number, run_id in enumerate(ids):
        store.run(run_id).path.mkdir(parents=True)
        store.run(run_id).write_state("queued", queued={"executor": "slurm", "job_id": f"7_{number}", "since": 0.0})
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "scancel").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n', "utf-8")
    (programs / "scancel").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    assert call("cancel", *ids) == 0
    assert (tmp_path / "asked").read_text("utf-8") == "7_0 7_1\n"
    assert "taken out of SLURM's queue: 7_0, 7_1" in capsys.readouterr().out
    assert call("status", "--json") == 0
    states = {run["run_id"]: run["state"] for run in json.loads(capsys.readouterr().out)["runs"]}
    assert [states[run_id] for run_id in ids] == ["cancelled"] * 3


def test_retry_does_failed_runs_again_as_they_were_asked_for(
    store: Store, runs: list[PlannedRun], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    carried: list[Opened] = []

    def carry_out(opened: Opened, work: WorkOptions, show: object) -> None:
        carried.append(opened)

    monkeypatch.setattr("amlrepro.cli.retry.carry_out", carry_out)
    put_run(store, runs[0], "failed", 1, reason=MEMORY, failure={"cause": "memory", "attempts": 3})
    request_cancel(put_run(store, runs[1], "preempted", 1, reason="cancelled"))
    assert call("retry", "--jobs", "1") == 0
    (opened,) = carried
    (again,) = opened.plan.runs.values()
    assert (again.config, again.evals, again.until) == (runs[0].config, runs[0].evals, runs[0].until)
    state = store.state(runs[0].run_id)
    assert (state["state"], state["epoch"], "failure" in state, "reason" in state) == ("queued", 1, False, False)
    assert cancel_requested(store.run(runs[1].run_id))  # only failed ones without names

    assert call("retry", runs[1].run_id, runs[0].run_id) == 0
    assert list(carried[1].plan.runs) == [runs[1].run_id, runs[0].run_id]
    assert not cancel_requested(store.run(runs[1].run_id))

    put_run(store, runs[0])
    put_results(store, runs[0])
    capsys.readouterr()
    assert call("retry", runs[0].run_id) == 0
    assert f"nothing to do again of {runs[0].run_id}: done" in capsys.readouterr().out
    assert len(carried) == 2


def test_retry_only_shown_changes_nothing(store: Store, runs: list[PlannedRun]) -> None:
    run = put_run(store, runs[0], "failed", 1, reason=MEMORY)
    before = run.state.read_bytes()
    assert call("retry", "--dry-run") == 0
    assert run.state.read_bytes() == before


def test_retry_of_what_nobody_asked_for(
    store: Store, runs: list[PlannedRun], capsys: pytest.CaptureFixture[str]
) -> None:
    put_run(store, runs[0], "failed", 1, reason=MEMORY)
    for path in (store.folder / "orders").iterdir():
        path.unlink()
    assert call("retry") == 2
    assert "amlris run" in capsys.readouterr().err


def test_gc_lists_asks_and_removes(
    store: Store, runs: list[PlannedRun], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = put_run(store, runs[0])
    put_results(store, runs[0])
    left = run.evals / ".x.parquet.abc.tmp"
    left.write_bytes(b"x" * 3_000_000)
    os.utime(left, (1e9, 1e9))
    assert call("gc", "--dry-run") == 0
    assert "3.0 MB" in capsys.readouterr().out
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert call("gc") == 2
    assert left.exists()
    assert call("gc", runs[1].run_id) == 0  # of another run
    assert "nothing to remove" in capsys.readouterr().out
    assert call("gc", "--yes") == 0
    assert "freed 3.0 MB" in capsys.readouterr().out
    assert not left.exists()
    assert not lease_path(run).exists()
    assert call("gc") == 0
    assert "nothing to remove" in capsys.readouterr().out


def test_none_of_them_loads_torch(store: Store, runs: list[PlannedRun]) -> None:
    put_run(store, runs[0])
    code = f"""
import sys
from amlrepro.cli.main import main
commands = ["status"], ["status", "--watch"], ["cancel", "--all"], ["retry"], ["gc"], ["logs", "-f", "{runs[0].run_id}"]
for arguments in commands:
    try:
        main(arguments)
    except SystemExit as end:
        assert not end.code, (arguments, end.code)
heavy = {{"torch", "pandas", "transformers"}} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
