"""Several workers as one: codes, signals, none left behind. The workers are stand-ins that import no torch."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from amlrepro.launch.processes import TORCHRUN, command, without_place

WORKER = """
import json, os, signal, socket, sys, time
from pathlib import Path
folder, plan = Path(sys.argv[1]), json.loads(sys.argv[2])
rank = int(os.environ["RANK"])
def stop(*_):
    (folder / f"stopped{rank}").write_text("")
    sys.exit(143)
what = plan[rank]
signal.signal(signal.SIGTERM, stop if what != "deaf" else signal.SIG_IGN)
place = {name: os.environ.get(name) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")}
meeting = None
if rank == 0:
    meeting = socket.socket(fileno=int(os.environ["AMLRIS_STORE_FD"])).getsockname()
(folder / f"place{rank}.json.tmp").write_text(json.dumps({**place, "pid": os.getpid(), "meeting": meeting}))
os.rename(folder / f"place{rank}.json.tmp", folder / f"place{rank}.json")
if isinstance(what, int) and what < 0:
    os.kill(os.getpid(), -what)
if isinstance(what, int):
    sys.exit(what)
begin = time.monotonic()
while time.monotonic() - begin < 60:
    if what == "follow" and (folder / "go").exists():
        sys.exit(1)
    time.sleep(0.02)
"""

DRIVER = """
import os, sys
from amlrepro.launch import processes
if os.environ.pop("FORSAKEN", None):  # as one of a launcher that goes away in a moment
    os.environ["AMLRIS_PARENT"] = str(os.getppid())
processes.GRACE_SECONDS, processes.SAVE_SECONDS, script, folder, plan = float(sys.argv[1]), 1.0, *sys.argv[2:]
processes.command = lambda job, number: [sys.executable, "-S", script, folder, plan]
sys.exit(processes.main([str(plan.count(",") + 1), folder]))
"""


def start(folder: Path, plan: list[Any], grace: float = 0.5, **variables: str) -> subprocess.Popen[bytes]:
    (folder / "worker.py").write_text(WORKER)
    arguments = [str(grace), str(folder / "worker.py"), str(folder), json.dumps(plan)]
    return subprocess.Popen([sys.executable, "-c", DRIVER, *arguments], env={**os.environ, **variables})


def places(folder: Path, number: int) -> list[dict[str, Any]]:
    """What each worker saw, when all have started."""
    files = [folder / f"place{rank}.json" for rank in range(number)]
    deadline = time.monotonic() + 60
    while not all(file.exists() for file in files) and time.monotonic() < deadline:
        time.sleep(0.02)
    return [json.loads(file.read_text()) for file in files]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def gone(pids: list[int], seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(map(alive, pids))


def test_each_knows_its_place(tmp_path: Path) -> None:
    assert start(tmp_path, [0, 0, 0]).wait(60) == 0
    seen = places(tmp_path, 3)
    assert [(p["RANK"], p["LOCAL_RANK"], p["WORLD_SIZE"]) for p in seen] == [(str(r), str(r), "3") for r in range(3)]
    assert {(p["MASTER_ADDR"], int(p["MASTER_PORT"])) for p in seen} == {tuple(seen[0]["meeting"])}


@pytest.mark.parametrize(("plan", "code"), [([0, 0], 0), ([2, 2], 2), ([1, 2], 1), ([0, 1], 1), ([75, "wait"], 75)])
def test_the_answer_is_the_first_ones(tmp_path: Path, plan: list[Any], code: int) -> None:
    assert start(tmp_path, plan).wait(60) == code
    assert gone([place["pid"] for place in places(tmp_path, 2)])


def test_a_kill_from_outside_shows_through(tmp_path: Path) -> None:
    """The others notice and end with 1; what a launcher is to hear of is the signal."""
    process = start(tmp_path, ["follow", "wait"], grace=30)
    os.kill(places(tmp_path, 2)[1]["pid"], signal.SIGKILL)
    time.sleep(0.5)
    (tmp_path / "go").touch()
    assert process.wait(60) == -signal.SIGKILL


def test_one_that_does_not_end_is_ended(tmp_path: Path) -> None:
    process = start(tmp_path, ["deaf", 1])
    pids = [place["pid"] for place in places(tmp_path, 2)]
    assert process.wait(60) == 1
    assert gone(pids)


def test_a_request_to_end_reaches_all(tmp_path: Path) -> None:
    process = start(tmp_path, ["wait", "wait"])
    pids = [place["pid"] for place in places(tmp_path, 2)]
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
    assert gone(pids)
    assert all((tmp_path / f"stopped{rank}").exists() for rank in (0, 1))


def test_no_worker_outlives_the_launcher(tmp_path: Path) -> None:
    """The launcher is a shell that starts them and is killed: it has no say any more. One worker does not listen."""
    (tmp_path / "worker.py").write_text(WORKER)
    (tmp_path / "driver.py").write_text(DRIVER)
    words = [sys.executable, "driver.py", "0.5", "worker.py", str(tmp_path), '["wait", "deaf"]']
    launcher = subprocess.Popen(
        ["sh", "-c", f"{shlex.join(words)} & wait"], cwd=tmp_path, env={**os.environ, "FORSAKEN": "1"}
    )
    pids = [place["pid"] for place in places(tmp_path, 2)]
    parent = int(Path(f"/proc/{pids[0]}/stat").read_text().rpartition(")")[2].split()[1])
    assert parent not in (launcher.pid, os.getpid())
    launcher.kill()
    launcher.wait()
    assert gone([*pids, parent])
    assert (tmp_path / "stopped0").exists()


def test_commands() -> None:
    job = Path("job.json")
    assert command(job, 1) == [sys.executable, "-m", "amlrepro.launch.worker", "job.json"]
    assert command(job, 4) == [sys.executable, "-m", "amlrepro.launch.processes", "4", "job.json"]


def test_a_job_of_one_process_inherits_no_place() -> None:
    place = dict.fromkeys((*TORCHRUN, "AMLRIS_STORE_FD"), "1")
    assert without_place({**place, "PATH": "/bin"}) == {"PATH": "/bin"}
