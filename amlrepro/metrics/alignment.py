"""S of single patches, and what Tables 12, 13 and Figure 6 say of them. Torch-free."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from amlrepro.errors import UserError, unknown_name
from amlrepro.files import atomic_path

TAUS: tuple[float, ...] = (0.2, 0.3, 0.4, 0.6)  # thresholds of Table 13
BATCH = 16  # pairs of a batch: the paper's 1,552 pairs are 97 of these (Q32)
Floats = npt.NDArray[np.float32]

_IDS: dict[str, type[np.generic]] = {
    "pair": np.int32,
    "patch": np.int16,
    "ref_id": np.int64,
    "sent_id": np.int64,
    "image_id": np.int64,
}
_SCORES = ("similarity", "target")

# Which patches are ground truth, and with what weight (Q33): more than half inside the mask (adopted), touched by it,
# or every patch by its share, which counts pixels.
_INSIDE: dict[str, Callable[[Floats], npt.NDArray[Any]]] = {
    "": lambda target: target > 0.5,
    "any": lambda target: target > 0,
    "pixels": lambda target: target,
}
_THRESHOLD = re.compile(
    r"(?P<what>lt|ge)_(?P<number>\d{3})|(?P<cover>coverage|blanked)(?:_(?P<rule>any|pixels))?_tau(?P<tau>\d{3})"
)


@dataclass(frozen=True, eq=False)
class PatchScores:
    """Scores of N patches: all patches of some (image, sentence) pairs.

    ids: arrays [N] `pair` (0, 1, ...), `patch` (row by row on the feature grid), `ref_id`, `sent_id`, `image_id`.
    similarity [N]: S. target [N]: share of the patch's pixels inside the ground truth mask. blanked: by tau in
    hundredths, the share of the patch that one draw of the mask blanks [N]; empty where the method has no such mask.
    """

    ids: dict[str, npt.NDArray[Any]]
    similarity: Floats
    target: Floats
    blanked: dict[int, Floats]

    def __len__(self) -> int:
        return len(self.similarity)

    @property
    def pairs(self) -> int:
        """How many (image, sentence) pairs these are."""
        return len(np.unique(self.ids["pair"]))

    def write(self, path: Path) -> None:
        """Write as Parquet, atomically."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns: dict[str, npt.NDArray[Any]] = {name: self.ids[name].astype(dtype) for name, dtype in _IDS.items()}
        columns |= {name: getattr(self, name).astype(np.float32) for name in _SCORES}
        columns |= {_column(hundredths): values.astype(np.float32) for hundredths, values in self.blanked.items()}
        with atomic_path(path) as temporary:
            pq.write_table(pa.table(columns), temporary, compression="zstd")

    @classmethod
    def read(cls, path: Path) -> PatchScores:
        """Read what `write` wrote; raises `UserError` when the file is missing or something else."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(path, memory_map=False)
        except FileNotFoundError as error:
            raise UserError("no such file of patch scores", where=path) from error
        except (pa.ArrowInvalid, OSError) as error:
            raise UserError("not a file of patch scores", where=path, found=str(error).split("\n")[0]) from error
        missing = [name for name in (*_IDS, *_SCORES) if name not in table.column_names]
        if missing:
            raise UserError("not a file of patch scores", where=path, found="no column " + ", ".join(missing))
        columns = {name: table.column(name).to_numpy() for name in table.column_names}
        blanked = {int(name[-3:]): values for name, values in columns.items() if name.startswith("blanked_tau")}
        return cls({name: columns[name] for name in _IDS}, columns["similarity"], columns["target"], blanked)


def _column(hundredths: int) -> str:
    return f"blanked_tau{hundredths:03d}"


def hundredths(tau: float) -> int:
    """A threshold as names of fields write it: 0.2 -> 20, printed 020."""
    return round(100 * tau)


def value(scores: PatchScores, field: str) -> float:
    """One number of the scores; NaN where it is undefined.

    Fields: `mean`, `std` (population), `scores`, `pairs`, `batches` (of 16 pairs), `target_patches`; `lt_020`,
    `ge_050`: share of the patches with S below 0.20, at least 0.50; `coverage_tau040`: share of the ground truth
    patches with S below 0.40; `blanked_tau040`: share of the ground truth patches that the mask with that tau blanks.
    Ground truth patches lie more than half inside the mask; `coverage_any_tau040` takes those that touch it,
    `coverage_pixels_tau040` its pixels. Shares are fractions. Any threshold in hundredths will do, except that blanked
    shares are known for the thresholds measured. Raises `UserError` for another field.
    """
    if field in _WHOLE:
        return _WHOLE[field](scores)
    return _mean(*patch_terms(scores, field))


def patch_terms(scores: PatchScores, field: str) -> tuple[npt.NDArray[Any], npt.NDArray[Any] | None]:
    """Values [N] and weights [N] (None for 1 each) of the patches whose weighted mean a field of `value` is, and so of
    any part of the patches. Raises `UserError` for a field that is no such mean."""
    if field == "mean":
        return scores.similarity, None
    matched = _THRESHOLD.fullmatch(field)
    if matched is None:
        raise unknown_name("field", field, FIELDS, "alignment probe")
    if matched["what"]:
        limit = int(matched["number"]) / 100
        return (scores.similarity < limit if matched["what"] == "lt" else scores.similarity >= limit), None
    weight = _INSIDE[matched["rule"] or ""](scores.target)
    tau = int(matched["tau"])
    if matched["cover"] == "coverage":
        return scores.similarity < tau / 100, weight
    if tau not in scores.blanked:
        known = ", ".join(f"{number / 100:g}" for number in sorted(scores.blanked))
        raise UserError(
            "masks were not drawn with this threshold", found=field, expected=known or "none for this method"
        )
    return scores.blanked[tau], weight


def statistics(scores: PatchScores) -> dict[str, float | None]:
    """The fields of Tables 12 and 13, None where undefined (no ground truth patch; no mask to draw)."""
    known = [field for field in FIELDS if not field.startswith("blanked") or int(field[-3:]) in scores.blanked]
    values = {field: value(scores, field) for field in known}
    return {field: None if math.isnan(values.get(field, math.nan)) else values[field] for field in FIELDS}


def histogram(scores: PatchScores, bins: int = 50) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Patches by S: counts [bins] and edges [bins + 1] from 0 to 1 (Figure 6); S = 1 is in the last bin."""
    counts, edges = np.histogram(scores.similarity.astype(np.float64), bins=bins, range=(0.0, 1.0))
    return counts.astype(np.int64), edges


def _mean(values: npt.NDArray[Any], weight: npt.NDArray[Any] | None = None) -> float:
    """Mean in double precision, weighted where `weight` is given; NaN of nothing."""
    weight = np.ones(len(values)) if weight is None else weight.astype(np.float64)
    total = weight.sum()
    return float((values * weight).sum() / total) if total > 0 else math.nan


def _std(scores: PatchScores) -> float:
    return float(scores.similarity.astype(np.float64).std()) if len(scores) else math.nan


_WHOLE: dict[str, Callable[[PatchScores], float]] = {
    "mean": lambda scores: _mean(*patch_terms(scores, "mean")),
    "std": _std,
    "scores": len,
    "pairs": lambda scores: scores.pairs,
    "batches": lambda scores: math.ceil(scores.pairs / BATCH),
    "target_patches": lambda scores: int((scores.target > 0.5).sum()),
}
FIELDS: tuple[str, ...] = (
    "lt_020",
    "ge_050",
    "ge_090",
    *_WHOLE,
    *(f"{what}_tau{hundredths(tau):03d}" for what in ("coverage", "blanked") for tau in TAUS),
)
