"""One writer a run, whoever dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from amlrepro.rundir import RunDir
from amlrepro.suite.cancel import request_cancel
from amlrepro.suite.lease import LeaseHeld, Owner, acquire, held, last_beat, lease_path, read_owner

HOLDER = """
import sys, time
from pathlib import Path
from amlrepro.rundir import RunDir
from amlrepro.suite.lease import acquire
acquire(RunDir(Path(sys.argv[1])), print)
print("held", flush=True)
time.sleep(60)
"""


def ignore(reason: str) -> None:
    raise AssertionError(reason)


def pretend(run: RunDir, owner: Owner) -> None:
    """Put an owner's lease in the folder."""
    run.path.mkdir(parents=True, exist_ok=True)
    lease_path(run).write_text(json.dumps(asdict(owner)))


def elsewhere() -> Owner:
    """An owner on another machine."""
    return replace(Owner.me(), machine="another", host="another", token="theirs")


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path / "run")


def test_a_living_process_keeps_others_out_and_a_killed_one_does_not(run: RunDir) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(run.path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LeaseHeld, match=f"process {holder.pid}"):
            acquire(run, ignore, patience=0)
        assert held(run) is not None
        holder.kill()
        holder.wait()
        assert held(run) is None
        with acquire(run, ignore, patience=0) as lease:
            assert lease.owner.pid == os.getpid()
    assert not lease_path(run).exists()


def test_a_reused_process_id_is_not_the_owner(run: RunDir) -> None:
    pretend(run, replace(Owner.me(), token="old", started="1"))
    acquire(run, ignore, patience=0).release()


def test_an_owner_elsewhere_is_judged_by_its_heartbeat_and_by_no_clock(run: RunDir) -> None:
    pretend(run, elsewhere())
    run.beat()
    os.utime(run.heartbeat, (0, 0))  # its clock stands in 1970

    def beat() -> None:
        time.sleep(0.3)
        os.utime(run.heartbeat, (7, 7))

    thread = threading.Thread(target=beat)
    thread.start()
    with pytest.raises(LeaseHeld):
        acquire(run, ignore, expiry=20)
    thread.join()
    begin = time.monotonic()
    acquire(run, ignore, expiry=0.5).release()  # silent for as long as we looked: dead
    assert time.monotonic() - begin >= 0.5


def test_a_heartbeat_from_the_future_does_not_keep_a_dead_owner_alive(run: RunDir) -> None:
    pretend(run, elsewhere())
    run.beat()
    os.utime(run.heartbeat, (4e9, 4e9))
    acquire(run, ignore, expiry=0.3).release()


def test_only_one_of_many_takes_over(run: RunDir) -> None:
    pretend(run, replace(Owner.me(), token="dead", started="1"))
    code = """
import sys, time
from pathlib import Path
from amlrepro.rundir import RunDir
from amlrepro.suite.lease import LeaseHeld, acquire
try:
    lease = acquire(RunDir(Path(sys.argv[1])), print, patience=0)
    print("mine", flush=True)
    sys.stdin.readline()
except LeaseHeld:
    print("held", flush=True)
"""
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(run.path)], stdin=-1, stdout=-1, text=True) for _ in range(4)
    ]
    said = [process.stdout.readline().strip() for process in started if process.stdout]
    for process in started:
        process.communicate("\n")
    assert sorted(said) == ["held", "held", "held", "mine"]


def test_the_owner_notices_when_it_lost_the_lease(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("amlrepro.suite.lease.BEAT_SECONDS", 0.0)
    told: list[str] = []
    lease = acquire(run, told.append)
    pretend(run, elsewhere())
    lease._thread.join(5)
    assert told == ["another process took over the run"]
    lease.release()
    owner = read_owner(run)
    assert owner is not None
    assert owner.token == "theirs"  # the other's lease is not taken away


def test_the_owner_is_told_once_when_somebody_cancels_the_run(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("amlrepro.suite.lease.BEAT_SECONDS", 0.0)
    told: list[str] = []
    lease = acquire(run, told.append)
    request_cancel(run)
    time.sleep(1.2)
    os.utime(run.heartbeat, (7, 7))
    time.sleep(1.2)
    assert told == ["cancelled"]
    assert last_beat(run)[0] > 1e18  # while it saves, it is seen to live
    lease.release()
    assert read_owner(run) is None


WRITER = """
import sys, time
from pathlib import Path
from amlrepro.files import append_jsonl, write_text
from amlrepro.rundir import RunDir
from amlrepro.suite import lease
lease.BEAT_SECONDS, lease.PAUSE_SECONDS = 1e9, 0.3  # no help from the heartbeat
run = RunDir(Path(sys.argv[1]))
held = lease.acquire(run, lambda reason: None)
for number in range(10**6):
    try:
        write_text(run.path / "written", str(number))
        append_jsonl(run.history, {"number": number})
    except lease.LeaseHeld:
        sys.exit(75)
    print(number, flush=True)
    time.sleep(0.01)
"""


def test_a_suspended_process_writes_nothing_after_another_took_over(run: RunDir) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, str(run.path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        for _ in range(3):
            writer.stdout.readline()
        writer.send_signal(signal.SIGSTOP)
        time.sleep(0.5)
        pretend(run, elsewhere())
        before = (run.path / "written").read_text(), run.history.read_text()
        writer.send_signal(signal.SIGCONT)
        assert writer.wait(10) == 75
        assert ((run.path / "written").read_text(), run.history.read_text()) == before
        assert not list(run.path.glob(".*.tmp"))


def test_a_link_whose_answer_was_lost_is_ours(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def answer_lost(source: Path, target: Path) -> None:
        link(source, target)
        raise FileExistsError

    monkeypatch.setattr("amlrepro.suite.lease.os.link", answer_lost)
    with acquire(run, ignore, patience=0) as lease:
        owner = read_owner(run)
        assert owner is not None
        assert owner.token == lease.owner.token
