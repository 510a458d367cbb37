"""One job in several processes of this machine: started together, ended together. Torch-free.

`python -m amlrepro.launch.processes N JOB` starts N workers in the environment that torchrun defines. `torchrun` would
do, too; but it answers with 1 whatever the workers answer, and kills those that take longer to save than it likes.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

from amlrepro.launch.worker import PARENT

STORE_FD = "AMLRIS_STORE_FD"  # as `engine.distributed` reads it
TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
POLL_SECONDS = 0.1
GRACE_SECONDS = 30.0  # for the others to end by themselves when one has failed
SAVE_SECONDS = 110.0  # for all of them to save when they are asked to end; launchers wait a little longer


def command(job: Path, processes: int) -> list[str]:
    """What does a job in that many processes of this machine."""
    if processes == 1:
        return [sys.executable, "-m", "amlrepro.launch.worker", str(job)]
    return [sys.executable, "-m", "amlrepro.launch.processes", str(processes), str(job)]


def without_place(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment without what says which of several processes one is."""
    return {name: value for name, value in environment.items() if name not in (*TORCHRUN, STORE_FD)}


def main(arguments: list[str]) -> int:
    """Do a job in several processes; returns the exit code of the first one, or ends by the signal that killed one.

    SIGTERM and SIGINT are handed on, and so is the end of the process that started this one.
    """
    group = Group(int(arguments[0]), arguments[1])
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, group.ask)
    code = group.wait()
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


class Group:
    """The workers of one job."""

    def __init__(self, size: int, job: str) -> None:
        self._asked: int | None = None
        self._parent = int(os.environ[PARENT]) if os.environ.get(PARENT) else None
        self._workers: list[subprocess.Popen[bytes]] = []
        self._failed: int | None = None  # exit code of the first that failed
        with socket.create_server(("127.0.0.1", 0), backlog=size + 8) as meeting:
            for rank in range(size):
                self._workers.append(_start(rank, size, job, meeting))

    def ask(self, number: int, frame: FrameType | None) -> None:
        """Have the workers save and end."""
        self._asked = number

    def wait(self) -> int:
        """Until all have ended; kills those that do not when they should."""
        handed_on, limit = False, float("inf")
        while None in [worker.poll() for worker in self._workers]:
            if self._asked is None and self._parent is not None and os.getppid() != self._parent:
                self._asked = signal.SIGTERM
            if self._asked is not None and not handed_on:
                handed_on, limit = True, time.monotonic() + SAVE_SECONDS
                self._send(self._asked)
            if self._failed is None:
                self._failed = next((w.returncode for w in self._workers if w.returncode), None)
                if self._failed is not None:
                    limit = min(limit, time.monotonic() + GRACE_SECONDS)
            if time.monotonic() > limit:
                self._send(signal.SIGKILL)
            time.sleep(POLL_SECONDS)
        return self._code()

    def _code(self) -> int:
        """That of the first worker, which knows best; but a signal from outside explains more than how the others took
        it, and a worker that had to be killed here explains nothing."""
        codes = [worker.returncode for worker in self._workers]
        if self._failed is not None and (self._failed < 0 or codes[0] < 0):
            return self._failed
        return codes[0] or next((code for code in codes if code), 0)

    def _send(self, number: int) -> None:
        for worker in self._workers:
            if worker.poll() is None:
                worker.send_signal(number)


def _start(rank: int, size: int, job: str, meeting: socket.socket) -> subprocess.Popen[bytes]:
    """One worker. meeting: a socket that listens on this machine; the first worker takes it over, so that nobody else
    can be given its port in between."""
    port = meeting.getsockname()[1]
    places = (rank, size, rank, size, "127.0.0.1", port)
    environment = {
        **os.environ,
        **{name: str(value) for name, value in zip(TORCHRUN, places, strict=True)},
        PARENT: str(os.getpid()),
    }
    environment.setdefault("GLOO_SOCKET_IFNAME", "lo" if sys.platform.startswith("linux") else "lo0")
    if rank == 0:
        environment[STORE_FD] = str(meeting.fileno())
    return subprocess.Popen(
        command(Path(job), 1),
        stdin=subprocess.DEVNULL,
        env=environment,
        pass_fds=(meeting.fileno(),) if rank == 0 else (),
        start_new_session=True,  # a signal to this process's group must not reach them twice
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
