"""Why jobs fail: messages as libraries, drivers and the system print them."""

from __future__ import annotations

import signal

import numpy as np
import pytest
import torch

from amlrepro.launch.failures import CAUSES, REMEDIES, RETRIED, classify

CUDA = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 39.39 GiB "
    "of which 1.06 GiB is free. Process 12 has 38.32 GiB memory in use."
)
SLURM = "slurmstepd: error: Detected 1 oom_kill event in StepId=17.0. Some of the step tasks have been OOM Killed."
NCCL = (
    "torch.distributed.DistBackendError: NCCL error in: ProcessGroupNCCL.cpp:1275, unhandled system error (run with "
    "NCCL_DEBUG=INFO for details), NCCL version 2.19.3\nncclSystemError: System call failed or device error."
)
SHM = (
    "RuntimeError: DataLoader worker (pid 41) is killed by signal: Bus error. It is possible that dataloader's workers "
    "are out of shared memory. Please try to raise your shared memory limit."
)


@pytest.mark.parametrize(
    ("code", "reason", "tail", "cause", "retry"),
    [
        (1, CUDA, "", "memory", False),
        (1, None, f"Traceback (most recent call last):\n{CUDA}\n", "memory", False),
        (
            1,
            "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
            "",
            "memory",
            False,
        ),
        (1, "OSError: [Errno 12] Cannot allocate memory", "", "memory", False),
        (-9, None, SLURM, "memory", False),
        (1, SHM, "", "memory", False),
        (1, "RuntimeError: CUDA error: uncorrectable ECC error encountered", "", "node", True),
        (1, None, NCCL, "node", True),
        (1, "RuntimeError: No CUDA GPUs are available\nno CUDA-capable device is detected", "", "node", True),
        (1, "OSError: [Errno 116] Stale file handle: 'checkpoints/last.safetensors'", "", "node", True),
        (None, None, "", "node", True),
        (-9, None, "", "killed", True),
        (137, None, "", "killed", True),
        (143, None, "", "preempted", True),
        (-15, None, "", "preempted", True),
        (-11, None, "", "error", True),
        (1, "KeyError: 'loss'", "", "error", True),
        (2, "training has diverged: loss or gradient is not finite\n  where:    update 3", "", "nan", False),
        (2, "3 of 9 images missing\n  where:    train2014", "", "data", False),
        (2, "this annotation file tries to execute code", "", "data", False),
        (2, "the disk is full\n  where:    /results", "", "disk", False),
        (1, "OSError: [Errno 28] No space left on device", "", "disk", False),
        (2, "no CUDA device here", "", "error", False),
    ],
)
def test_causes(code: int | None, reason: str | None, tail: str, cause: str, retry: bool) -> None:
    failure = classify(code, reason, tail)
    assert (failure.cause, failure.retry) == (cause, retry)
    assert failure.text
    assert failure.remedy == REMEDIES[failure.cause]


def test_messages_of_the_installed_libraries() -> None:
    with pytest.raises(RuntimeError) as torch_says:
        torch.empty(2**55)
    with pytest.raises(MemoryError) as numpy_says:
        np.empty(2**55)
    for said in (torch_says, numpy_says):
        assert classify(1, f"{said.type.__name__}: {said.value}").cause == "memory"
    assert classify(1, f"RuntimeError: {torch_says.value}").cause == "memory"
    assert classify(1, "MemoryError: ").cause == "memory"


def test_a_kill_while_the_system_ran_out_of_memory() -> None:
    failure = classify(-signal.SIGKILL, out_of_memory=True)
    assert (failure.cause, failure.retry) == ("memory", False)
    assert "memory" in failure.text


def test_a_user_error_is_not_judged_by_what_else_is_in_the_log() -> None:
    assert classify(2, "3 of 9 images missing", "warning: nccl error\n").cause == "data"


def test_the_text_of_a_log() -> None:
    assert classify(2, None, "warming up\nerror: no such picture\n  where:    a.jpg\n").text.startswith(
        "no such picture"
    )
    assert classify(1, None, "Traceback\n  File\nRuntimeError: a bug\n").text == "RuntimeError: a bug"
    assert classify(3).text == "ended with exit code 3"


def test_every_cause_has_a_remedy_and_a_record() -> None:
    assert set(REMEDIES) == set(CAUSES)
    assert set(CAUSES) > RETRIED
    assert classify(-9).record("gpu01 gpu3", 2) == {
        "cause": "killed",
        "reason": "killed from outside; the machine may have run out of memory",
        "node": "gpu01 gpu3",
        "attempts": 2,
    }
