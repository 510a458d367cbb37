"""Driver of `test_distributed`: jobs in several processes by the real worker, forked after one import of the libraries.

Usage: distributed_training.py JOBS, JOBS a JSON list of [job file, number of processes, mishap, source], the last two
or null. A mishap [kind, rank, n] is what happens to that process after its n-th update: `asked` (SIGTERM), `killed`
(SIGKILL), `crash`, `user` (an error of the user's); or `idle`: every process's model has a parameter that nothing uses.
source: the folder of a run whose checkpoints the job begins with. Each process leaves `gradients-<rank>.safetensors` of
its first update and `seen-<rank>.json` (sentences and blanked blocks by position, state of the dropout's generator by
update) in the run's folder. Prints how the processes of each job ended (negative: the signal).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from amlrepro.aml.masking import Similarity
from amlrepro.data.loader import TrainingData
from amlrepro.engine import session as session_module
from amlrepro.engine.distributed import STORE_FD
from amlrepro.engine.session import Session
from amlrepro.errors import UserError
from amlrepro.launch import worker
from amlrepro.launch.job import read_job
from amlrepro.launch.processes import TORCHRUN
from amlrepro.models import build_model

EPS = 1e-2  # of Adam: with its own 1e-8 a gradient that is zero but for rounding moves a weight by a whole step


def tame_adam() -> None:
    """Make weights after some updates a smooth function of the gradients."""
    files: Any = session_module
    build = files.build_optimizer

    def built(*arguments: Any) -> torch.optim.Optimizer:
        optimizer: torch.optim.Optimizer = build(*arguments)
        for group in optimizer.param_groups:
            group["eps"] = EPS
        return optimizer

    files.build_optimizer = built


def record(folder: Path, rank: int) -> None:
    """Leave what this process has seen and computed in the folder."""
    seen: dict[str, dict[int, Any]] = {"texts": {}, "blank": {}, "draws": {}}
    files: Any = session_module
    masking: Any = Similarity
    data: Any = TrainingData
    clip, note, batch = files.clip_gradients, masking.record, data.batch

    def clipped(optimizer: torch.optim.Optimizer, limit: float | None) -> Tensor:
        path = folder / f"gradients-{rank}.safetensors"
        if not path.exists():
            groups = optimizer.param_groups
            named = {n: p.grad for g in groups for n, p in zip(g["param_names"], g["params"], strict=True)}
            save_file({n: grad.contiguous().clone() for n, grad in named.items() if grad is not None}, path)
        (folder / f"seen-{rank}.json").write_text(json.dumps(seen))
        return clip(optimizer, limit)

    def noted(self: Any, blank: Tensor, similarity: Tensor | None, batch: Any) -> None:
        seen["blank"].update(zip(batch.index.tolist(), blank.int().tolist(), strict=True))
        seen["draws"][batch.update] = torch.get_rng_state().sum().item()
        note(self, blank, similarity, batch)

    def made(self: Any, update: int, *share: int) -> Any:
        out = batch(self, update, *share)
        seen["texts"].update(zip(out.index.tolist(), out.input_ids.tolist(), strict=True))
        return out

    files.clip_gradients, masking.record, data.batch = clipped, noted, made


def arm(mishap: list[Any], rank: int) -> None:
    """Have this process meet with what was planned for it."""
    kind, who, when = mishap
    if kind == "idle":
        add_idle_parameter()
        return
    session: Any = Session
    after_update = session.after_update

    def updated(self: Session, *values: Any) -> None:
        after_update(self, *values)
        if self.step != when or rank != who:
            return
        if kind in ("asked", "killed"):
            os.kill(os.getpid(), signal.SIGTERM if kind == "asked" else signal.SIGKILL)
        elif kind == "user":
            raise UserError("this picture is broken", where="a.jpg")
        else:
            raise ValueError("a bug")

    session.after_update = updated


def add_idle_parameter() -> None:
    files: Any = session_module
    build = files.build_model

    def built(*arguments: Any) -> Any:
        model = build(*arguments)
        model.idle = torch.nn.Parameter(torch.ones(3))
        groups = model.parameter_groups()
        groups[-1].parameters.append(("idle", model.idle))
        model.parameter_groups = lambda: groups
        return model

    files.build_model = built


def child(job: Path, rank: int, size: int, mishap: list[Any] | None, meeting: socket.socket) -> int:
    """One process of a job, forked; its id."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        if size > 1:
            values = (rank, size, rank, size, "127.0.0.1", meeting.getsockname()[1])
            os.environ.update({name: str(value) for name, value in zip(TORCHRUN, values, strict=True)})
        if rank == 0:
            os.environ[STORE_FD] = str(meeting.fileno())
        tame_adam()
        record(read_job(job).run.path, rank)
        if mishap is not None:
            arm(mishap, rank)
        code = worker.main([str(job)])
    except SystemExit as error:
        code = int(error.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    torch.set_num_threads(1)
    os.environ.update({"GLOO_SOCKET_IFNAME": "lo", "TORCH_CPP_LOG_LEVEL": "ERROR"})
    jobs = json.loads(sys.argv[1])
    build_model(read_job(Path(jobs[0][0])).config, 10)  # the libraries it imports need not be imported by every child
    ended = []
    for job, size, mishap, source in jobs:
        if source:
            shutil.copytree(Path(source) / "checkpoints", read_job(Path(job)).run.checkpoints)
        with socket.create_server(("127.0.0.1", 0), backlog=64) as meeting:
            pids = [child(Path(job), rank, size, mishap, meeting) for rank in range(size)]
        ended.append([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids])
    print(json.dumps(ended))


if __name__ == "__main__":
    main()
