"""A benchmark in a process of its own: no thread count, flag or memory of one reaches the next."""

from __future__ import annotations

import multiprocessing
import traceback
from multiprocessing.connection import Connection
from typing import Any

from amlrepro.bench.catalogue import find
from amlrepro.bench.result import as_json
from amlrepro.bench.spec import Setting
from amlrepro.errors import UserError


def run_isolated(name: str, setting: Setting) -> dict[str, Any]:
    """The result of one benchmark as it is kept (`result.as_json`).

    Raises `UserError` for what it lacks, and `RuntimeError` with the child's traceback when it fails or is killed.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(sender, name, setting))
    child.start()
    sender.close()
    try:
        kind, payload = receiver.recv()
    except EOFError:
        child.join()
        raise RuntimeError(f"the process of benchmark {name} ended with code {child.exitcode}") from None
    finally:
        child.join(timeout=10)
        if child.is_alive():
            child.terminate()
            child.join()
    if kind == "error":
        raise payload
    result: dict[str, Any] = payload
    return result


def _child(sender: Connection, name: str, setting: Setting) -> None:
    """What the child does: everything it has to say goes through the pipe."""
    import torch

    from amlrepro.engine.probes.cost import device_name

    torch.set_num_threads(setting.threads)
    bench = find(name)
    try:
        measured = bench.run(setting)
        sender.send(("done", as_json(bench, setting, measured, device_name(setting.device), torch.__version__)))
    except UserError as error:
        sender.send(("error", error))
    except KeyboardInterrupt:  # the parent got it too and tells
        return
    except Exception:
        sender.send(("error", RuntimeError(traceback.format_exc())))
