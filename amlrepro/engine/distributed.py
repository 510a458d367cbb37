"""Several processes that carry out one run together (PyTorch's DistributedDataParallel), or one alone.

Each holds the whole state and works on its share of a batch or of an evaluation's samples. The main one (rank 0)
writes; what is decided by a clock, a file or a signal is decided for all. Who they are and where they meet comes from
the environment that torchrun defines: RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import distributed_c10d as c10d
from torch.distributed.rendezvous import rendezvous

from amlrepro.aml.strategies import Strategy
from amlrepro.data.batch import Batch
from amlrepro.engine.numerics import choose_device
from amlrepro.engine.peers import HEARSAY_SECONDS, Ended, PeerFailed, Peers, Word
from amlrepro.errors import UserError
from amlrepro.models.contract import RISModel

ValueT = TypeVar("ValueT")

STORE_FD = "AMLRIS_STORE_FD"  # an open socket that listens at MASTER_PORT, so that no other process can take the port
JOIN = timedelta(minutes=10)  # from the first process's start to the last one's
PATIENCE = timedelta(minutes=30)  # for one exchange; the longest wait is for a checkpoint that the main process writes
_LOST_CONTACT = re.compile(r"connection (closed|reset|refused)|broken pipe|socket|gloo|nccl", re.IGNORECASE)


@dataclass(frozen=True)
class World:
    """The processes of one run as one of them sees them.

    rank: its number; size: how many there are; local_rank: its number on its machine, which is that of its GPU. All
    methods that exchange something must be called by every process in the same order; alone they do nothing.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> World:
        """As the variables of torchrun say; alone without them. Raises `UserError` for numbers that make no sense."""
        named = {name: environment.get(name) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
        if named["RANK"] is None and named["WORLD_SIZE"] is None:
            return ALONE
        try:
            rank, size = int(named["RANK"] or ""), int(named["WORLD_SIZE"] or "")
            local = int(named["LOCAL_RANK"] or rank)
        except ValueError:
            rank = size = local = -1
        if not 0 <= rank < size or local < 0:
            found = " ".join(f"{name}={value}" for name, value in named.items())
            expected = "whole numbers, RANK below WORLD_SIZE"
            raise UserError("the environment names no place among processes", found=found, expected=expected)
        return cls(rank, size, local) if size > 1 else ALONE

    @property
    def alone(self) -> bool:
        return self.size == 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    @contextlib.contextmanager
    def joined(self, device: str, ended: Ended, backend: str | None = None) -> Iterator[None]:
        """In touch with the others: by NCCL on GPUs (device as in `exec.device`), by Gloo otherwise.

        When any process fails all of them end, with the reason of the first: its `UserError`, `SystemExit` where it was
        asked to end, else `PeerFailed`. Where that cannot be raised, since this process is waiting in a library,
        `ended` is called from a thread and must end it. Raises `UserError` when processes have no GPU each.
        """
        if self.alone:
            yield
            return
        on_gpu = choose_device(device) != "cpu"
        if on_gpu:
            torch.cuda.set_device(self._gpu())
        store = self._meet()
        peers = Peers(self.rank, self.size, ended)
        backends = backend or ("cpu:gloo,cuda:nccl" if on_gpu else "gloo")
        try:
            dist.init_process_group(backends, store=store, rank=self.rank, world_size=self.size, timeout=PATIENCE)
            peers.start()
            yield
            self.wait()
        except BaseException as error:
            self._explain(error, peers)
            raise
        peers.stop()
        dist.destroy_process_group()  # not after a failure: it would wait for the others

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a scalar over processes; nothing waits for the device."""
        if self.alone:
            return value
        total = value.detach().clone()
        dist.all_reduce(total)
        return total / self.size

    def largest(self, *values: float) -> list[float]:
        """The largest of each number over processes."""
        if self.alone:
            return list(values)
        numbers = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(numbers, dist.ReduceOp.MAX)
        return numbers.tolist()

    def gather(self, value: ValueT) -> list[ValueT]:
        """What every process gives, by rank."""
        if self.alone:
            return [value]
        out: list[Any] = [None] * self.size
        dist.all_gather_object(out, value)
        return out

    def from_main(self, value: ValueT) -> ValueT:
        """What the main process gives."""
        if self.alone:
            return value
        out: list[Any] = [value]
        dist.broadcast_object_list(out, src=0, device=torch.device("cpu"))
        received: ValueT = out[0]
        return received

    def wait(self) -> None:
        """Until every process is here."""
        self.largest(0)

    def collect_sums(self, sums: Iterable[Tensor]) -> None:
        """Add what each process has summed to the main one's; the others start again from zero."""
        if self.alone:
            return
        for values in sums:
            dist.all_reduce(values)
            if not self.is_main:
                values.zero_()

    def replicate(self, step: TrainingStep, fixed_order: bool) -> nn.Module:
        """The step such that its gradients are averaged over processes; parameters and buffers become the main one's.

        fixed_order: sum the gradients of more than two processes in the same order in every session, so that a run that
        was resumed has the bits of one that was not. Otherwise PyTorch arranges them in the first update by when they
        come, for speed. Parameters may be without gradient, but always the same ones unless the order is fixed.
        """
        if self.alone:
            return step
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
        replica: Any = nn.parallel.DistributedDataParallel
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*broadcast_buffers.*", FutureWarning)  # newer releases rename it
            out: nn.Module = replica(
                step,
                broadcast_buffers=False,  # each process sums its own statistics; those of batch norm are equal
                gradient_as_bucket_view=True,
                find_unused_parameters=fixed_order,  # buckets are then those made at the start
                static_graph=not fixed_order,
            )
        return out

    def described(self, device: str) -> dict[str, Any]:
        """For the provenance: `world_size`, `backend`, `devices` by rank, number of `hosts`. device: this process's, as
        torch names it. Raises `UserError` when two processes have the same GPU and speak by NCCL, which cannot be."""
        gpu = None if device == "cpu" else torch.cuda.get_device_properties(torch.cuda.current_device())
        mine = socket.gethostname(), gpu.name if gpu else "cpu", str(gpu.uuid) if gpu else str(self.rank)
        places = self.gather(mine)
        backend = None if self.alone else dist.get_backend_config().split(":")[-1]
        if backend == "nccl" and len(set(places)) < self.size:
            raise UserError(
                "two processes have the same GPU",
                found=", ".join(f"process {rank}: {name} {uuid}" for rank, (_, name, uuid) in enumerate(places)),
                expected="one GPU for each",
            )
        hosts = len({host for host, _, _ in places})
        return {
            "world_size": self.size,
            "backend": backend,
            "devices": [name for _, name, _ in places],
            "hosts": hosts,
        }

    def _gpu(self) -> int:
        """This process's GPU: numbered by its place on the machine, or the only one that it sees."""
        count = torch.cuda.device_count()
        if self.local_rank >= count > 1:
            raise UserError(
                "there are more processes than GPUs on a machine",
                where="exec.processes",
                found=f"process {self.local_rank + 1} on this machine, which shows {count} GPUs",
                expected="one GPU for each",
            )
        return self.local_rank % count

    def _meet(self) -> c10d.Store:
        """The store through which processes find each other, and tell why they fail."""
        listening = os.environ.get(STORE_FD)
        if self.is_main and listening is not None:
            place = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
            tcp: Any = dist.TCPStore  # type: ignore[attr-defined]  # public, but missing from its type stubs
            store: c10d.Store = tcp(*place, self.size, True, JOIN, master_listen_fd=int(listening))
        else:
            store = next(iter(rendezvous("env://", self.rank, self.size, timeout=JOIN)))[0]
        return store

    def _explain(self, error: BaseException, peers: Peers) -> None:
        """Tell the others why this process ends; if it is since it lost one of them, raise that one's reason."""
        if isinstance(error, RuntimeError) and _LOST_CONTACT.search(f"{type(error).__name__} {error}"):
            raise _as_error(peers.heard(HEARSAY_SECONDS)) from None
        if isinstance(error, UserError):
            peers.tell(Word(self.rank, "user", str(error)))
        elif isinstance(error, (SystemExit, KeyboardInterrupt)):
            peers.tell(Word(self.rank, "asked", f"process {self.rank} was asked to end"))
        else:
            peers.tell(Word(self.rank, "crash", f"process {self.rank}: {type(error).__name__}: {error}"))


def _as_error(word: Word | None) -> BaseException:
    if word is None:
        return PeerFailed("another process of this run ended without a word; it may have been killed")
    if word.kind == "user":
        return UserError(word.reason)
    return SystemExit(128 + signal.SIGTERM) if word.kind == "asked" else PeerFailed(word.reason)


ALONE = World()


class TrainingStep(nn.Module):
    """Model and strategy as one module whose output is the loss of a batch (scalar), for `World.replicate`.

    share: factor on the loss of a model whose loss is a mean over the samples it is given: 1 for an even share.
    """

    def __init__(self, model: RISModel, strategy: Strategy, world: World = ALONE, batch: int | None = None) -> None:
        super().__init__()
        self.model = model
        self.strategy = strategy
        self._per_sample = None if world.alone or model.protocol.global_loss or batch is None else world.size / batch

    def forward(self, batch: Batch) -> Tensor:
        """The strategy's loss on a batch."""
        loss = self.strategy.losses(self.model, batch)["loss"]
        return loss if self._per_sample is None else loss * (self._per_sample * len(batch.image))
