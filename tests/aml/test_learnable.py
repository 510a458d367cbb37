"""A projection that learns: what its gradient is, and that nothing else changes."""

import math

import pytest
import torch
from fake_model import FakeModel, batch, tokenizer
from torch import Tensor

from amlrepro.aml.afm import apply_mask
from amlrepro.aml.learnable import Learnable, blend_mask, straight_through
from amlrepro.aml.masking import ForwardOnly
from amlrepro.aml.presets import preset
from amlrepro.aml.strategies import Strategy, build_strategy
from amlrepro.config import RunConfig
from amlrepro.engine.optim import build_optimizer

NAMES = ("pmme.projection.vision", "pmme.projection.text")


def config(**changes: object) -> RunConfig:
    small = {"data.image_size": 64, "data.max_tokens": 8, "afm.block": 8, "pmme.dim": 64}
    dotted = {key.replace("__", "."): value for key, value in changes.items()}
    return RunConfig().with_changes({**preset("inferred"), **small, **dotted})


def made(projection: str = "learnable", **changes: object) -> tuple[FakeModel, Strategy]:
    model = FakeModel("eval").eval()
    return model, build_strategy(config(pmme__projection=projection, **changes), model, tokenizer())


@pytest.mark.parametrize("dropout", ["block", "pixel"])
def test_starts_as_the_fixed_projection(dropout: str) -> None:
    """Equal matrices, so equal masks and loss; the encoders' gradient is that of the masked image alone, bit by bit."""
    (model, learnable), (other, fixed) = (made(name, afm__dropout=dropout) for name in ("learnable", "gaussian"))
    assert isinstance(learnable, Learnable)
    assert isinstance(fixed, ForwardOnly)
    assert [name for name, _ in learnable.named_parameters()] == list(NAMES)
    assert not list(fixed.parameters())
    for name in NAMES:
        assert torch.equal(learnable.state_dict()[name], fixed.state_dict()[name])
    losses = [s.losses(m, batch())["loss"] for s, m in ((learnable, model), (fixed, other))]
    assert losses[0].item() == losses[1].item()
    for loss in losses:
        loss.backward()
    for (name, parameter), counterpart in zip(model.named_parameters(), other.parameters(), strict=True):
        assert parameter.grad is not None
        assert counterpart.grad is not None
        assert torch.equal(parameter.grad, counterpart.grad), name
    assert torch.equal(model.images[-1], other.images[-1])
    assert learnable.pop_stats() == fixed.pop_stats()


def test_gradient_by_hand() -> None:
    """dL/dS = dL/dmask * drawn * d sigmoid((tau - S) / 0.1) / dS, S being on the block grid; then Eqs. 4 to 7."""
    model, strategy = made(afm__rho=0.5)
    assert isinstance(strategy, Learnable)
    data = batch()
    strategy.losses(model, data)["loss"].backward()

    with torch.no_grad():
        visual = model.encode_image(data.image)
        text = model.encode_text(data.input_ids, data.attention_mask, visual).tokens
    vision = visual.levels[-1].flatten(2).transpose(1, 2)
    matrices = [strategy.state_dict()[name].clone().requires_grad_() for name in NAMES]
    logits = torch.einsum("bmd,bnd->bmn", vision @ matrices[0], text @ matrices[1])
    similarity = logits.softmax(-1).amax(-1).reshape(4, 8, 8)
    drawn = strategy.blank(torch.zeros(4, 8, 8), data)
    mask = (drawn & (similarity < 0.4)).float().requires_grad_()
    assert 0.4 < drawn.float().mean() < 0.6
    pixels = torch.nn.functional.interpolate(mask[:, None], scale_factor=8, mode="nearest")
    model.loss(model(data.image * (1 - pixels), data.input_ids, data.attention_mask), data.target)["loss"].backward()
    assert mask.grad is not None
    soft = 1 / (1 + torch.exp((similarity.detach() - 0.4) / 0.1))
    upstream = mask.grad * drawn * soft * (1 - soft) * (-1 / 0.1)
    similarity.backward(upstream)
    for name, matrix in zip(NAMES, matrices, strict=True):
        found = dict(strategy.named_parameters())[name].grad
        assert found is not None
        assert matrix.grad is not None
        largest = found.abs().max().item()
        assert largest > 0
        torch.testing.assert_close(found, matrix.grad, rtol=1e-4, atol=1e-5 * largest)


def test_it_learns_and_is_restored() -> None:
    """At the full rate, with decay, in a group of its own; what it learned goes with the state."""
    settings = config(pmme__projection="learnable", train__lr=1e-3)
    model = FakeModel("eval").eval()
    strategy = build_strategy(settings, model, tokenizer())
    optimizer = build_optimizer(model, strategy, settings.train)
    (group,) = (g for g in optimizer.param_groups if g["name"] == "strategy")
    assert (group["lr"], group["weight_decay"]) == (1e-3, 0.01)
    assert group["param_names"] == [f"strategy.{name}" for name in NAMES]
    before = {name: tensor.clone() for name, tensor in strategy.state_dict().items()}
    strategy.losses(model, batch())["loss"].backward()
    optimizer.step()
    moved = {name for name, tensor in strategy.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved >= set(NAMES)
    other = build_strategy(settings, FakeModel("eval").eval(), tokenizer())
    other.load_state_dict(strategy.state_dict())
    for first, second in zip(strategy.parameters(), other.parameters(), strict=True):
        assert torch.equal(first, second)


def test_the_mask_stays_hard() -> None:
    soft = torch.tensor([0.3, 0.9, 0.5], requires_grad=True)
    mask = straight_through(torch.tensor([False, True, True]), soft)
    assert mask.tolist() == [0.0, 1.0, 1.0]
    mask.backward(torch.tensor([1.0, 2.0, 3.0]))
    assert soft.grad is not None
    assert soft.grad.tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("fill", [0.0, 0.37])
def test_blended_images_are_masked_images(fill: float) -> None:
    image = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    blank = torch.tensor([[[True, False], [False, True]], [[False, False], [False, True]]])
    weights = blank.float().requires_grad_()
    blended = blend_mask(image, weights, fill)
    assert torch.equal(blended, apply_mask(image, blank, fill))
    blended.sum().backward()
    assert weights.grad is not None
    assert weights.grad[0, 0, 0].item() == pytest.approx((fill - image[0, :, :8, :8]).sum().item(), rel=1e-4)


def test_softness() -> None:
    """One block, S 0.3 below tau 0.4: the slope of sigmoid at 1, over 0.1, away from blanking as S grows."""
    strategy = made(afm__rho=1.0)[1]
    assert isinstance(strategy, Learnable)
    similarity = torch.full((1, 8, 8), 0.3, requires_grad=True)
    strategy.soft(torch.ones(1, 8, 8, dtype=torch.bool), similarity, batch(n=1)).sum().backward()
    slope = math.exp(-1) / (1 + math.exp(-1)) ** 2 / 0.1
    assert similarity.grad is not None
    torch.testing.assert_close(similarity.grad, torch.full((1, 8, 8), -slope))


def test_under_autocast() -> None:
    """Half precision around it: the projection still learns, and weights cast in stage one are not reused."""
    model, strategy = made()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        strategy.losses(model, batch())["loss"].backward()
    gradients: list[Tensor | None] = [p.grad for p in (*strategy.parameters(), *model.parameters())]
    assert all(gradient is not None and bool(torch.isfinite(gradient).all()) for gradient in gradients)
