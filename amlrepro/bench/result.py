"""Results of benchmarks on disk: one JSON a benchmark and device, without names of machines or paths. Torch-free."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from amlrepro.bench.spec import Benchmark, Measurement, Setting
from amlrepro.errors import UserError
from amlrepro.files import read_json, write_json
from amlrepro.metrics.spread import quartiles

FOLDER = Path("results/bench")


def as_json(bench: Benchmark, setting: Setting, measured: Measurement, device: str, torch: str) -> dict[str, Any]:
    """A measurement as it is kept. device: its name; torch: the release it was measured with."""
    value = quartiles(bench.values(measured))
    target, gate = bench.targets.get(setting.device), measured.gate
    return {
        "name": bench.name,
        "what": bench.what,
        "against": bench.against,
        "reads": bench.reads,
        "unit": bench.unit,
        "sizes": setting.sizes,
        "kind": setting.device,
        "device": device,
        "threads": setting.threads,
        "torch": torch,
        "rounds": len(next(iter(measured.sides.values()))),
        "side_unit": measured.unit,
        "sides": {name: quartiles(values) for name, values in measured.sides.items()},
        "value": value,
        "target": None if target is None else {"value": target.value, "stretch": target.stretch},
        "met": bench.met(value["median"], setting.device),
        "gate": None if gate is None else {**vars(gate)},
        "details": dict(measured.details),
    }


def device_slug(device: str) -> str:
    """A device's name as a folder's: `NVIDIA A800-SXM4-80GB` -> `nvidia-a800-sxm4-80gb`."""
    plain = re.sub(r"\((R|TM|C)\)|, threads: \d+", "", device, flags=re.IGNORECASE)
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")


def write_result(folder: Path, result: dict[str, Any]) -> Path:
    """Write `<folder>/<device>/<sizes>/<name>.json`; returns its path."""
    path: Path = folder / device_slug(result["device"]) / str(result["sizes"]) / f"{result['name']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, result)
    return path


def read_results(folder: Path, names: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Results of all devices, or of the named benchmarks; raises `UserError` for a file that is none."""
    found = []
    for path in sorted(folder.glob("*/*/*.json")):
        if names and path.stem not in names:
            continue
        result = read_json(path)
        if not isinstance(result, dict) or not {"name", "value", "device", "sizes"} <= result.keys():
            raise UserError("this is no result of `amlris bench`", where=path, hint="remove it and measure again")
        found.append(result)
    return found
