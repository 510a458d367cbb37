"""Swin's blocks made quick: timm's own outputs, gradients and random numbers."""

from __future__ import annotations

import copy

import pytest
import torch
from timm.layers import DropPath
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor, nn

from amlrepro.models.backbones.swin_fast import add_branch, quicken


def swin(drop_path: float) -> SwinTransformer:
    torch.manual_seed(0)
    sizes = {"patch_size": 4, "window_size": 7, "embed_dim": 8, "depths": (2, 2), "num_heads": (1, 2)}
    return SwinTransformer(img_size=56, num_classes=0, drop_path_rate=drop_path, always_partition=True, **sizes).train()


def run(model: nn.Module, image: Tensor) -> tuple[Tensor, dict[str, Tensor], Tensor]:
    """Features, gradients of their squares and the next random numbers."""
    torch.manual_seed(1)
    out = model.forward_features(image)  # type: ignore[operator]
    out.square().sum().backward()
    return out.detach(), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}, torch.rand(4)


@pytest.mark.parametrize("drop_path", [0.0, 0.4, 0.95])
def test_outputs_gradients_and_random_numbers_are_those_of_timm(drop_path: float) -> None:
    """With 0.95 most of the time no sample of a block is kept: its parameters still get a gradient, of zeros."""
    theirs = swin(drop_path)
    ours = copy.deepcopy(theirs)
    quicken(ours)
    image = torch.randn(6, 3, 56, 56)
    expected, found = run(theirs, image), run(ours, image)
    torch.testing.assert_close(found[0], expected[0], rtol=1e-5, atol=1e-5)
    assert found[1].keys() == expected[1].keys()
    for name, gradient in expected[1].items():
        torch.testing.assert_close(
            found[1][name], gradient, rtol=1e-4, atol=1e-4 * max(1.0, float(gradient.abs().max()))
        )
    assert torch.equal(found[2], expected[2])
    assert ours.state_dict().keys() == theirs.state_dict().keys()


def test_without_gradient_fused_attention_gives_the_same() -> None:
    theirs = swin(0.0)
    ours = copy.deepcopy(theirs)
    quicken(ours)
    image = torch.randn(2, 3, 56, 56)
    with torch.no_grad():
        torch.testing.assert_close(ours.forward_features(image), theirs.forward_features(image), rtol=1e-5, atol=1e-5)


def test_a_dropped_sample_is_not_computed() -> None:
    seen: list[int] = []

    def branch(rows: Tensor) -> Tensor:
        seen.append(len(rows))
        return rows.clone()

    drop = DropPath(0.5).train()
    x = torch.arange(1.0, 9.0)[:, None]
    torch.manual_seed(3)
    keep = x.new_empty(8).bernoulli_(0.5)
    torch.manual_seed(3)
    out = add_branch(x, branch, drop)
    assert seen == [int(keep.sum())]
    assert torch.equal(out, x * (1 + 2 * keep[:, None]))  # a kept branch is divided by the rate of keeping
    assert torch.equal(add_branch(x, branch, drop.eval()), 2 * x)
