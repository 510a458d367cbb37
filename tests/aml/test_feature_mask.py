"""Masking in feature space: which keys are hidden, from whom, and when not."""

import pytest
import torch
import torch.nn.functional as F
from fake_model import FakeModel, tokenizer
from test_aml_caris import SMALL, TOKENIZER, batch
from torch import Tensor, nn

from amlrepro.aml.feature_mask import FeatureMask, hidden_positions
from amlrepro.aml.presets import preset
from amlrepro.aml.strategies import build_strategy
from amlrepro.config import RunConfig
from amlrepro.errors import UserError
from amlrepro.models import build_model
from amlrepro.models.caris.decoder import Attention
from amlrepro.models.caris.model import CARIS


def made(**changes: object) -> tuple[CARIS, FeatureMask]:
    """CARIS with three decoder layers, in training mode, and the strategy."""
    torch.manual_seed(0)
    dotted = {key.replace("__", "."): value for key, value in changes.items()}
    values = {**preset("inferred"), **SMALL, "afm.level": "feature", "model.options": {"layers": 3}, **dotted}
    model = build_model(RunConfig().with_changes(values), 40).train()
    assert isinstance(model, CARIS)
    strategy = build_strategy(RunConfig().with_changes(values), model, TOKENIZER)
    assert isinstance(strategy, FeatureMask)
    return model, strategy


def test_equation_16_by_hand() -> None:
    """S > tau stays, S = tau goes; a sample with nothing left keeps everything."""
    similarity = torch.tensor([[[0.3, 0.4], [0.5, 0.9]], [[0.1, 0.4], [0.2, 0.3]], [[0.5, 0.6], [0.7, 0.8]]])
    expected = [[[True, True], [False, False]], [[False, False], [False, False]], [[False, False], [False, False]]]
    assert hidden_positions(similarity, 0.4).tolist() == expected


def weights(attention: Attention, query: Tensor, key: Tensor, bias: Tensor | None) -> Tensor:
    """Eq. 15' without the values, head by head [B, heads, Q, K], from the layer's own matrices."""
    q = attention.q_proj(query).unflatten(-1, (attention.heads, -1))
    k = attention.k_proj(key).unflatten(-1, (attention.heads, -1))
    scores = torch.einsum("bqhd,bkhd->bhqk", q, k) / q.shape[-1] ** 0.5
    if bias is not None:
        scores[..., : bias.shape[-1]] += bias[:, None, None]
    return scores.softmax(-1)


def test_weak_positions_get_no_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    """In all layers, from words and prompts alike, exactly zero; finer maps, and text as vision reads it, untouched."""
    model, strategy = made(afm__tau=0.5)
    seen: list[tuple[str, tuple[Tensor, ...], Tensor | None, Tensor]] = []

    def watch(name: str) -> None:
        def hook(module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
            seen.append((name, arguments[:3], arguments[3], output))

        model.get_submodule(name).register_forward_hook(hook)

    for layer in range(3):
        watch(f"decoder.layers.{layer}.v2l_cross_attn")
        watch(f"decoder.layers.{layer}.l2v_cross_attn")
    maps: list[Tensor] = []
    similarity = FeatureMask.similarity
    monkeypatch.setattr(FeatureMask, "similarity", lambda *args: maps.append(similarity(*args)) or maps[-1])
    data = batch()
    strategy.losses(model, data)["loss"].backward()

    (found,) = maps
    weak = (found <= 0.5).flatten(1)
    assert (weak.sum(1) > 0).all()
    assert (weak.sum(1) < 49).all()
    v2l = [entry for entry in seen if "v2l" in entry[0]]
    assert len(v2l) == 3
    for name, (query, key, value), bias, output in v2l:
        assert key.shape[1] == 49 + 196, "7 x 7 and 14 x 14 positions"
        assert bias is not None
        layer = model.get_submodule(name)
        assert isinstance(layer, Attention)
        attended = weights(layer, query, key, bias)
        hidden = F.pad(weak, (0, 196))
        assert (attended * hidden[:, None, None] == 0).all()
        assert (attended.permute(0, 3, 1, 2)[~hidden] > 0).all()
        heads = layer.v_proj(value).unflatten(-1, (layer.heads, -1))
        read = layer.out_proj(torch.einsum("bhqk,bkhd->bqhd", attended, heads).flatten(2))
        torch.testing.assert_close(output, read)
    for _, (_, key, _), bias, _ in (entry for entry in seen if "l2v" in entry[0]):
        padding = F.pad(data.attention_mask, (0, key.shape[1] - 10), value=1) == 0
        assert bias is not None
        assert torch.equal(bias == float("-inf"), padding)
    stats, share = strategy.pop_stats(), weak.float().mean().item()
    assert (stats["masked_blocks"], stats["weak_blocks"]) == pytest.approx((share, share))
    assert (stats["fully_masked"], stats["untouched"], stats["spared"]) == (0, 0, 0)
    assert stats["s_mean"] == pytest.approx(found.mean().item())
    assert strategy.pop_stats() == {}


def test_one_pass_on_the_whole_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Encoders once, in training mode and with gradient; every parameter learns; no block, no dropout, no fill."""
    model, strategy = made(afm__block=5)
    images: list[Tensor] = []
    encode = model.encode_image
    monkeypatch.setattr(model, "encode_image", lambda image: images.append(image) or encode(image))
    data = batch()
    strategy.losses(model, data)["loss"].backward()
    assert [image is data.image for image in images] == [True]
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert not list(strategy.parameters())


def test_nothing_left_means_nothing_hidden() -> None:
    """tau 1: no S is above it, so every sample is spared and the loss is the plain one."""
    model, strategy = made(afm__tau=1.0, pmme__dim=64)
    model.eval()
    data = batch()
    loss = strategy.losses(model, data)["loss"]
    output = model(data.image, data.input_ids, data.attention_mask)
    torch.testing.assert_close(loss, model.loss(output, data.target)["loss"], rtol=1e-6, atol=0)
    stats = strategy.pop_stats()
    assert (stats["spared"], stats["masked_blocks"], stats["untouched"]) == (1, 0, 1)


def test_evaluation_hides_nothing() -> None:
    """The model predicts after an update's passes as it did before them, and its decoder gets no bias."""
    model, strategy = made(afm__tau=0.5)
    data = batch()
    model.eval()
    with torch.no_grad():
        before = model(data.image, data.input_ids, data.attention_mask).logits
        model.train()
        strategy.losses(model, data)
        model.eval()
        after = model(data.image, data.input_ids, data.attention_mask).logits
        hidden = torch.zeros(3, 49).masked_fill(torch.arange(49) < 25, float("-inf"))
        encoded = model.encode(data.image, data.input_ids, data.attention_mask)
        masked = model.segment(encoded, attention_bias=hidden).logits
    assert torch.equal(before, after)
    assert not torch.equal(masked, before)


def test_half_precision() -> None:
    model, strategy = made(afm__tau=0.5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        strategy.losses(model, batch())["loss"].backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()


def test_a_model_without_such_attention_is_refused() -> None:
    values = {**preset("inferred"), "data.image_size": 64, "data.max_tokens": 8, "afm.level": "feature"}
    with pytest.raises(UserError, match=r"hide positions(.|\n)*afm\.level"):
        build_strategy(RunConfig().with_changes(values), FakeModel(), tokenizer())
