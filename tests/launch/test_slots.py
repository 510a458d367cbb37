"""How many jobs a machine takes."""

from __future__ import annotations

import os

import pytest

from amlrepro.errors import UserError
from amlrepro.launch import slots
from amlrepro.launch.slots import make_slots, visible_gpus


@pytest.fixture
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "available_cores", lambda: 4)
    monkeypatch.setattr(slots, "available_memory", lambda: None)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.mark.usefixtures("four_cores")
@pytest.mark.parametrize(
    ("threads", "jobs", "number"), [(1, None, 4), (2, None, 2), (3, None, 1), (None, None, 1), (1, 2, 2)]
)
def test_cores_over_threads(threads: int | None, jobs: int | None, number: int) -> None:
    made = make_slots("auto", threads, jobs=jobs)
    assert len(made) == number
    expected = None if threads is None else str(threads)
    assert {slot.environment.get("OMP_NUM_THREADS") for slot in made} == {expected}


def test_one_job_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, 5")
    assert visible_gpus() == ["3", "5"]
    assert [s.environment["CUDA_VISIBLE_DEVICES"] for s in make_slots("auto", None)] == ["3"]
    assert [s.environment["CUDA_VISIBLE_DEVICES"] for s in make_slots("auto", None, gpus=2)] == ["3", "5"]
    assert {s.environment.get("CUDA_VISIBLE_DEVICES") for s in make_slots("auto", 1, gpus=0)} == {""}
    with pytest.raises(UserError, match="not that many GPUs"):
        make_slots("auto", None, gpus=3)
    with pytest.raises(UserError, match="exclude"):
        make_slots("cpu", None, gpus=1)


def test_no_driver_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", os.devnull)
    assert visible_gpus() == []


def test_names_of_gpus_as_cuda_reads_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-4f2a, GPU-77b1, -1, GPU-9999")
    made = make_slots("auto", None, gpus=2)
    assert [(s.name, s.environment["CUDA_VISIBLE_DEVICES"]) for s in made] == [
        ("GPU-4f2a", "GPU-4f2a"),
        ("GPU-77b1",) * 2,
    ]
    with pytest.raises(UserError, match="not that many"):
        make_slots("auto", None, gpus=3)  # what follows -1 is hidden


def test_several_jobs_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    assert [s.gpu for s in make_slots("auto", None, gpus=2, jobs_per_gpu=2)] == ["0", "1", "0", "1"]
    assert [s.gpu for s in make_slots("auto", None, gpus=2, jobs_per_gpu=2, jobs=3)] == ["0", "1", "0"]
    assert [s.gpu for s in make_slots("auto", None, processes=2)] == ["0", "1"]  # as many as a run has processes
    with pytest.raises(UserError, match="no GPU"):
        make_slots("cpu", 1, jobs_per_gpu=2)


@pytest.mark.usefixtures("four_cores")
def test_no_more_jobs_than_memory_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for gib, number in ((8.0, 4), (2.3, 2), (0.5, 1)):
        monkeypatch.setattr(slots, "available_memory", lambda gib=gib: int(gib * 2**30))
        assert len(make_slots("auto", 1)) == number
