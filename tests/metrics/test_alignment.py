"""Statistics of S: a case worked out by hand, numpy's own functions, and files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from amlrepro.errors import UserError
from amlrepro.files import write_json
from amlrepro.metrics.alignment import FIELDS, PatchScores, histogram, statistics, value
from amlrepro.metrics.probes import bulk_path, probe_value, read_probe, read_record


def scores(similarity: Any, target: Any, blanked: dict[int, Any] | None = None, patches: int = 4) -> PatchScores:
    n = len(similarity)
    ids = {name: np.zeros(n, dtype=np.int64) for name in ("ref_id", "sent_id", "image_id")}
    ids |= {"pair": np.arange(n) // patches, "patch": np.arange(n) % patches}
    drawn = {tau: np.asarray(share, dtype=np.float32) for tau, share in (blanked or {}).items()}
    return PatchScores(ids, np.asarray(similarity, dtype=np.float32), np.asarray(target, dtype=np.float32), drawn)


# Two pairs of four patches. More than half inside the mask: patches 0, 1, 4 (not 5: half is not more than half).
HAND = scores(
    [0.15, 0.50, 0.90, 0.30, 0.35, 0.10, 0.95, 1.00],
    [1.00, 0.75, 0.00, 0.00, 0.51, 0.50, 0.25, 0.00],
    {40: [1, 0, 0, 1, 0, 1, 0, 0]},
)


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("lt_020", 2 / 8),
        ("ge_050", 4 / 8),
        ("ge_090", 3 / 8),
        ("mean", 4.25 / 8),
        ("scores", 8),
        ("pairs", 2),
        ("batches", 1),
        ("target_patches", 3),
        ("coverage_tau020", 1 / 3),
        ("coverage_tau040", 2 / 3),
        ("coverage_tau060", 1),
        ("coverage_any_tau040", 3 / 5),  # touched: 0, 1, 4, 5, 6
        ("coverage_pixels_tau040", (1 + 0.51 + 0.5) / (1 + 0.75 + 0.51 + 0.5 + 0.25)),
        ("blanked_tau040", 1 / 3),
        ("blanked_any_tau040", 2 / 5),
    ],
)
def test_by_hand(field: str, expected: float) -> None:
    assert value(HAND, field) == pytest.approx(expected, abs=1e-7)


def random_scores(rng: np.random.Generator, n: int = 4000) -> PatchScores:
    blanked = {tau: rng.random(n) < 0.2 for tau in (20, 30, 40, 60)}
    return scores(rng.random(n), np.round(rng.random(n), 1), blanked)


def test_against_numpy_and_under_permutation() -> None:
    rng = np.random.default_rng(5)
    found = random_scores(rng)
    exact = found.similarity.astype(np.float64)
    assert value(found, "std") == pytest.approx(np.std(exact), rel=1e-12)
    assert value(found, "mean") == pytest.approx(np.mean(exact), rel=1e-12)
    inside = found.target > 0.5
    assert value(found, "coverage_tau030") == pytest.approx(np.mean(exact[inside] < 0.3), rel=1e-12)
    assert value(found, "blanked_tau030") == pytest.approx(np.mean(found.blanked[30][inside]), rel=1e-7)
    order = rng.permutation(len(found))
    shuffled = PatchScores(
        {name: column[order] for name, column in found.ids.items()},
        found.similarity[order],
        found.target[order],
        {tau: column[order] for tau, column in found.blanked.items()},
    )
    assert statistics(shuffled) == pytest.approx(statistics(found), rel=1e-12)


def test_coverage_grows_with_tau_and_is_all_at_one() -> None:
    found = random_scores(np.random.default_rng(6))
    series = [value(found, f"coverage_tau{tau:03d}") for tau in range(0, 101, 5)]
    assert series == sorted(series)
    assert (series[0], series[-1]) == (0, 1)


def test_histogram_holds_every_patch() -> None:
    counts, edges = histogram(HAND, bins=4)
    assert counts.tolist() == [2, 2, 1, 3]
    assert edges.tolist() == [0, 0.25, 0.5, 0.75, 1]


def test_undefined_and_unknown() -> None:
    nothing = scores([0.5, 0.6], [0, 0.5])
    found = statistics(nothing)
    assert tuple(found) == FIELDS
    assert found["coverage_tau040"] is None
    assert found["blanked_tau040"] is None
    assert found["mean"] == pytest.approx(0.55)
    with pytest.raises(UserError, match="coverage_tau0"):
        value(nothing, "coverge_tau040")
    with pytest.raises(UserError, match="not drawn"):
        value(HAND, "blanked_tau030")


def test_file_and_probe_values(tmp_path: Path) -> None:
    """A written probe gives its own numbers at once and any threshold from its patches."""
    meta = tmp_path / "alignment-x.json"
    HAND.write(tmp_path / "alignment-x.parquet")
    write_json(meta, {"probe": {"kind": "alignment"}, "values": statistics(HAND)})
    assert bulk_path(meta) == tmp_path / "alignment-x.parquet"
    assert read_probe(meta) == read_record(meta)["values"] == statistics(HAND)
    assert probe_value(meta, "mean") == pytest.approx(4.25 / 8)
    assert probe_value(meta, "lt_035") == pytest.approx(3 / 8)  # 0.35 in single precision is not below 0.35
    schema = pq.read_schema(tmp_path / "alignment-x.parquet")
    types = {name: str(schema.field(name).type) for name in ("pair", "patch", "similarity", "target")}
    assert types == {"pair": "int32", "patch": "int16", "similarity": "float", "target": "float"}
    again = PatchScores.read(tmp_path / "alignment-x.parquet")
    assert statistics(again) == statistics(HAND)
    with pytest.raises(UserError, match="unknown field"):
        probe_value(meta, "minutes")


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        PatchScores.read(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("no table")
    with pytest.raises(UserError, match="not a file of patch scores"):
        PatchScores.read(tmp_path / "text.parquet")
    with pytest.raises(UserError, match="no such probe"):
        read_probe(tmp_path / "none.json")
