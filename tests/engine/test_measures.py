"""Measures for speed and memory: the same results, names and draws; what they are for, counted and not timed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.utils._python_dispatch import TorchDispatchMode

from amlrepro.aml.masking import TwoStage
from amlrepro.bench.stage_one import plain_stage_one, share_of_equal_blocks
from amlrepro.config import RunConfig
from amlrepro.data.synth import ensure_synth
from amlrepro.engine import numerics
from amlrepro.engine.measures import apply_measures, recompute
from amlrepro.engine.numerics import seed_torch
from amlrepro.engine.synthetic import build_step, synthetic_batch
from amlrepro.engine.train import train
from amlrepro.errors import UserError
from amlrepro.models.contract import RISModel
from amlrepro.rundir import RunDir
from amlrepro.suite.profile import bench_configs, load_profile, resolve

VOCABULARY = 40
DROPS = {"model.options": {"drop_path": 0.4, "text_dropout": 0.2}}


def config(**changes: Any) -> RunConfig:
    """CARIS+AML at smoke size with dropout and stochastic depth."""
    return bench_configs("smoke")["CARIS+AML"].with_changes({**DROPS, **changes})


def step(settings: RunConfig) -> tuple[RISModel, list[torch.Tensor], torch.Tensor, int]:
    """A step: the model, its loss and gradients, the next random numbers and the bytes kept for the backward pass."""
    model, strategy = build_step(settings, VOCABULARY, "cpu")
    apply_measures(settings, model, strategy)
    own = {p.data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.data_ptr() not in own:
            kept[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    seed_torch(0, "update")
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = strategy.losses(model, synthetic_batch(settings, VOCABULARY, "cpu"))["loss"]
    held = sum(kept.values())
    loss.backward()
    return model, [loss.detach(), *(p.grad for p in model.parameters() if p.grad is not None)], torch.rand(4), held


def test_layers_computed_again_give_the_same_bits_and_keep_less() -> None:
    plain, again = step(config()), step(config(**{"exec.activation_checkpointing": True}))
    assert all(torch.equal(a, b) for a, b in zip(plain[1], again[1], strict=True))
    assert torch.equal(plain[2], again[2])
    assert again[3] < 0.7 * plain[3]
    assert plain[0].state_dict().keys() == again[0].state_dict().keys()
    assert config().run_id == config(**{"exec.activation_checkpointing": True}).run_id


def test_a_model_without_such_layers_is_a_clear_error() -> None:
    class Bare(torch.nn.Module):
        repeated_layers = RISModel.repeated_layers

    with pytest.raises(UserError, match="computed again"):
        recompute(Bare(), "bare")  # type: ignore[arg-type]


def test_fast_is_equal_to_rounding_and_keeps_all_names() -> None:
    faithful, fast = step(config()), step(config(**{"train.numerics": "fast"}))
    for expected, found in zip(faithful[1], fast[1], strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)
    assert torch.equal(faithful[2], fast[2])
    assert faithful[0].state_dict().keys() == fast[0].state_dict().keys()


@pytest.mark.parametrize("kind", ["faithful", "fast"])
def test_stage_one_is_that_of_the_equations(kind: str) -> None:
    settings = config(**{"train.numerics": kind})
    assert share_of_equal_blocks(settings, VOCABULARY, "cpu", batches=4) >= 0.999
    model, strategy = build_step(settings, VOCABULARY, "cpu")
    assert isinstance(strategy, TwoStage)
    batch = synthetic_batch(settings, VOCABULARY, "cpu")
    seed_torch(0, "update")
    expected = plain_stage_one(strategy, model, batch)
    after = torch.rand(4)
    apply_measures(settings, model, strategy)
    seed_torch(0, "update")
    torch.testing.assert_close(strategy.stage_one(model, batch), expected, rtol=1e-4, atol=1e-6)
    assert torch.equal(torch.rand(4), after)


class Reads(TorchDispatchMode):
    """Counts what would make the host wait for a GPU: values read, and shapes that depend on values."""

    WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "equal")

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ in self.WAITS:
            self.found.append(str(func))
        return func(*args, **(kwargs or {}))


def test_a_step_reads_nothing_back_from_the_device() -> None:
    settings = config()
    model, strategy = build_step(settings, VOCABULARY, "cpu")
    batch = synthetic_batch(settings, VOCABULARY, "cpu")
    with Reads() as reads:
        strategy.losses(model, batch)["loss"].backward()
    assert reads.found == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_step_never_waits_for_the_gpu() -> None:
    settings = config()
    model, strategy = build_step(settings, VOCABULARY, "cuda")
    batch = synthetic_batch(settings, VOCABULARY, "cuda")
    strategy.losses(model, batch)["loss"].backward()  # caches fill
    torch.cuda.set_sync_debug_mode("error")
    try:
        strategy.losses(model, batch)["loss"].backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("bfloat16", [False, True])
def test_fast_goes_on_from_a_checkpoint_with_the_same_bits(
    bfloat16: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With activation checkpointing too; bfloat16 as large models have it on a CPU that multiplies it."""
    monkeypatch.setattr(numerics, "pays_in_bfloat16", lambda parameters: bfloat16)
    execution = {"data_root": str(tmp_path / "data"), "deterministic": True, "activation_checkpointing": True}
    overrides = {**DROPS, "train.numerics": "fast", "exec.validate_at": []}
    smoke = load_profile("smoke")
    whole = resolve(smoke, "caris", "inferred", "refcoco", source="synth", overrides=overrides, execution=execution)
    ensure_synth(whole.data.synth, tmp_path / "data", workers=1)
    runs = RunDir(tmp_path / "whole"), RunDir(tmp_path / "halves")
    train(whole, runs[0])
    train(whole.with_changes({"exec.until": 1}), runs[1])
    train(whole, runs[1])
    expected, found = (load_file(run.checkpoint("last")) for run in runs)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert not any("_orig_mod" in name for name in found)
