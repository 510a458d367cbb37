"""How a launcher starts jobs in a slot: through a process that stands by with everything imported. Torch-free."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from amlrepro.launch import processes
from amlrepro.launch.job import Job, write_job
from amlrepro.launch.worker import PARENT

POLL_SECONDS = 0.02


class Process(Protocol):
    """A job at work, as `subprocess.Popen` shows one."""

    def poll(self) -> int | None:
        """The exit code, a signal's number negative; None while it runs."""

    def send_signal(self, number: int, /) -> None:
        """Hand a signal to it."""

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code; raises `subprocess.TimeoutExpired`."""


class Starter:
    """Starts jobs in one slot, one at a time. environment: of the slot."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._standby: Standby | None = None

    def start(self, job: Job, log: Path) -> Process:
        """Start a job in one process; what it says is appended to the log."""
        if self._standby is None or not self._standby.ready:
            self.close()
            self._standby = Standby(self._environment, log)
        self._standby.start(job, log)
        return self._standby

    def close(self) -> None:
        """End what stands by. A job at work saves and ends."""
        if self._standby is not None:
            self._standby.close()


def start_several(job: Job, environments: Sequence[Mapping[str, str]], log: Path) -> Process:
    """Start a job in as many processes as its configuration says, on slots of these environments."""
    gpus = [e["CUDA_VISIBLE_DEVICES"] for e in environments if e.get("CUDA_VISIBLE_DEVICES")]
    environment = {**environments[0], **({"CUDA_VISIBLE_DEVICES": ",".join(dict.fromkeys(gpus))} if gpus else {})}
    with log.open("ab") as said:
        return subprocess.Popen(
            processes.command(write_job(job), job.config.exec.processes),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            env={**_environment(environment), PARENT: str(os.getpid())},
            start_new_session=True,  # Ctrl-C reaches the launcher only, which then asks the workers to save
        )


class Standby:
    """The launcher's end of a `launch.standby` process. Between two calls of `start` it is the `Process` of the job."""

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        """log: what it says itself goes there (an import that fails)."""
        with log.open("ab") as said:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "amlrepro.launch.standby"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                env=_environment(environment),
                start_new_session=True,
            )
        self._code: int | None = None

    @property
    def ready(self) -> bool:
        """Whether it can take another job."""
        return self._process.poll() is None

    def start(self, job: Job, log: Path) -> None:
        """Have a job done; the one before has ended."""
        self._code = None
        self._say({"job": job.model_dump(mode="json"), "log": str(log)})

    def poll(self) -> int | None:
        if self._code is None:
            out = self._process.stdout
            line = out.readline() if out is not None and select.select([out], [], [], 0)[0] else None
            if line:
                self._code = json.loads(line)["code"]
            elif line is not None:  # it is gone, and with it the child, which looks after its parent
                self._code = self._process.wait() or 1
        return self._code

    def send_signal(self, number: int, /) -> None:
        self._say({"signal": int(number)})

    def wait(self, timeout: float | None = None) -> int:
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("a job", timeout or 0.0)
            time.sleep(POLL_SECONDS)
        return code

    def close(self) -> None:
        """Let it end; a job at work is asked to save first."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _say(self, request: object) -> None:
        pipe = self._process.stdin
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):  # `poll` tells that it is gone
                pipe.write(json.dumps(request).encode() + b"\n")
                pipe.flush()


def _environment(slot: Mapping[str, str]) -> dict[str, str]:
    base = processes.without_place(os.environ)
    return {**base, "PYTHONUNBUFFERED": "1", "TOKENIZERS_PARALLELISM": "false", **slot}
