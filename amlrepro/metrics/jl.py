"""The Johnson-Lindenstrauss error of a projection (Eq. 9; Tables 5 and 8)."""

from __future__ import annotations

import math

LOG_ARGUMENT = 71_500.0  # M N_l / sigma behind the printed errors (Q41)


def jl_error(dim: int, log_argument: float = LOG_ARGUMENT) -> float:
    """Eq. 9 solved for eps: sqrt(8 ln(M N_l / sigma) / D_a). dim: D_a; log_argument: M N_l / sigma."""
    return math.sqrt(8.0 * math.log(log_argument) / dim)
