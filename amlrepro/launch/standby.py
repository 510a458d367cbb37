"""A process that has everything imported and forks a child for each job: the next job starts at once.

`python -m amlrepro.launch.standby` reads requests from its standard input, one JSON object a line, and answers on its
standard output: `{"job": {...}, "log": path}` does a job in a child whose output goes to the log, and is answered by
`{"code": n}` at its end; `{"signal": n}` is handed on to the child. It never touches a GPU and starts no thread, so
that children are as good as processes of their own. When its input ends (the launcher is gone), the child is asked to
save, and it ends with it.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import select
import signal
import sys
import traceback
from typing import NoReturn

from amlrepro.launch import worker
from amlrepro.launch.job import Job

POLL_SECONDS = 0.05
# What training, evaluations and probes import, also what libraries put off until a model is built.
MODULES = (
    "amlrepro.engine.train",
    "amlrepro.engine.evaluate",
    "amlrepro.engine.probes",
    "amlrepro.aml.strategies",
    "amlrepro.models.registry",
    "amlrepro.data.loader",
    "torch.nn.attention",
    "torchvision.ops",
    "timm.models",
    "transformers.models.bert.modeling_bert",
    "transformers.models.clip.modeling_clip",
)


def main() -> int:
    """Serve until the input ends."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # meant for the launcher, which then tells us
    for name in MODULES:
        with contextlib.suppress(ModuleNotFoundError):  # another version's name; it will be imported when needed
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # so that collections in children leave the pages shared
    return Standby().serve()


class Standby:
    """Forks a child for each job, one at a time."""

    def __init__(self) -> None:
        self._child: int | None = None
        self._open = True
        self._buffer = b""

    def serve(self) -> int:
        """Until the input has ended, and the last child with it."""
        while self._open or self._child is not None:
            wait = POLL_SECONDS if self._child is not None else None
            if self._open and select.select([0], [], [], wait)[0]:
                self._read()
            elif not self._open:
                select.select([], [], [], POLL_SECONDS)
            self._reap()
        return 0

    def _read(self) -> None:
        data = os.read(0, 1 << 16)
        if not data:
            self._open = False
            self._signal(signal.SIGTERM)
            return
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            request = json.loads(line)
            if "signal" in request:
                self._signal(request["signal"])
            else:
                self._start(request)

    def _start(self, request: dict[str, object]) -> None:
        parent = os.getpid()
        self._child = os.fork()
        if self._child == 0:
            _become_worker(request, parent)

    def _signal(self, number: int) -> None:
        if self._child is not None:  # not reaped yet, so the number is still this child's
            os.kill(self._child, number)

    def _reap(self) -> None:
        if self._child is None:
            return
        ended, status = os.waitpid(self._child, os.WNOHANG)
        if ended:
            self._child = None
            with contextlib.suppress(BrokenPipeError):
                os.write(1, json.dumps({"code": os.waitstatus_to_exitcode(status)}).encode() + b"\n")


def _become_worker(request: dict[str, object], parent: int) -> NoReturn:
    """What the child does: a session, output and environment of its own; then the job."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    os.setsid()
    null = os.open(os.devnull, os.O_RDONLY)
    log = os.open(str(request["log"]), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.close(null)
    os.close(log)
    os.environ[worker.PARENT] = str(parent)
    job = Job.model_validate(request["job"])
    sys.argv = [worker.__file__, job.folder]
    code = 1
    try:
        code = worker.carry_out(job)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:  # taking all modules apart, as the interpreter would, takes longer than beginning the next job
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    os._exit(main())
