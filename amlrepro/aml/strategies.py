"""Training strategies own the step: how a batch becomes losses. The model knows nothing of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

from torch import Tensor, nn

from amlrepro.aml.combinations import find_conflict
from amlrepro.aml.registry import Registry
from amlrepro.aml.stats import MaskStatistics
from amlrepro.config import RunConfig
from amlrepro.data.batch import Batch
from amlrepro.data.tokens import Tokenizer
from amlrepro.errors import UserError
from amlrepro.models.contract import RISModel


class Strategy(nn.Module, ABC):
    """How a model learns from a batch. Parameters and state a strategy owns are in its `state_dict`."""

    @classmethod
    @abstractmethod
    def handles(cls, config: RunConfig) -> bool:
        """Whether these settings ask for this strategy."""

    @classmethod
    @abstractmethod
    def build(cls, config: RunConfig, model: RISModel, tokenizer: Tokenizer) -> Strategy:
        """Make it for a run whose sentences `tokenizer` turns into ids.

        Raises `UserError` for settings that exclude each other.
        """

    @abstractmethod
    def losses(self, model: RISModel, batch: Batch) -> dict[str, Tensor]:
        """ "loss", the scalar to minimise, and its parts, detached."""

    def speed_up(self) -> None:
        """Take what is quicker and changes results by rounding only (`train.numerics: fast`), where there is such."""

    def sums(self) -> list[Tensor]:
        """Buffers that add up over samples; where several processes train, each adds up its own."""
        return [module.sums for module in self.modules() if isinstance(module, MaskStatistics)]

    def pop_stats(self) -> dict[str, float]:
        """What happened since the last call, for the run's history; waits for the device once."""
        return {}


STRATEGIES: Registry[type[Strategy]] = Registry("strategy")


def build_strategy(config: RunConfig, model: RISModel, tokenizer: Tokenizer) -> Strategy:
    """The strategy these settings ask for; raises `UserError` for settings that exclude each other or do not suit the
    model."""
    conflict = find_conflict(config, model.protocol, config.model.name)
    if conflict is not None:
        group, _, field = conflict.key.partition(".")
        found = getattr(getattr(config, group), field)
        raise UserError(conflict.reason, where=conflict.key, found=found, expected=conflict.expected)
    strategy = next(each for each in STRATEGIES.all().values() if each.handles(config))
    return strategy.build(config, model, tokenizer)


def with_parts(loss: Tensor, parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`loss` as it is and every other entry of `parts` detached."""
    return {"loss": loss, **{name: value.detach() for name, value in parts.items() if name != "loss"}}


@contextmanager
def in_mode(model: nn.Module, mode: Literal["train", "eval"]) -> Iterator[None]:
    """The model in `mode`; afterwards every module is as it was before (frozen parts may differ from the rest)."""
    if model.training == (mode == "train"):
        yield
        return
    before = [(module, module.training) for module in model.modules()]
    model.train(mode == "train")
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


@STRATEGIES.register("plain")
class Plain(Strategy):
    """The baseline: the model's own loss on whole images."""

    @classmethod
    def handles(cls, config: RunConfig) -> bool:
        return config.strategy == "plain"

    @classmethod
    def build(cls, config: RunConfig, model: RISModel, tokenizer: Tokenizer) -> Plain:
        return cls()

    def losses(self, model: RISModel, batch: Batch) -> dict[str, Tensor]:
        """One forward pass."""
        parts = model.loss(model(batch.image, batch.input_ids, batch.attention_mask), batch.target, batch.no_target)
        return with_parts(parts["loss"], parts)

    def pop_stats(self) -> dict[str, float]:
        """Nothing is weak or blanked, by definition."""
        return {"masked_blocks": 0.0, "fully_masked": 0.0, "untouched": 1.0, "weak_pixels": 0.0, "weak_blocks": 0.0}
