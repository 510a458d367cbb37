"""The random-mask baseline (Q20): blocks blanked without regard to alignment, on AML's block grid."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from amlrepro.aml.afm import Size, apply_mask, block_grid
from amlrepro.aml.draws import sample_generators, to_device, uniform
from amlrepro.aml.masking import TwoStage
from amlrepro.aml.stats import MaskStatistics
from amlrepro.aml.strategies import STRATEGIES, Strategy, with_parts
from amlrepro.config import RunConfig
from amlrepro.data.batch import Batch
from amlrepro.data.tokens import Tokenizer
from amlrepro.models.contract import RISModel


def random_blocks(count: Tensor, grid: Size, generators: Sequence[torch.Generator]) -> Tensor:
    """Exactly count[i] blocks of sample i, every choice equally likely. count [B] int -> bool [B, *grid].

    Blocks are ranked by one uniform number each, so the count may stay on the device.
    """
    drawn = uniform(generators, (grid[0] * grid[1],), torch.device("cpu"))
    rank = to_device(drawn.argsort(1).argsort(1), count.device)
    return (rank < count[:, None]).reshape(-1, *grid)


@STRATEGIES.register("random")
class Random(Strategy):
    """A share of all blocks of an image, fixed or drawn for each: round(share * blocks) of them; one forward pass."""

    def __init__(self, config: RunConfig, model: RISModel) -> None:
        super().__init__()
        size = config.data.image_size
        self.grid = block_grid((size, size), config.afm.block)
        self.share = None if config.random.share == "random" else float(config.random.share)
        self.afm = config.afm
        self.seed = config.seed
        self.statistics = MaskStatistics().to(next(model.parameters()).device)

    @classmethod
    def handles(cls, config: RunConfig) -> bool:
        return config.strategy == "random" and config.random.share != "matched"

    @classmethod
    def build(cls, config: RunConfig, model: RISModel, tokenizer: Tokenizer) -> Random:
        return cls(config, model)

    def losses(self, model: RISModel, batch: Batch) -> dict[str, Tensor]:
        """The loss on the masked image against the unchanged target."""
        size = (int(batch.image.shape[-2]), int(batch.image.shape[-1]))
        grid = block_grid(size, self.afm.block)
        count = self.counts(batch, grid[0] * grid[1])
        blank = random_blocks(count, grid, sample_generators(self.seed, batch.index))
        self.statistics.add(blank, None, size, self.afm)
        image = apply_mask(batch.image, blank, self.afm.fill)
        parts = model.loss(model(image, batch.input_ids, batch.attention_mask), batch.target, batch.no_target)
        return with_parts(parts["loss"], parts)

    def counts(self, batch: Batch, blocks: int) -> Tensor:
        """How many of `blocks` go in each sample, [B] int64."""
        if self.share is not None:
            return torch.full((len(batch.image),), round(self.share * blocks), device=batch.image.device)
        drawn = uniform(sample_generators(self.seed, batch.index, "random share"), (), batch.image.device)
        return (drawn * blocks).round().long()

    def pop_stats(self) -> dict[str, float]:
        """Mask shares; see `MaskStatistics.pop`."""
        return self.statistics.pop()


@STRATEGIES.register("random_matched")
class RandomMatched(TwoStage):
    """As many random blocks as AML would have blanked in the same sample: AML's stage one, its draw, then a second."""

    @classmethod
    def handles(cls, config: RunConfig) -> bool:
        matched = config.strategy == "random" and config.random.share == "matched"
        return matched and config.afm.level == "image" and config.pmme.projection != "learnable"

    @classmethod
    def build(cls, config: RunConfig, model: RISModel, tokenizer: Tokenizer) -> RandomMatched:
        return cls(config, model, tokenizer)

    def losses(self, model: RISModel, batch: Batch) -> dict[str, Tensor]:
        """Stage one for the number of blocks, stage two on randomly masked images."""
        similarity = self.stage_one(model, batch)
        aligned = self.blank(similarity, batch)
        generators = sample_generators(self.seed, batch.index, "random mask")
        blank = random_blocks(aligned.flatten(1).sum(1), (aligned.shape[1], aligned.shape[2]), generators)
        self.record(blank, similarity, batch)
        return self.stage_two(model, batch, apply_mask(batch.image, blank, self.afm.fill))
