"""Jobs in children of a process that stands by: outcomes, signals, and who ends with whom."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from amlrepro.config import RunConfig
from amlrepro.launch import starter
from amlrepro.launch.job import Job
from amlrepro.launch.starter import Standby, Starter
from amlrepro.machine import process_start

STAND_IN = """
import os, signal, sys, time
from amlrepro.launch import standby, worker
standby.MODULES = ()
def carry_out(job):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    seed = job.config.seed
    print("job", seed, os.environ["PLACE"], os.getpid(), os.getsid(0), os.getppid(), flush=True)
    if seed == 1:
        raise ValueError("a bug")
    if seed == 2:
        os.kill(os.getpid(), signal.SIGSEGV)
    if seed >= 3:
        begin = time.monotonic()
        while time.monotonic() - begin < 30 and (seed == 3 or os.getppid() == int(os.environ[worker.PARENT])):
            time.sleep(0.02)
    return 0
worker.carry_out = carry_out
os._exit(standby.main())
"""


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Starter]:
    """A starter whose jobs are stand-ins."""
    script = tmp_path / "standby.py"
    script.write_text(STAND_IN)
    popen = subprocess.Popen

    def start(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        assert command == [sys.executable, "-m", "amlrepro.launch.standby"]
        return popen([sys.executable, str(script)], **options)

    monkeypatch.setattr(starter.subprocess, "Popen", start)
    made = Starter({"PLACE": "here"})
    yield made
    made.close()


def job(tmp_path: Path, seed: int) -> Job:
    config = RunConfig().with_changes({"seed": seed})
    return Job(folder=str(tmp_path / f"run{seed}"), config=config, train=True, evals=[])


def said(log: Path, lines: int = 1) -> list[list[str]]:
    begin = time.monotonic()
    while time.monotonic() - begin < 20:
        if log.exists() and len(found := log.read_text().splitlines()) >= lines:
            return [line.split() for line in found]
        time.sleep(0.02)
    raise AssertionError(log.read_text() if log.exists() else "nothing was said")


def test_one_process_serves_many_jobs_and_survives_their_crashes(started: Starter, tmp_path: Path) -> None:
    codes, places = [], set()
    for seed in (0, 1, 2, 0):
        log = tmp_path / f"log{seed}"
        codes.append(started.start(job(tmp_path, seed), log).wait(30))
        name, number, place, pid, session, parent = said(log)[0]
        assert (name, number, place) == ("job", str(seed), "here")
        assert pid == session != parent  # a session of its own
        places.add(parent)
    assert codes == [0, 1, -signal.SIGSEGV, 0]
    assert "ValueError: a bug" in (tmp_path / "log1").read_text()
    assert len(places) == 1


def test_signals_reach_the_job_and_no_other_process(started: Starter, tmp_path: Path) -> None:
    process = started.start(job(tmp_path, 3), tmp_path / "log")
    said(tmp_path / "log")
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 143
    assert started.start(job(tmp_path, 0), tmp_path / "next").wait(10) == 0
    process = started.start(job(tmp_path, 3), tmp_path / "log")
    said(tmp_path / "log", 2)
    process.send_signal(signal.SIGKILL)
    assert process.wait(10) == -signal.SIGKILL


def test_when_the_launcher_is_gone_the_job_saves_and_all_end(started: Starter, tmp_path: Path) -> None:
    process = started.start(job(tmp_path, 3), tmp_path / "log")
    assert isinstance(process, Standby)
    pids = [int(text) for text in said(tmp_path / "log")[0][3:]]
    started.close()  # the pipes of a launcher that was killed are closed likewise
    await_end(pids)


def test_when_it_is_killed_itself_the_job_notices_and_the_next_gets_another(started: Starter, tmp_path: Path) -> None:
    process = started.start(job(tmp_path, 4), tmp_path / "log")
    _, _, _, child, _, parent = said(tmp_path / "log")[0]
    os.kill(int(parent), signal.SIGKILL)
    assert process.wait(10) == -signal.SIGKILL
    await_end([int(child)])
    assert started.start(job(tmp_path, 0), tmp_path / "next").wait(20) == 0


def await_end(pids: list[int]) -> None:
    begin = time.monotonic()
    while any(process_start(pid) for pid in pids) and time.monotonic() - begin < 20:
        time.sleep(0.05)
    assert not any(process_start(pid) for pid in pids)


@pytest.mark.slow
def test_what_is_imported_starts_no_thread_and_touches_no_gpu() -> None:
    code = """
import importlib, json, os, sys
from amlrepro.launch import standby
for name in standby.MODULES:
    importlib.import_module(name)
import torch
print(json.dumps([len(os.listdir("/proc/self/task")), torch.cuda.is_initialized()]))
"""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert json.loads(done.stdout) == [1, False]
