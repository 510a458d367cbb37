"""What `amlris readings` rests on before training: initial weights are those of the seed, whatever the method."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from tiny_refer import make_refer, tiny_config

from amlrepro.aml.presets import PRESETS
from amlrepro.config import ProbeConfig, RunConfig
from amlrepro.engine.probes import run_probe
from amlrepro.engine.train import train
from amlrepro.files import read_json
from amlrepro.rundir import RunDir

SIZE = {"pmme.dim": 32, "afm.block": 16}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[RunDir, RunConfig]]:
    """Runs that end before their first epoch: the baseline and two readings of one seed, and another seed."""
    root = make_refer(tmp_path_factory.mktemp("refer") / "data", train=4, val=4)
    out = {}
    for name, preset, seed in (("plain", "baseline", 0), ("inferred", "inferred", 0), ("released", "released", 0),
                               ("other seed", "baseline", 1)):  # fmt: skip
        settings = {**PRESETS[preset], **SIZE, "seed": seed, "exec.until": 0, "exec.milestones": (0,)}
        config, run = tiny_config(root, **settings), RunDir(root.parent / name)
        train(config, run)
        out[name] = run, config
    return out


def test_a_run_may_end_before_its_first_epoch(runs: dict[str, tuple[RunDir, RunConfig]]) -> None:
    run, config = runs["plain"]
    state = run.read_state()
    assert (state["state"], state["epoch"], state["until"]) == ("done", 0, 0)
    assert run.history_rows() == []
    train(config.with_changes({"exec.until": 1}), run)
    assert run.read_state()["epoch"] == 1


def test_methods_start_from_the_same_weights(runs: dict[str, tuple[RunDir, RunConfig]]) -> None:
    weights = {name: load_file(run.checkpoint("epoch0")) for name, (run, _) in runs.items()}
    for name in ("inferred", "released"):
        assert weights[name].keys() == weights["plain"].keys()
        assert all(torch.equal(tensor, weights["plain"][key]) for key, tensor in weights[name].items())
    assert not all(torch.equal(tensor, weights["plain"][key]) for key, tensor in weights["other seed"].items())


def test_measured_on_the_baseline_as_on_the_readings_own_run(runs: dict[str, tuple[RunDir, RunConfig]]) -> None:
    """S with a reading's settings on the baseline's initial weights is what its own run gives, to the bit."""
    own = ProbeConfig(kind="alignment", dataset="refcoco", split="val", checkpoint="epoch0")
    for name in ("inferred", "released"):
        run, config = runs[name]
        run_probe(run, config, own)
        borrowed = own.model_copy(update={"pmme": config.pmme, "afm": config.afm})
        run_probe(*runs["plain"], borrowed)
        first = read_json(run.probe(own.probe_id))["values"]
        second = read_json(runs["plain"][0].probe(borrowed.probe_id))["values"]
        assert first == second
        assert first["mean"] is not None
