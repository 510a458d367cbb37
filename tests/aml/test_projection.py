"""The projections of Eqs. 4 and 5 and of the released code."""

import pytest
import torch

from amlrepro.aml.projection import PROJECTIONS, GaussianPair, TextLinear, build_projection
from amlrepro.errors import UserError
from amlrepro.sections import PMMEConfig


def test_gaussian_entries_have_variance_one_over_dim() -> None:
    projection = build_projection(256, 192, PMMEConfig(dim=512), seed=0)
    assert isinstance(projection, GaussianPair)
    for matrix, width in ((projection.vision, 256), (projection.text, 192)):
        assert matrix.shape == (width, 512)
        assert matrix.var().item() == pytest.approx(1 / 512, rel=0.02)
        assert abs(matrix.mean().item()) < 3 / 512**0.5 / matrix.numel() ** 0.5 + 1e-3
    assert abs(torch.corrcoef(torch.stack([projection.vision[:192].flatten(), projection.text.flatten()]))[0, 1]) < 0.02


def test_gaussian_is_a_matrix_product() -> None:
    projection = build_projection(3, 2, PMMEConfig(dim=2), seed=1)
    projection.load_state_dict(
        {"vision": torch.tensor([[1.0, 2], [3, 4], [5, 6]]), "text": torch.tensor([[1.0, 0], [2, -1]])}
    )
    vision, text = projection(torch.tensor([[[1.0, 0, 2]]]), torch.tensor([[[3.0, 1]]]))
    assert vision.tolist() == [[[11, 14]]]  # (1 + 10, 2 + 12)
    assert text.tolist() == [[[5, -1]]]  # (3 + 2, -1)


def test_text_linear_by_hand_and_initial_range() -> None:
    projection = build_projection(2, 2304, PMMEConfig(projection="text_linear"), seed=0)
    assert isinstance(projection, TextLinear)
    assert projection.weight.abs().max().item() == pytest.approx(1 / 48, rel=0.01)
    assert projection.weight.var().item() == pytest.approx(1 / (3 * 2304), rel=0.1)
    small = build_projection(2, 2, PMMEConfig(projection="text_linear"), seed=0)
    small.load_state_dict({"weight": torch.tensor([[1.0, 2], [0, 3]]), "bias": torch.tensor([0.5, -1])})
    vision = torch.randn(1, 4, 2)
    same, text = small(vision, torch.tensor([[[2.0, 1]]]))
    assert same is vision
    assert text.tolist() == [[[4.5, 2.0]]]


@pytest.mark.parametrize("name", ["gaussian", "text_linear"])
def test_fixed_by_seed_saved_and_not_trained(name: str) -> None:
    config = PMMEConfig(projection=name, dim=8)
    torch.manual_seed(1)
    first = build_projection(6, 5, config, seed=4)
    state = torch.get_rng_state()
    second = build_projection(6, 5, config, seed=4)
    assert torch.equal(torch.get_rng_state(), state), "the global random state must not move"
    other = build_projection(6, 5, config, seed=5)
    assert not list(first.parameters())
    assert first.state_dict().keys() == second.state_dict().keys() != set()
    for key, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[key])
        assert not torch.equal(value, other.state_dict()[key])


def test_an_absent_projection_names_those_that_exist() -> None:
    with pytest.raises(UserError, match=r"gaussian.*text_linear"):
        PROJECTIONS.get("fourier")


def test_one_product_gives_the_inner_products_of_both_projections() -> None:
    """V W_i (T W_t)^T = V (T W_t W_i^T)^T; the projection that learns has no such product."""
    projection = build_projection(32, 24, PMMEConfig(dim=64), seed=3)
    vision, text = torch.randn(2, 49, 32), torch.randn(2, 7, 24)
    projected, words = projection(vision, text)
    expected = projected @ words.transpose(1, 2)
    names = set(projection.state_dict())
    projection.speed_up()
    same, narrow = projection(vision, text)
    assert same is vision
    torch.testing.assert_close(same @ narrow.transpose(1, 2), expected, rtol=1e-4, atol=1e-4)
    assert set(projection.state_dict()) == names
    learnable = build_projection(32, 24, PMMEConfig(dim=64, projection="learnable"), seed=3)
    learnable.speed_up()
    assert learnable(vision, text)[0].shape == (2, 49, 64)
