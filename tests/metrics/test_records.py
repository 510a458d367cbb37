"""Records: exact schema, lossless storage, digests, refusal of contradictions."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from amlrepro.errors import UserError
from amlrepro.metrics.records import COLUMNS, Records

HUGE = 3_000_000_000  # above 32 bits: counts must stay exact


def three() -> Records:
    ids = [(7, 70, 1, 480, 640), (7, 71, 1, 480, 640), (9, 90, 2, 500, 333)]
    return Records.from_counts(ids, [5, 0, HUGE], [8, 0, HUGE], [6, 4, HUGE + 1])


def test_union_and_flags_follow_from_the_counts() -> None:
    records = three()
    assert records.union.tolist() == [9, 4, HUGE + 1]
    assert records.mask_empty.tolist() == [False, True, False]
    assert records.target_empty.tolist() == [False, False, False]
    assert records.no_target.tolist() == [False, False, False]
    assert {name: column.dtype.type for name, column in records.columns().items()} == COLUMNS


def test_parquet_keeps_order_types_and_values(tmp_path: Path) -> None:
    records = three()
    records.write(tmp_path / "e.parquet")
    back = Records.read(tmp_path / "e.parquet")
    for name, column in records.columns().items():
        assert back.columns()[name].dtype == column.dtype
        np.testing.assert_array_equal(back.columns()[name], column)
    assert back.digest() == records.digest()
    assert [p.name for p in tmp_path.iterdir()] == ["e.parquet"]


def test_pandas_reads_the_same_values(tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    three().write(tmp_path / "e.parquet")
    frame = pd.read_parquet(tmp_path / "e.parquet")
    assert frame["union"].tolist() == [9, 4, HUGE + 1]
    assert frame["image_id"].tolist() == [1, 1, 2]


def test_digest_sees_every_column_and_the_order() -> None:
    records = three()
    others = [
        dataclasses.replace(records, sent_id=np.array([70, 72, 90])),
        dataclasses.replace(records, no_target=np.array([False, False, True])),
        Records(**{name: column[::-1] for name, column in records.columns().items()}),
        Records(**{name: column[:2] for name, column in records.columns().items()}),
    ]
    digests = {records.digest(), *(other.digest() for other in others)}
    assert len(digests) == 5


def test_no_samples(tmp_path: Path) -> None:
    Records.from_counts(np.zeros((0, 5)), [], [], []).write(tmp_path / "none.parquet")
    assert len(Records.read(tmp_path / "none.parquet")) == 0


def test_contradictions_are_refused() -> None:
    records = three()
    with pytest.raises(ValueError, match="intersection \\+ union"):
        dataclasses.replace(records, intersection=np.array([6, 0, HUGE]))
    with pytest.raises(ValueError, match="shape"):
        dataclasses.replace(records, sent_id=np.array([1, 2]))
    with pytest.raises(ValueError, match="mask_empty"):
        dataclasses.replace(records, mask_empty=np.array([True, True, False]))
    with pytest.raises(ValueError, match="does not fit"):
        dataclasses.replace(records, height=np.array([1, 2, 2**40]))


def test_other_files_are_named_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        Records.read(tmp_path / "absent.parquet")
    (tmp_path / "torn.parquet").write_bytes(b"PAR1torn")
    with pytest.raises(UserError, match="not a file of records"):
        Records.read(tmp_path / "torn.parquet")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    with pytest.raises(UserError, match="no column ref_id"):
        Records.read(tmp_path / "other.parquet")
