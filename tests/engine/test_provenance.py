"""Provenance with and without git; seeds; devices."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import torch
from tiny_refer import tiny_config

import amlrepro
from amlrepro.engine import provenance
from amlrepro.engine.numerics import choose_precision, seed_for, seed_torch, set_up_process
from amlrepro.errors import UserError
from amlrepro.rundir import RunDir
from amlrepro.sections import ExecConfig


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    return subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def test_git_state(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "__init__.py").write_text("x = 1\n")
    assert provenance.git_state(tmp_path) is None  # somebody else's checkout: the package is not tracked in it
    git(tmp_path, "add", "__init__.py")
    git(tmp_path, "commit", "-qm", "one")
    commit = git(tmp_path, "rev-parse", "HEAD").strip()
    assert provenance.git_state(tmp_path) == {"commit": commit, "dirty": False}
    (tmp_path / "__init__.py").write_text("x = 2\n")
    assert provenance.git_state(tmp_path) == {"commit": commit, "dirty": True}


def test_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.git_state(Path(amlrepro.__file__).parent) is None


def test_sessions_are_added(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    config = tiny_config(tmp_path)
    for start, stop in ((0, 5), (5, 12)):
        provenance.begin(run, config, {"refs": 3}, start)
        provenance.end(run, stop)
    value = json.loads(run.provenance.read_text())
    assert [(s["from_step"], s["to_step"]) for s in value["sessions"]] == [(0, 5), (5, 12)]
    session = value["sessions"][0]
    assert session["end"] >= session["start"]
    assert session["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert session["hardware"]["cpus"] >= 1
    assert value["data"] == {"refs": 3}


def test_seeds_depend_on_all_their_parts() -> None:
    parts = [
        (0, "update", 0),
        (1, "update", 0),
        (0, "update", 1),
        (0, "weights", 0),
        (0, "update", 10),
        (10, "update", 0),
    ]
    assert len({seed_for(*p) for p in parts}) == len(parts)
    seed_torch(3, "update", 5)
    first = torch.rand(4)
    torch.rand(100)
    seed_torch(3, "update", 5)
    assert torch.equal(torch.rand(4), first)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_a_clear_error() -> None:
    with pytest.raises(UserError, match="no CUDA device"):
        set_up_process(ExecConfig(device="cuda"))


def test_precision_on_the_cpu_is_float32_but_for_large_models_made_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    for has_amx in (False, True):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda has_amx=has_amx: has_amx)
        for numerics, parameters in (("faithful", 10**8), ("fast", 10**5), ("fast", 10**8)):
            precision = choose_precision("cpu", numerics, "fp16", parameters)
            large_and_fast = has_amx and numerics == "fast" and parameters == 10**8
            assert precision.dtype is (torch.bfloat16 if large_and_fast else None)
            assert not precision.scaler.is_enabled()
