"""Where a training ends: after its last epoch, or because it has diverged."""

from __future__ import annotations

import torch

from amlrepro.config import RunConfig
from amlrepro.engine.history import Totals
from amlrepro.errors import UserError

SKIPPED_LIMIT = 30  # a gradient scaler that halves from 65536 has long found its scale after as many skipped updates


def last_epoch(config: RunConfig) -> int:
    """`exec.until`, or the schedule's horizon; raises `UserError` when it lies beyond that."""
    until, horizon = config.exec.until, config.train.horizon
    if until is not None and until > horizon:
        raise UserError(
            "a run ends at its schedule's horizon", where="exec.until", found=until, expected=f"at most {horizon}"
        )
    return horizon if until is None else until


def require_finite(totals: Totals, scaler: torch.amp.GradScaler, where: str) -> None:
    """Raises `UserError` when an update was not finite, or with a gradient scaler too many in a row were not."""
    _, _, skipped, in_a_row = totals.sums.tolist()
    if in_a_row < SKIPPED_LIMIT if scaler.is_enabled() else not skipped:
        return
    raise UserError(
        "training has diverged: loss or gradient is not finite",
        where=where,
        hint="the last checkpoint is from before; try a lower train.lr or a longer train.warmup",
    )
