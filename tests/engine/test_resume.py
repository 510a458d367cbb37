"""A run that is killed again and again ends with the bits of one that never was."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_refer import AML, make_refer

from amlrepro.rundir import RunDir

pytestmark = pytest.mark.slow
DRIVER = Path(__file__).with_name("killed_training.py")
TIMINGS = ("images_per_s", "eta_s", "memory_mb", "seconds")
CHANGES: dict[str, Any] = {"exec.milestones": [1, 2], "exec.validate_at": [1, 2, 3], "exec.log_every": 5}
KILLED = -9
# With batch norm's statistics, its own optimiser and AML's first pass.
DETRIS: dict[str, Any] = {
    "model.name": "detris",
    "train.optimizer": "adam",
    "train.schedule": "step",
    "train.drops": [2],
    "train.clip": None,
    **AML,
}
# The projection and its optimiser state come back too, and the counts of spared samples.
VARIANTS: dict[str, dict[str, Any]] = {
    "learnable": {**AML, "pmme.projection": "learnable"},
    "feature": {**AML, "afm.level": "feature"},
}


def plans(name: str) -> list[list[Any]]:
    """Ten children: seeded moments in updates, checkpoints (torn bytes; in place, without its JSON) and rows."""
    draw = random.Random(name)
    return [
        ["update", 1],  # before anything is saved
        ["row", 1],
        ["update", draw.randint(2, 3)],
        ["write", 2, 0.0],
        ["write", draw.randint(1, 2), draw.random()],
        ["written", 1],
        ["write", 2, 0.999],
        ["row", 1],
        ["written", 2],
        ["time", 0.3],
    ]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[int]]]:
    """All runs of this file from one driver (one import of the libraries): their folder, and how children ended."""
    folder = tmp_path_factory.mktemp("resume")
    root = make_refer(folder / "data", train=8, val=2)
    always: dict[str, Any] = {"exec.checkpoint_seconds": 0, "exec.workers": 2}
    rarely: dict[str, Any] = {"exec.checkpoint_seconds": 1e9}
    jobs: list[tuple[str, dict[str, Any], list[list[Any]]]] = [
        ("plain", {}, []),
        ("aml", AML, []),
        ("killed plain", always, plans("plain")),
        ("killed aml", {**always, **AML}, plans("aml")),
        ("detris", DETRIS, []),
        ("killed detris", {**always, **DETRIS}, [["update", 2], ["write", 2, 0.5], ["written", 2], ["row", 2]]),
        *((name, changes, []) for name, changes in VARIANTS.items()),
        *((f"killed {name}", {**always, **c}, [["update", 5], ["written", 1]]) for name, c in VARIANTS.items()),
        ("rare", rarely, [["update", 10], ["update", 6]]),
        ("first epoch", {"exec.until": 1, "exec.milestones": []}, []),
        ("second epoch", {"exec.until": 2, "exec.milestones": []}, []),
        ("pieces", {}, []),
    ]
    place = {"first epoch": "pieces", "second epoch": "pieces"}
    listed: list[Any] = [
        [str(folder / place.get(name, name)), {**CHANGES, **changes}, how] for name, changes, how in jobs
    ]
    command = [sys.executable, str(DRIVER), str(root), json.dumps(listed)]
    environment = {**os.environ, "PYTHONPATH": str(DRIVER.parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, env=environment)
    assert done.returncode == 0, done.stderr
    ended = dict(zip((name for name, _, _ in jobs), json.loads(done.stdout), strict=True))
    assert all(codes[-1] == 0 for codes in ended.values()), done.stderr
    return folder, ended


def weights(run: Path) -> dict[str, torch.Tensor]:
    """All tensors of all checkpoints, optimiser and strategy included."""
    files = sorted((run / "checkpoints").glob("*.safetensors"))
    assert [f.stem for f in files] == ["best", "epoch1", "epoch2", "last"]
    return {f"{f.stem}:{name}": tensor for f in files for name, tensor in load_file(f).items()}


def history(run: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k not in TIMINGS} for row in RunDir(run).history_rows()]


def assert_same(run: Path, reference: Path) -> None:
    ours, theirs = weights(run), weights(reference)
    assert ours.keys() == theirs.keys()
    different = [name for name in ours if not torch.equal(ours[name], theirs[name])]
    assert different == []
    assert history(run) == history(reference)
    assert not list((run / "checkpoints").glob(".*"))
    state = RunDir(run).read_state()
    assert (state["state"], state["epoch"], state["step"]) == ("done", 3, 12)


@pytest.mark.parametrize("strategy", ["plain", "aml"])
def test_killed_anywhere_ends_with_the_same_bits(runs: tuple[Path, dict[str, list[int]]], strategy: str) -> None:
    folder, ended = runs
    assert len(history(folder / strategy)) == 2 + 3 + 3  # 12 updates in windows of 5; epochs; validations
    assert ended[f"killed {strategy}"].count(KILLED) >= 8
    assert_same(folder / f"killed {strategy}", folder / strategy)


def test_killed_detris_ends_with_the_same_bits(runs: tuple[Path, dict[str, list[int]]]) -> None:
    folder, ended = runs
    assert ended["killed detris"] == [KILLED] * 4 + [0]
    assert_same(folder / "killed detris", folder / "detris")
    last = {name: tensor for name, tensor in weights(folder / "detris").items() if name.startswith("last:model")}
    counters = {int(tensor) for name, tensor in last.items() if name.endswith("num_batches_tracked")}
    assert counters == {12}, "one count an update: the first passes leave no trace"
    moved = [bool(tensor.ne(0).any()) for name, tensor in last.items() if name.endswith("running_mean")]
    assert moved
    assert all(moved)


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_killed_variants_end_with_the_same_bits(runs: tuple[Path, dict[str, list[int]]], variant: str) -> None:
    folder, ended = runs
    assert ended[f"killed {variant}"] == [KILLED, KILLED, 0]
    assert_same(folder / f"killed {variant}", folder / variant)
    learned = [name for name in weights(folder / variant) if name.startswith("last:optimizer/strategy.")]
    assert len(learned) == (6 if variant == "learnable" else 0), "two moments and a step for each of two matrices"


def test_killed_between_rare_checkpoints_starts_again(runs: tuple[Path, dict[str, list[int]]]) -> None:
    folder, ended = runs
    assert ended["rare"] == [KILLED, KILLED, 0]
    assert_same(folder / "rare", folder / "plain")


def test_pieces_and_replayed_milestones_equal_one_run(runs: tuple[Path, dict[str, list[int]]]) -> None:
    """Until epoch 1, then 2, then the horizon; milestones asked for only then, so made by a replay."""
    folder, _ = runs
    assert_same(folder / "pieces", folder / "plain")
    assert not (folder / "pieces" / "replay").exists()
    sessions = json.loads(RunDir(folder / "pieces").provenance.read_text())["sessions"]
    assert [(s["from_step"], s["to_step"]) for s in sessions] == [(0, 4), (4, 8), (8, 12)]
