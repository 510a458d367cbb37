"""What a SLURM task does beside its worker, without SLURM: workers are stand-ins, a thread gives submitit's signal."""

from __future__ import annotations

import json
import pickle
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import submitit

from amlrepro.config import EvalConfig, RunConfig
from amlrepro.files import write_text
from amlrepro.launch import supervisor
from amlrepro.launch.job import Job
from amlrepro.launch.submissions import Submission, read_end, record, submissions_folder
from amlrepro.launch.supervisor import JobFailed, Supervisor
from amlrepro.rundir import RunDir
from amlrepro.suite.cancel import request_cancel
from amlrepro.suite.store import Store

VAL = EvalConfig(dataset="refcoco", split="val")
WORKER = """
import json, os, signal, sys, time
from pathlib import Path
job = json.loads(Path(sys.argv[1]).read_text())
folder = Path(job["folder"])
starts = folder / "starts"
number = len(starts.read_text()) if starts.exists() else 0
starts.write_text("x" * (number + 1))
def mark(state, **more):
    (folder / "state.new").write_text(json.dumps({"state": state, "updated": time.time(), **more}))
    os.replace(folder / "state.new", folder / "state.json")
def stop(*_):
    mark("preempted", epoch=1)
    sys.exit(143)
signal.signal(signal.SIGTERM, stop)
what = (folder / "what").read_text().split()[number]
mark("running", step=min(number, 1))
if what == "dies":
    os.kill(os.getpid(), signal.SIGKILL)
if what == "diverges":
    mark("failed", reason="training has diverged")
    sys.exit(2)
if what == "node":
    print("RuntimeError: CUDA error: uncorrectable ECC error encountered")
    sys.exit(1)
if what == "held":
    sys.exit(75)
if what == "waits":
    time.sleep(60)
assert signal.getsignal(signal.SIGUSR2) is signal.SIG_IGN
mark("done", epoch=50)
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    """A run's folder; its workers are stand-ins, and SLURM's job is 5_0."""
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    monkeypatch.setattr(supervisor, "command", lambda job, processes: [sys.executable, "-S", str(script), str(job)])
    place = SimpleNamespace(job_id="5_0", global_rank=0, num_tasks=1)
    monkeypatch.setattr(submitit, "JobEnvironment", lambda: place)
    monkeypatch.setattr(supervisor, "KILLED_SOON", 0.5)
    monkeypatch.setattr(supervisor, "PAUSE", 0.0)
    run = Store(tmp_path, "paper").run(RunConfig().run_id)
    run.path.mkdir(parents=True)
    return run


def task(run: RunDir, what: str, **more: Any) -> Supervisor:
    write_text(run.path / "what", what)
    job = Job(folder=str(run.path), config=RunConfig(), train=True, evals=[VAL])
    folder = submissions_folder(run.path.parents[1])
    folder.mkdir()
    return Supervisor(job.model_dump_json(), str(folder), **more)


def end(run: RunDir) -> dict[str, Any] | None:
    return read_end(submissions_folder(run.path.parents[1]), "5_0")


def starts(run: RunDir) -> int:
    return len((run.path / "starts").read_text())


def test_a_worker_that_is_killed_is_started_again(run: RunDir) -> None:
    assert task(run, "dies ends")() == 0
    assert starts(run) == 2
    assert (end(run) or {})["code"] == 0
    assert run.log.read_text().count("SLURM job 5_0") == 2


def test_but_not_for_ever(run: RunDir) -> None:
    with pytest.raises(JobFailed, match="killed"):
        task(run, "dies " * 9, retries=2)()
    assert starts(run) == 3 + 1  # the second start is one update further, so counting begins again
    state = run.read_state()
    assert (state["state"], state["failure"]["cause"]) == ("failed", "killed")


@pytest.mark.parametrize(
    ("what", "code", "cause"), [("diverges", 2, "nan"), ("node", 1, "node"), ("held", 75, "error")]
)
def test_what_the_same_job_cannot_mend_ends_it(run: RunDir, what: str, code: int, cause: str) -> None:
    with pytest.raises(JobFailed):
        task(run, f"{what} ends")()
    assert starts(run) == 1
    told = end(run) or {}
    assert (told["code"], told["cause"] if code != 75 else "error") == (code, cause)
    assert run.read_state()["state"] == ("running" if what == "held" else "failed")


def test_the_signal_saves_and_hands_back_the_same_job(run: RunDir) -> None:
    made = task(run, "waits ends", patience=20.0)
    back: list[Any] = []

    def ask() -> None:
        begin = time.monotonic()
        while run.read_state().get("state") != "running" and time.monotonic() - begin < 20:
            time.sleep(0.05)
        back.append(made.checkpoint())

    other = threading.Thread(target=ask)
    other.start()
    with pytest.raises(JobFailed):  # submitit would end the process in its handler
        made()
    other.join()
    again = pickle.loads(pickle.dumps(back[0])).function
    assert (again.job, again.folder, again.patience) == (made.job, made.folder, made.patience)
    assert json.loads(run.state.read_text())["epoch"] == 1
    assert again() == 0


def test_a_cancelled_run_is_not_started(run: RunDir) -> None:
    made = task(run, "ends")
    request_cancel(run)
    with pytest.raises(JobFailed):
        made()
    assert not (run.path / "starts").exists()
    assert (run.read_state()["state"], run.read_state()["reason"]) == ("preempted", "cancelled")


@pytest.mark.parametrize(("later", "expected"), [(False, "done"), (True, "queued")])
def test_only_a_job_that_comes_later_is_waited_for(run: RunDir, later: bool, expected: str) -> None:
    made = task(run, "ends")
    folder = submissions_folder(run.path.parents[1])
    record(folder, Submission("4", "training", (run.path.name,), 1.0))  # lost without a word
    record(folder, Submission("5", "training", (run.path.name, "another"), 2.0))
    if later:
        record(folder, Submission("6", "evaluation", (run.path.name,), 3.0))
    assert made() == 0
    state = run.read_state()
    assert state["state"] == expected
    assert state.get("queued", {}).get("job_id") == ("6" if later else None)


def test_nothing_left_starts_nothing(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "eval_present", lambda *_: True)
    write_text(run.checkpoint("last"), "")
    run.write_state("done", epoch=50)
    assert task(run, "ends")() == 0
    assert not (run.path / "starts").exists()
    assert run.read_state()["state"] == "done"
