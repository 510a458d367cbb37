"""A benchmark in a process of its own: no thread count, flag or memory of one reaches the next."""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from amlrepro.bench.catalogue import find
from amlrepro.bench.result import as_json
from amlrepro.bench.spec import Measurement, Setting
from amlrepro.errors import UserError


def run_isolated(name: str, setting: Setting) -> dict[str, Any]:
    """The result of one benchmark as it is kept (`result.as_json`), over as many processes as it asks for.

    Raises `UserError` for what it lacks, and `RuntimeError` with the child's traceback when it fails or is killed.
    """
    bench = find(name)
    found = [_in_a_process(name, setting) for _ in range(bench.processes)]
    return as_json(bench, setting, merged([each.measured for each in found]), found[0].device, found[0].torch)


@dataclass(frozen=True)
class _Found:
    """What one process measured, the device's name and PyTorch's release."""

    measured: Measurement
    device: str
    torch: str


def merged(parts: Sequence[Measurement]) -> Measurement:
    """Rounds of several processes as one measurement: where memory happens to lie differs from one process to the next
    and is the same in all rounds of one. A gate that failed in one has failed; details are the first one's."""
    first = parts[0]
    sides = {name: [value for part in parts for value in part.sides[name]] for name in first.sides}
    values = None if first.values is None else [value for part in parts for value in part.values or []]
    gate = next((part.gate for part in parts if part.gate is not None and not part.gate.passed), first.gate)
    details = {**first.details, "processes": len(parts)} if len(parts) > 1 else first.details
    return Measurement(sides, first.unit, gate, values, details)


def _in_a_process(name: str, setting: Setting) -> _Found:
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
    result: _Found = payload
    return result


def _child(sender: Connection, name: str, setting: Setting) -> None:
    """What the child does: everything it has to say goes through the pipe."""
    import torch

    from amlrepro.engine.probes.cost import device_name

    torch.set_num_threads(setting.threads)
    bench = find(name)
    try:
        measured = bench.run(setting)
        sender.send(("done", _Found(measured, device_name(setting.device), torch.__version__)))
    except UserError as error:
        sender.send(("error", error))
    except KeyboardInterrupt:  # the parent got it too and tells
        return
    except Exception:
        sender.send(("error", RuntimeError(traceback.format_exc())))
