"""Driver of `test_resume`: trains in child processes that are killed (SIGKILL) at chosen points until one gets through.

Usage: killed_training.py DATA JOBS, JOBS a JSON list of [run folder, changes of the configuration, plans], one plan a
child:
["update", n]   before its n-th update is counted
["write", n, s] in its n-th checkpoint, when a share s of the bytes is written
["written", n]  after its n-th checkpoint is in place, before the JSON beside it
["row", n]      halfway through its n-th row of the history
["time", s]     s seconds after its start, by the parent
One more child runs to its end. Prints how each child of each job ended (negative: the signal).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tiny_refer import tiny_config

from amlrepro.engine import checkpoint, history
from amlrepro.engine.session import Session
from amlrepro.engine.train import train
from amlrepro.models import build_model, checkpoint_file
from amlrepro.rundir import RunDir


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def at_call(n: int, action: Callable[..., None], original: Callable[..., Any]) -> Callable[..., Any]:
    """`original`, except that `action` is called with the arguments of the n-th call first."""
    calls = 0

    def wrapped(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == n:
            action(*arguments, **named)
        return original(*arguments, **named)

    return wrapped


def arm(plan: list[Any]) -> None:
    """Prepare this process to kill itself as planned."""
    kind, *values = plan
    files: Any = checkpoint
    rows: Any = history
    if kind == "update":
        session: Any = Session
        session.after_update = at_call(values[0], lambda *_: die(), session.after_update)
    elif kind == "write":
        library: Any = checkpoint_file
        save = library.save_file

        def torn(tensors: Any, path: Path, metadata: Any) -> None:
            save(tensors, path, metadata=metadata)
            (path.parent / ".tmpAbCdEf").write_bytes(path.read_bytes()[:100])  # as the library's own file is named
            os.truncate(path, int(path.stat().st_size * values[1]))
            die()

        library.save_file = at_call(values[0], torn, save)
    elif kind == "written":
        files.write_json = at_call(values[0], lambda *_: die(), files.write_json)
    elif kind == "row":

        def half(path: Path, row: dict[str, Any]) -> None:
            text = json.dumps(row)
            with path.open("a") as f:
                f.write(text[: len(text) // 2])
            die()

        rows.append_jsonl = at_call(values[0], half, rows.append_jsonl)


def child(root: Path, run: RunDir, changes: dict[str, Any], plan: list[Any] | None) -> int:
    """Train in a forked process; returns how it ended. No torch thread exists in the parent."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            if plan is not None:
                arm(plan)
            train(tiny_config(root, **changes), run)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    if plan is not None and plan[0] == "time":
        time.sleep(plan[1])
        os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main() -> None:
    root = Path(sys.argv[1])
    torch.set_num_threads(1)
    build_model(tiny_config(root), 10)  # the libraries it imports need not be imported by every child
    ended = [
        [child(root, RunDir(Path(run)), changes, plan) for plan in [*plans, None]]
        for run, changes, plans in json.loads(sys.argv[2])
    ]
    print(json.dumps(ended))


if __name__ == "__main__":
    main()
