"""The random-mask baseline."""

import pytest
import torch
from fake_model import FakeModel, batch, tokenizer

from amlrepro.aml.draws import sample_generators
from amlrepro.aml.presets import preset
from amlrepro.aml.random_mask import Random, RandomMatched, random_blocks
from amlrepro.aml.strategies import build_strategy
from amlrepro.config import RunConfig
from amlrepro.errors import UserError


def config(**changes: object) -> RunConfig:
    small = {"data.image_size": 64, "data.max_tokens": 8, "afm.block": 8, "pmme.dim": 64}
    return RunConfig().with_changes(
        {**preset("random"), **small, **{k.replace("__", "."): v for k, v in changes.items()}}
    )


def test_exact_counts() -> None:
    blank = random_blocks(torch.tensor([0, 1, 49, 196]), (14, 14), sample_generators(0, torch.arange(4)))
    assert blank.flatten(1).sum(1).tolist() == [0, 1, 49, 196]


def test_every_block_equally_likely() -> None:
    """2000 draws of 4 of 16 blocks: each is taken 500 times, standard deviation 19.4."""
    n = 2000
    blank = random_blocks(torch.full((n,), 4), (4, 4), sample_generators(0, torch.arange(n)))
    counts = blank.flatten(1).sum(0)
    assert counts.sum() == 4 * n
    assert (counts - 500).abs().max() < 4 * (n * 0.25 * 0.75) ** 0.5


@pytest.mark.parametrize(("share", "blocks"), [(0.25, 16), (0.1, 6), (0.0, 0), (1.0, 64)])
def test_fixed_share(share: float, blocks: int) -> None:
    model = FakeModel()
    strategy = build_strategy(config(random__share=share), model, tokenizer())
    assert isinstance(strategy, Random)
    strategy.losses(model, batch())
    assert model.calls == {"vision": 1, "text": 1, "decoder": 1}
    zero = (model.images[-1].reshape(4, 3, 8, 8, 8, 8) == 0).all(5).all(3).all(1).flatten(1).sum(1)
    assert zero.tolist() == [blocks] * 4
    assert strategy.pop_stats()["masked_blocks"] == blocks / 64


def test_random_share() -> None:
    """One share a sample, uniform from 0 to 1: of 64 blocks 32 on average, standard deviation 18.5 (Q20 c)."""
    strategy = build_strategy(config(random__share="random"), FakeModel(), tokenizer())
    assert isinstance(strategy, Random)
    data = batch(n=1)
    data.index = torch.arange(2000)
    counts = strategy.counts(data, 64).float()
    assert (counts.min(), counts.max()) == (0, 64)
    assert abs(counts.mean() - 32) < 4 * 18.5 / 2000**0.5
    assert abs(counts.std() - 18.5) < 0.8
    data.index = torch.tensor([7])
    assert strategy.counts(data, 64).item() == counts[7]
    model = FakeModel()
    build_strategy(config(random__share="random"), model, tokenizer()).losses(model, batch())
    zero = (model.images[-1].reshape(4, 3, 8, 8, 8, 8) == 0).all(5).all(3).all(1).flatten(1).sum(1)
    assert zero.tolist() == counts[:4].tolist()


def test_matched_takes_as_many_blocks_as_aml() -> None:
    """Sample by sample, from the same stage one; other places."""
    counts, masks = {}, {}
    for name, source in (("aml", "pmme"), ("matched", "random")):
        model = FakeModel("eval").eval()
        strategy = build_strategy(config(random__share="matched", afm__source=source), model, tokenizer())
        assert isinstance(strategy, RandomMatched) == (name == "matched")
        strategy.losses(model, batch(n=8))
        masked = (model.images[-1].reshape(8, 3, 8, 8, 8, 8) == 0).all(5).all(3).all(1)
        counts[name], masks[name] = masked.flatten(1).sum(1).tolist(), masked
        assert model.calls == {"vision": 3, "text": 3, "decoder": 1}, "one of the three measures the widths at set-up"
    assert counts["aml"] == counts["matched"]
    assert 0 < sum(counts["aml"]) < 8 * 64
    assert not torch.equal(masks["aml"], masks["matched"])


def test_the_joint_step_is_refused() -> None:
    for share in (0.25, "matched"):
        with pytest.raises(UserError, match="forward_only"):
            build_strategy(config(train__step="joint", random__share=share), FakeModel(), tokenizer())
