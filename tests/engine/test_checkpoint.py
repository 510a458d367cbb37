"""Checkpoints: lossless, atomic, refused when torn, foreign or of another model."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from tiny_refer import tiny_config
from torch import nn

from amlrepro.data.tokens import SPECIAL, Tokenizer
from amlrepro.engine import checkpoint
from amlrepro.engine.optim import build_optimizer
from amlrepro.errors import UserError
from amlrepro.models import build_model, checkpoint_file
from amlrepro.sections import TrainConfig

WORDS = Tokenizer("words", [*SPECIAL, "red", "box"])


def trained(seed: int, optimizer_name: str = "adamw") -> tuple[Any, nn.Module, torch.optim.Optimizer]:
    """A small CARIS, a strategy with a parameter and a count, and an optimiser after one step."""
    torch.manual_seed(seed)
    model = build_model(tiny_config(Path("unused")), WORDS.vocab_size)
    strategy = nn.BatchNorm1d(2)
    optimizer = build_optimizer(model, strategy, TrainConfig(optimizer=optimizer_name))  # type: ignore[arg-type]
    for parameter in [*model.parameters(), *strategy.parameters()]:
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    strategy(torch.randn(4, 2))
    return model, strategy, optimizer


def meta(step: int = 7) -> dict[str, Any]:
    config = tiny_config(Path("unused"))
    tokenizer = WORDS.to_json()
    return {"run_id": config.run_id, "config": config.model_dump(mode="json"), "tokenizer": tokenizer, "step": step}


@pytest.mark.parametrize("kind", ["adamw", "adam"])
def test_everything_comes_back_bit_for_bit(tmp_path: Path, kind: str) -> None:
    saved, other = trained(1, kind), trained(2, kind)
    path = tmp_path / "last.safetensors"
    checkpoint.write(path, checkpoint.all_tensors(*saved), meta())
    checkpoint.restore(path, *other, "cpu")
    before, after = checkpoint.all_tensors(*saved), checkpoint.all_tensors(*other)
    assert before.keys() == after.keys()
    assert sum(name.startswith("optimizer/") for name in before) == 3 * len(list(saved[0].parameters())) + 6
    assert "strategy/num_batches_tracked" in before
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert [g["lr"] for g in other[2].param_groups] == [g["lr"] for g in saved[2].param_groups]
    assert checkpoint.read_meta(path) == {"format": 1, **meta()}


def test_beside_it_is_a_summary_for_people(tmp_path: Path) -> None:
    model, _, _ = trained(1)
    checkpoint.write(tmp_path / "best.safetensors", checkpoint.model_tensors(model), meta(9))
    summary = json.loads((tmp_path / "best.json").read_text())
    assert (summary["step"], summary["tensors"]) == (9, len(model.state_dict()))


def test_load_for_evaluation(tmp_path: Path) -> None:
    model, strategy, optimizer = trained(1)
    path = tmp_path / "last.safetensors"
    checkpoint.write(path, checkpoint.all_tensors(model, strategy, optimizer), meta())
    loaded, tokenizer, config = checkpoint.load_for_evaluation(path)
    assert not loaded.training
    assert tokenizer.encode("red box", 5) == WORDS.encode("red box", 5)
    assert config == tiny_config(Path("unused"))
    image, ids = torch.randn(1, 3, 112, 112), torch.tensor([[2, 5, 3]])
    assert torch.equal(loaded(image, ids, ids > 0).logits, model.eval()(image, ids, ids > 0).logits)


def test_weights_digest_sees_weights_alone(tmp_path: Path) -> None:
    model, strategy, optimizer = trained(1)
    checkpoint.write(tmp_path / "a.safetensors", checkpoint.model_tensors(model), meta(1))
    checkpoint.write(tmp_path / "b.safetensors", checkpoint.all_tensors(model, strategy, optimizer), meta(2))
    checkpoint.write(tmp_path / "c.safetensors", checkpoint.model_tensors(trained(2)[0]), meta(1))
    a, b, c = (checkpoint.weights_digest(tmp_path / f"{name}.safetensors") for name in "abc")
    assert a == b != c


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.safetensors"
    checkpoint.write(path, {"model/x": torch.zeros(3)}, meta(1))

    def full(tensors: Any, target: Path, metadata: Any) -> None:
        Path(target).write_bytes(b"half")
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoint_file, "save_file", full)
    with pytest.raises(UserError, match="disk is full"):
        checkpoint.write(path, {"model/x": torch.ones(3)}, meta(2))
    assert checkpoint.read_meta(path)["step"] == 1
    assert sorted(os.listdir(tmp_path)) == ["last.json", "last.safetensors"]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9999])
def test_a_torn_file_is_named(tmp_path: Path, share: float) -> None:
    path = tmp_path / "last.safetensors"
    checkpoint.write(path, {"model/x": torch.zeros(1000)}, meta())
    os.truncate(path, int(share * path.stat().st_size))
    with pytest.raises(UserError, match=re.escape("torn")) as error:
        checkpoint.read_meta(path)
    assert str(path) in str(error.value)


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such checkpoint"):
        checkpoint.read_meta(tmp_path / "absent.safetensors")
    save_file({"x": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(UserError, match="not a checkpoint of this project"):
        checkpoint.read_meta(tmp_path / "foreign.safetensors")
    assert not checkpoint.is_ours(tmp_path / "foreign.safetensors")
    (tmp_path / "pickle.pth").write_bytes(b"\x80\x02}q\x00.")
    assert not checkpoint.is_ours(tmp_path / "pickle.pth")


def test_another_models_tensors_are_refused(tmp_path: Path) -> None:
    model, strategy, optimizer = trained(1)
    path = tmp_path / "last.safetensors"
    tensors = checkpoint.all_tensors(model, strategy, optimizer)
    name = next(n for n in tensors if n.startswith("model/decoder") and tensors[n].ndim == 2)
    checkpoint.write(path, {**tensors, name: torch.zeros(1, 1)}, meta())
    with pytest.raises(UserError, match="of another model or size") as error:
        checkpoint.restore(path, model, strategy, optimizer, "cpu")
    assert "1 of another shape" in str(error.value)
    checkpoint.write(path, {n: t for n, t in tensors.items() if n != name}, meta())
    with pytest.raises(UserError, match="1 tensors missing"):
        checkpoint.load_for_evaluation(path)


def test_vocabularies_with_any_character_survive(tmp_path: Path) -> None:
    words = [*SPECIAL, "naïve", '"quoted"', "\\", "\u2603", "##ing"]
    value = {**meta(), "tokenizer": Tokenizer("words", words).to_json()}
    checkpoint.write(tmp_path / "x.safetensors", {"model/x": torch.zeros(1)}, value)
    assert Tokenizer.from_json(checkpoint.read_meta(tmp_path / "x.safetensors")["tokenizer"]).vocabulary == words


def test_numpy_reads_the_same_weights(tmp_path: Path) -> None:
    """A second reader of the format sees the same numbers."""
    from safetensors.numpy import load_file

    model, _, _ = trained(1)
    checkpoint.write(tmp_path / "best.safetensors", checkpoint.model_tensors(model), meta())
    arrays = load_file(tmp_path / "best.safetensors")
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(arrays[f"model/{name}"], tensor.numpy())
