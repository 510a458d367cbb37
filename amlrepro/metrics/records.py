"""One record a sample: what an evaluation keeps, and every metric is derived from. Torch-free."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from amlrepro.errors import UserError
from amlrepro.files import atomic_path

COLUMNS: dict[str, type[np.generic]] = {
    "ref_id": np.int64,
    "sent_id": np.int64,
    "image_id": np.int64,
    "intersection": np.int64,
    "union": np.int64,
    "predicted_area": np.int64,
    "target_area": np.int64,
    "height": np.int32,
    "width": np.int32,
    "target_empty": np.bool_,
    "mask_empty": np.bool_,
    "no_target": np.bool_,
}


@dataclass(frozen=True, eq=False)
class Records:
    """Results of one evaluation, one entry a sample ((image, sentence) pair), in evaluation order.

    Every field is an array [N]. intersection, union, predicted_area, target_area: exact pixel counts at the scoring
    resolution (int64). height, width: the picture's own size in pixels (int32). target_empty: the expression names
    nothing; where that is not known, the ground truth has no pixel. mask_empty: the prediction has no pixel. no_target:
    the model says that the expression names nothing: its head does, or, for models without such a head on data where
    expressions may name nothing, its mask is empty (elsewhere False). Construction converts to these types and raises
    `ValueError` for unequal lengths, for counts that contradict each other, and for values that do not fit.
    """

    ref_id: npt.NDArray[np.int64]
    sent_id: npt.NDArray[np.int64]
    image_id: npt.NDArray[np.int64]
    intersection: npt.NDArray[np.int64]
    union: npt.NDArray[np.int64]
    predicted_area: npt.NDArray[np.int64]
    target_area: npt.NDArray[np.int64]
    height: npt.NDArray[np.int32]
    width: npt.NDArray[np.int32]
    target_empty: npt.NDArray[np.bool_]
    mask_empty: npt.NDArray[np.bool_]
    no_target: npt.NDArray[np.bool_]

    def __post_init__(self) -> None:
        for name, dtype in COLUMNS.items():
            values = np.asarray(getattr(self, name))
            column = np.ascontiguousarray(values, dtype=dtype)
            if column.ndim != 1 or len(column) != len(self.ref_id):
                raise ValueError(f"records: {name} has shape {values.shape}, expected ({len(self.ref_id)},)")
            if not np.array_equal(column, values):
                raise ValueError(f"records: {name} does not fit {np.dtype(dtype).name}")
            object.__setattr__(self, name, column)
        if not np.array_equal(self.intersection + self.union, self.predicted_area + self.target_area):
            raise ValueError("records: intersection + union must equal predicted_area + target_area")
        if (self.target_empty & (self.target_area > 0)).any():  # a tiny target may lose its last pixel, though
            raise ValueError("records: target_empty contradicts target_area")
        if not np.array_equal(self.mask_empty, self.predicted_area == 0):
            raise ValueError("records: mask_empty contradicts predicted_area")

    def __len__(self) -> int:
        return len(self.ref_id)

    @classmethod
    def from_counts(
        cls,
        ids: npt.ArrayLike,
        intersection: npt.ArrayLike,
        predicted_area: npt.ArrayLike,
        target_area: npt.ArrayLike,
        no_target: npt.ArrayLike | None = None,
        target_empty: npt.ArrayLike | None = None,
    ) -> Records:
        """Records from what is counted: ids [N, 5] are (ref_id, sent_id, image_id, height, width), the others [N].

        no_target None: False throughout. target_empty None: where `target_area` is 0.
        """
        table = np.asarray(ids, dtype=np.int64).reshape(-1, 5)
        common = np.asarray(intersection, dtype=np.int64)
        predicted = np.asarray(predicted_area, dtype=np.int64)
        target = np.asarray(target_area, dtype=np.int64)
        head = np.zeros(len(table), dtype=np.bool_) if no_target is None else np.asarray(no_target, dtype=np.bool_)
        return cls(
            ref_id=table[:, 0],
            sent_id=table[:, 1],
            image_id=table[:, 2],
            intersection=common,
            union=predicted + target - common,
            predicted_area=predicted,
            target_area=target,
            height=table[:, 3].astype(np.int32),
            width=table[:, 4].astype(np.int32),
            target_empty=target == 0 if target_empty is None else np.asarray(target_empty, dtype=np.bool_),
            mask_empty=predicted == 0,
            no_target=head,
        )

    def without_images(self, image_ids: Iterable[int]) -> Records:
        """The records of all other images, in the same order."""
        kept = ~np.isin(self.image_id, np.fromiter(image_ids, dtype=np.int64))
        return Records(**{name: column[kept] for name, column in self.columns().items()})

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """The arrays by name, in schema order."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def digest(self) -> str:
        """SHA-256 of names, types and values in schema order: equal exactly when the records are equal."""
        hasher = hashlib.sha256()
        for name, column in self.columns().items():
            little = column.astype(column.dtype.newbyteorder("<"), copy=False)
            hasher.update(f"{name}:{little.dtype.str}:{len(little)};".encode())
            hasher.update(little.tobytes())
        return hasher.hexdigest()

    def write(self, path: Path) -> None:
        """Write as Parquet, atomically."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        with atomic_path(path) as temporary:
            pq.write_table(pa.table(self.columns()), temporary, compression="zstd")

    @classmethod
    def read(cls, path: Path) -> Records:
        """Read what `write` wrote; raises `UserError` when the file is missing or no file of records."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(path, memory_map=False)
        except FileNotFoundError as error:
            raise UserError("no such file of records", where=path) from error
        except (pa.ArrowInvalid, OSError) as error:
            raise UserError("not a file of records", where=path, found=str(error).split("\n")[0]) from error
        missing = [name for name in COLUMNS if name not in table.column_names]
        if missing:
            raise UserError("not a file of records", where=path, found="no column " + ", ".join(missing))
        columns: Mapping[str, Any] = {name: table.column(name).to_numpy() for name in COLUMNS}
        try:
            return cls(**columns)
        except ValueError as error:
            raise UserError("not a file of records", where=path, found=str(error)) from error
