"""Values of a probe from its file `probes/<probe_id>.json`. Torch-free; bulk data are read only when asked for."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from amlrepro.errors import UserError, unknown_name
from amlrepro.files import read_json
from amlrepro.metrics.alignment import PatchScores, value


def read_probe(path: Path) -> dict[str, float | None]:
    """Field -> number of the probe whose JSON is `path`; None where it is undefined. Raises `UserError` without one."""
    return dict(read_record(path)["values"])


def read_record(path: Path) -> dict[str, Any]:
    """All that the JSON says: `probe_id`, `probe`, `run_id`, `checkpoint`, `epoch`, `values`, `device`, `samples`..."""
    if not path.exists():
        raise UserError("no such probe", where=path)
    return dict(read_json(path))


def bulk_path(path: Path) -> Path:
    """Where the bulk data of the probe `path` are: `.npz` of maps, `.parquet` of patches."""
    maps = read_record(path)["probe"]["kind"] == "maps"
    return path.with_name(path.name.removesuffix(".json") + (".npz" if maps else ".parquet"))


def probe_value(path: Path, field: str) -> float | None:
    """One field; where an alignment probe's JSON lacks it, it is worked out from the patches (any threshold).

    Raises `UserError` for a field that the probe does not give.
    """
    record = read_record(path)
    values = record["values"]
    if field in values:
        return None if values[field] is None else float(values[field])
    kind = record["probe"]["kind"]
    if kind != "alignment":
        raise unknown_name("field", field, values, f"{kind} probe")
    found = value(PatchScores.read(bulk_path(path)), field)
    return None if math.isnan(found) else found
