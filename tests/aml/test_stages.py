"""Late and Pred PMME on CARIS itself, worked out again with plain tensor algebra."""

import pytest
import torch
from fake_model import FakeModel, tokenizer
from test_aml_caris import SMALL, TOKENIZER, batch
from torch import Tensor

from amlrepro.aml.masking import ForwardOnly
from amlrepro.aml.presets import preset
from amlrepro.aml.strategies import build_strategy
from amlrepro.config import RunConfig
from amlrepro.errors import UserError
from amlrepro.models import build_model
from amlrepro.models.caris.model import CARIS
from amlrepro.models.contract import Output, RISModel
from amlrepro.models.detris.model import DETRIS
from amlrepro.models.rela.model import ReLA


def made(**changes: object) -> tuple[RISModel, ForwardOnly]:
    """CARIS in evaluation mode, whose stage one is too, and the strategy."""
    torch.manual_seed(0)
    dotted = {key.replace("__", "."): value for key, value in changes.items()}
    config = RunConfig().with_changes({**preset("inferred"), **SMALL, "pmme.mode": "eval", **dotted})
    model = build_model(config, 40).eval()
    strategy = build_strategy(config, model, TOKENIZER)
    assert isinstance(strategy, ForwardOnly)
    return model, strategy


def sharpness(vision: Tensor, text: Tensor, state: dict[str, Tensor]) -> Tensor:
    """Eqs. 4 to 7 for features as they are, all tokens."""
    projected = vision @ state["pmme.projection.vision"], text @ state["pmme.projection.text"]
    return torch.einsum("bmd,bnd->bmn", *projected).softmax(-1).amax(-1).reshape(-1, 7, 7)


def probability(output: Output) -> Tensor:
    """[B, 49]: two logits of 28 x 28 as a probability, averaged over the 4 x 4 pixels of each position."""
    share = 1 / (1 + torch.exp(output.logits[:, 0] - output.logits[:, 1]))
    return share.reshape(3, 7, 4, 7, 4).mean((2, 4)).flatten(1)


@pytest.mark.parametrize("text", ["fused", "raw"])
def test_late_by_hand(text: str) -> None:
    """S of the decoder's own output at 7 x 7, against its text or BERT's."""
    model, strategy = made(pmme__stage="late", pmme__late=text)
    data = batch()
    encoded = model.encode(data.image, data.input_ids, data.attention_mask)
    output = model.segment(encoded)
    assert isinstance(model, CARIS)
    decoded = model.decoder(encoded.visual.levels, encoded.textual.tokens, data.attention_mask)
    other = decoded.text if text == "fused" else encoded.textual.tokens
    expected = sharpness(decoded.vision[:, :49], other, strategy.state_dict())
    found = strategy.stage_one(model, data)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(strategy.similarity(model, encoded, data.input_ids, output), expected)


def test_late_has_matrices_of_its_own() -> None:
    """Of the fused widths (16 and 16; early vision has 32) and the same D_a; drawn apart where the widths agree."""
    early, late = (made(pmme__stage=stage)[1].state_dict() for stage in ("early", "late"))
    assert early["pmme.projection.vision"].shape == (32, 32)
    assert late["pmme.projection.vision"].shape == late["pmme.projection.text"].shape == (16, 32)
    assert not torch.equal(early["pmme.projection.vision"][:16], late["pmme.projection.vision"])
    assert not torch.equal(early["pmme.projection.text"], late["pmme.projection.text"])


@pytest.mark.parametrize("role", ["weight", "probability", "product"])
@pytest.mark.parametrize("normalize", ["none", "l2"])
def test_pred_by_hand(role: str, normalize: str) -> None:
    """The three readings of Q18. A weight acts after Eq. 3: before, the norm would undo it."""
    model, strategy = made(pmme__stage="pred", pmme__pred=role, pmme__normalize=normalize)
    data = batch()
    encoded = model.encode(data.image, data.input_ids, data.attention_mask)
    prior = probability(model.segment(encoded))
    vision, text = encoded.visual.levels[-1].flatten(2).transpose(1, 2), encoded.textual.tokens
    if normalize == "l2":
        vision, text = (x / x.square().sum(-1, keepdim=True).sqrt() for x in (vision, text))
    state = strategy.state_dict()
    expected = {
        "weight": lambda: sharpness(vision * prior[..., None], text, state),
        "probability": lambda: prior.reshape(-1, 7, 7),
        "product": lambda: sharpness(vision, text, state) * prior.reshape(-1, 7, 7),
    }[role]()
    torch.testing.assert_close(strategy.stage_one(model, data), expected)


def test_pred_starts_from_the_matrices_of_early() -> None:
    early, pred = (made(pmme__stage=stage)[1].state_dict() for stage in ("early", "pred"))
    assert torch.equal(early["pmme.projection.vision"], pred["pmme.projection.vision"])


@pytest.mark.parametrize("stage", ["late", "pred"])
def test_stage_one_predicts_without_gradient(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The decoder runs twice, the first time without gradient; every parameter learns from the second alone."""
    model, strategy = made(pmme__stage=stage)
    graded: list[bool] = []
    segment = model.segment

    def watched(*arguments: object) -> Output:
        graded.append(torch.is_grad_enabled())
        return segment(*arguments)

    monkeypatch.setattr(model, "segment", watched)
    strategy.losses(model, batch())["loss"].backward()
    assert graded == [False, True]
    assert all(parameter.grad is not None for parameter in model.parameters())
    stats = strategy.pop_stats()
    assert 0 < stats["masked_blocks"] < stats["weak_blocks"] < 1


@pytest.mark.parametrize("stage", ["late", "pred"])
def test_joint_step_takes_its_own_prediction(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The released step has predicted already when it needs S: two decoder passes as ever."""
    config = RunConfig().with_changes({**preset("released"), **SMALL, "pmme.stage": stage})
    model = build_model(config, 40).train()
    strategy = build_strategy(config, model, TOKENIZER)
    calls = []
    segment = model.segment
    monkeypatch.setattr(model, "segment", lambda *arguments: calls.append(1) or segment(*arguments))
    assert torch.isfinite(strategy.losses(model, batch())["loss"])
    assert len(calls) == 2


def test_foreground_of_one_and_of_two_channels() -> None:
    """Sigmoid (DETRIS) and softmax, also for ReLA, which predicts by two sigmoids but learns by cross-entropy."""
    model = FakeModel()
    one = Output(torch.tensor([[[[0.0, 2.0]]]]), (1, 2))
    assert model.foreground(one)[0, 0].tolist() == pytest.approx([0.5, 0.880797], abs=1e-6)
    two = Output(torch.tensor([[[[1.0]], [[3.0]]]]), (1, 1))
    assert model.foreground(two).item() == pytest.approx(0.880797, abs=1e-6)
    assert DETRIS.foreground is ReLA.foreground is RISModel.foreground


def test_a_model_without_fused_features_is_told_so() -> None:
    config = RunConfig().with_changes(
        {**preset("inferred"), "data.image_size": 64, "data.max_tokens": 8, "afm.block": 8, "pmme.stage": "late"}
    )
    with pytest.raises(UserError, match="fused_vision"):
        build_strategy(config, FakeModel(), tokenizer())
