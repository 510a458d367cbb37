"""Draws are functions of seed and sample alone."""

import torch

from amlrepro.aml.draws import generator_for, sample_generators, uniform

CPU = torch.device("cpu")


def test_equal_for_equal_seed_and_index_whatever_the_batch() -> None:
    torch.manual_seed(0)
    whole = uniform(sample_generators(3, torch.arange(10, 16)), (4, 4), CPU)
    torch.manual_seed(1)
    turned = uniform(sample_generators(3, torch.arange(15, 9, -1)), (4, 4), CPU)
    ranks = [uniform(sample_generators(3, torch.arange(10 + rank, 16, 2)), (4, 4), CPU) for rank in (0, 1)]
    assert torch.equal(whole, turned.flip(0))
    assert torch.equal(whole[::2], ranks[0])
    assert torch.equal(whole[1::2], ranks[1])


def test_different_for_another_seed_sample_or_purpose() -> None:
    draws = {
        tuple(torch.rand(4, generator=generator_for(seed, purpose, index)).tolist())
        for seed in range(5)
        for index in range(5)
        for purpose in ("mask", "projection")
    }
    assert len(draws) == 50


def test_uniform_over_samples() -> None:
    """One draw from each of many neighbouring samples: mean 1/2 and variance 1/12 within four standard errors."""
    drawn = uniform(sample_generators(0, torch.arange(4000)), (1,), CPU)
    assert abs(drawn.mean().item() - 0.5) < 4 * (1 / 12 / 4000) ** 0.5
    assert abs(drawn.var().item() - 1 / 12) < 0.006
    neighbours = torch.corrcoef(torch.stack([drawn[:-1, 0], drawn[1:, 0]]))[0, 1]
    assert abs(neighbours.item()) < 4 / 4000**0.5
