"""What makes evaluations cheaper changes no record: against one forward a sentence in the official order of sums."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_refer import make_grefs, make_refer, method_config, tiny_config
from torch import Tensor

from amlrepro.bench.official_way import official_records
from amlrepro.config import EvalConfig, RunConfig
from amlrepro.data.loader import EvaluationData, open_evaluation
from amlrepro.data.tokens import Tokenizer
from amlrepro.engine.evaluate import evaluate, evaluate_run, reduced_precision
from amlrepro.engine.numerics import full_precision
from amlrepro.engine.train import train
from amlrepro.files import read_json
from amlrepro.metrics.records import Records
from amlrepro.models import build_model
from amlrepro.models.caris.decoder import Attention
from amlrepro.models.caris.model import CARIS
from amlrepro.models.contract import RISModel
from amlrepro.models.layers.regroup import set_regrouping
from amlrepro.models.registry import get_spec
from amlrepro.rundir import RunDir


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = make_refer(tmp_path_factory.mktemp("refer") / "data", train=4, val=4)
    make_grefs(made)
    return made


def opened(root: Path, name: str) -> tuple[RISModel, EvaluationData, RunConfig]:
    """A model whose weights are large enough that masks have edges, and its own data set's val split."""
    config = tiny_config(root) if name == "caris" else method_config(root, name)
    tokenizer = Tokenizer.words(["the box on left right red green blue yellow"])
    torch.manual_seed(5)
    model = build_model(config, tokenizer.vocab_size)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape), alpha=0.2)
    evaluation = EvalConfig(dataset=config.data.train, split="val")
    return model, open_evaluation(config, evaluation, tokenizer, get_spec(name).protocol), config


@pytest.mark.parametrize("name", ["caris", "detris", "rela"])
def test_records_are_those_of_one_forward_a_sentence(root: Path, name: str) -> None:
    model, data, config = opened(root, name)
    expected, found = official_records(model, data, "cpu"), evaluate(model, data, "resized")
    pixels = config.data.image_size**2
    assert ((expected.predicted_area > 0) & (expected.predicted_area < pixels)).any()
    for column in ("ref_id", "sent_id", "image_id", "target_area"):
        assert np.array_equal(expected.columns()[column], found.columns()[column])
    for column in ("intersection", "predicted_area"):
        gap = np.abs(expected.columns()[column] - found.columns()[column])
        assert gap.sum() <= 1e-4 * pixels * len(expected)


@pytest.mark.parametrize(("queries", "keys"), [(3, 40), (40, 3), (12, 12)])
@pytest.mark.parametrize("hidden", [False, True])
def test_regrouped_attention_is_attention(queries: int, keys: int, hidden: bool) -> None:
    """In float64, against heads one by one; with keys that a bias hides."""
    torch.manual_seed(0)
    attention = Attention(width=16, heads=2, head_dim=24).double()
    query, key, value = (torch.randn(2, n, 16, dtype=torch.float64) for n in (queries, keys, keys))
    bias = torch.zeros(2, keys, dtype=torch.float64)
    bias[:, 1 :: 2 if hidden else keys] = float("-inf")
    q, k, v = attention.q_proj(query), attention.k_proj(key), attention.v_proj(value)
    heads = []
    for head in (slice(0, 24), slice(24, 48)):
        scores = q[..., head] @ k[..., head].transpose(1, 2) / 24**0.5 + bias[:, None]
        heads.append(scores.softmax(-1) @ v[..., head])
    expected = attention.out_proj(torch.cat(heads, -1))
    for when in ("never", "always"):
        set_regrouping(attention, when)
        assert torch.allclose(attention(query, key, value, bias), expected, atol=1e-12)
    assert queries == keys or attention._regrouping_pays(queries, keys)


def test_gradients_are_taken_in_the_official_order_unless_told(root: Path) -> None:
    """Regrouped products have the same gradients; by default training does not use them."""
    model, data, _ = opened(root, "caris")
    assert isinstance(model, CARIS)
    batch = next(data.batches())

    def gradients() -> list[Tensor]:
        logits = model(batch.image[batch.image_index], batch.input_ids, batch.attention_mask).logits
        return list(torch.autograd.grad(logits.square().mean(), list(model.decoder.parameters())))

    model.eval()
    usual = gradients()
    set_regrouping(model, "never")
    assert all(torch.equal(a, b) for a, b in zip(usual, gradients(), strict=True))
    set_regrouping(model, "always")
    largest = max(float(part.abs().max()) for part in usual)
    assert all(torch.allclose(a, b, atol=1e-4 * largest) for a, b in zip(usual, gradients(), strict=True))


def test_pictures_are_taken_once_an_image(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Swin, prompts and the decoder's convolutions of its maps see 4 images, not 16 sentences."""
    model, data, _ = opened(root, "caris")
    assert isinstance(model, CARIS)
    seen: dict[str, int] = {}
    parts = {"vision": model.visual, "prompts": model.prompts, "lateral": model.decoder.lateral_convs[0]}

    def count(name: str) -> Any:
        def hook(_module: Any, arguments: tuple[Tensor, ...]) -> None:
            seen[name] = seen.get(name, 0) + len(arguments[0])

        return hook

    for name, part in parts.items():
        part.register_forward_pre_hook(count(name))
    assert len(evaluate(model, data, "resized")) == 16
    assert seen == {"vision": 4, "prompts": 4, "lateral": 4}


def test_float32_stays_float32_after_a_fast_training(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training with `numerics: fast` leaves TensorFloat-32 on in its process."""
    model, data, _ = opened(root, "caris")
    used: list[str] = []
    forward = model.answer

    def answer(*arguments: Tensor) -> Any:
        used.append(torch.get_float32_matmul_precision())
        return forward(*arguments)

    monkeypatch.setattr(model, "answer", answer)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        evaluate(model, data, "resized", full_precision("cpu"))
        assert set(used) == {"highest"}
        used.clear()
        evaluate(model, data, "resized", reduced_precision("cpu"))
        assert set(used) == {"high"}
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)


def test_bf16_records_of_a_run_are_marked_and_lie_beside_the_others(root: Path, tmp_path: Path) -> None:
    run, config = RunDir(tmp_path / "run"), tiny_config(root, **{"train.horizon": 1})
    train(config, run)
    whole = EvalConfig(dataset="refcoco", split="val")
    reduced = whole.model_copy(update={"precision": "bf16"})
    for evaluation in (whole, reduced):
        evaluate_run(run, config, evaluation)
    metas = [read_json(run.eval_meta(evaluation.eval_id)) for evaluation in (whole, reduced)]
    assert [meta["precision"] for meta in metas] == ["float32", "bf16"]
    targets = [Records.read(run.eval_records(e.eval_id)).target_area.tolist() for e in (whole, reduced)]
    assert targets[0] == targets[1]
