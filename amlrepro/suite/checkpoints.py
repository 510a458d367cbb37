"""Which epoch a named checkpoint is in a run's own schedule. Torch-free."""

from __future__ import annotations

from amlrepro.config import RunConfig
from amlrepro.errors import UserError
from amlrepro.models.registry import get_spec
from amlrepro.sections import TrainConfig


def length(config: RunConfig) -> int:
    """Epochs that a run may train: its schedule's, or `exec.until`. Raises `UserError` for one beyond the schedule."""
    until, horizon = config.exec.until, config.train.horizon
    if until is not None and not 1 <= until <= horizon:
        expected = f"1 to {horizon}, the schedule's horizon"
        raise UserError("a run cannot be that long", where="exec.until", found=until, expected=expected)
    return horizon if until is None else until


def epoch_of(config: RunConfig, checkpoint: str) -> int:
    """The epoch after which the weights `last` or `epoch<E>` of an experiment are taken.

    E counts epochs of the model's own schedule (50; ReLA's 30 periods of 5,000 updates). A run with another horizon
    takes them at the same share of its way, at the end of an epoch: epoch 10 of 50 is epoch 2 of 10. Epoch 0 is before
    training.
    """
    if checkpoint == "last":
        return length(config)
    own = int(get_spec(config.model.name).train.get("horizon", TrainConfig().horizon))
    number = int(checkpoint.removeprefix("epoch"))
    return max(min(number, 1), round(number * config.train.horizon / own))


def checkpoint_name(config: RunConfig, epoch: int) -> str:
    """What the weights of that epoch are called on disk; the schedule's end is `last`."""
    return "last" if epoch == config.train.horizon else f"epoch{epoch}"
