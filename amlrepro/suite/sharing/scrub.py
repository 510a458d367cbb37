"""What of a run leaves the house: records, results, configuration and provenance, without what is nobody's business.

Files of JSON are kept field by field where the fields are known (provenance, state), else as they are without caches
and paths. Tables of records are shared byte for byte. The same run gives the same bytes, whether or not reports were
made of it meanwhile.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from amlrepro.config import RunConfig, dump_config, load_config
from amlrepro.files import read_json
from amlrepro.rundir import RunDir
from amlrepro.suite.safetensors_file import METADATA, head_with, read_header

LEFT_OUT = (
    "host names and commands",
    "paths of data, pictures and weights",
    "the operating system's release",
    "logs, leases and job files",
    "maps with pictures of the data sets",
    "cached metrics, which follow from the records",
)
CHECKPOINTS = ("last", "best")
HEADER = "amlris"  # the entry of a checkpoint's header that is ours
PATHS = ("data_root", "image_root", "vision_weights", "text_weights", "cache_dir")
_STATE = ("epoch", "step", "horizon", "state", "until", "steps_per_epoch", "best", "best_by")
_SESSION = (
    *("start", "end", "from_step", "to_step", "git", "versions", "threads", "device", "devices"),
    *("world_size", "backend", "hosts"),  # hosts: their number
)
_HARDWARE = ("machine", "cpus", "memory_gib", "gpus", "cuda")
_PATH = re.compile(r"(?<![\w.~])(?:~?/|[A-Za-z]:[\\/]|\\\\)[^\s'\"]+")
_BLOCK = 1 << 20


@dataclass(frozen=True)
class SharedFile:
    """A file as it leaves: `head`, then what `rest` holds from `offset` on. name: its path inside the run's folder."""

    name: str
    head: bytes
    rest: Path | None = None
    offset: int = 0

    def blocks(self) -> Iterator[bytes]:
        """Its bytes."""
        yield self.head
        if self.rest is not None:
            with self.rest.open("rb") as f:
                f.seek(self.offset)
                while block := f.read(_BLOCK):
                    yield block

    @cached_property
    def size(self) -> int:
        return len(self.head) + (0 if self.rest is None else self.rest.stat().st_size - self.offset)

    @cached_property
    def sha256(self) -> str:
        digest = hashlib.sha256()
        for block in self.blocks():
            digest.update(block)
        return digest.hexdigest()


def shared_files(run: RunDir, checkpoints: bool = False) -> list[SharedFile]:
    """The files of a run as they leave, by name. A result counts when all its files are there.

    checkpoints: the weights of `last` and `best` too. Raises `UserError` for files that do not parse.
    """
    files = [SharedFile("config.yaml", shared_config(load_config(run.config)))]
    if run.provenance.exists():
        files.append(SharedFile("provenance.json", _json(_provenance(read_json(run.provenance)))))
    if run.history.exists():
        files.append(SharedFile("history.jsonl", _history(run)))
    files.append(SharedFile("state.json", _json(_chosen(run.read_state(), _STATE))))
    for path in sorted(run.evals.glob("*.json")):
        records = run.eval_records(path.stem)
        if records.exists():
            files += [_result(path, "evals"), SharedFile(f"evals/{records.name}", b"", records)]
    for path in sorted(run.probes.glob("*.json")):
        if path.with_suffix(".npz").exists():
            continue
        files.append(_result(path, "probes"))
        patches = path.with_name(path.name.removesuffix(".json") + ".parquet")
        if patches.exists():
            files.append(SharedFile(f"probes/{patches.name}", b"", patches))
    if checkpoints:
        for path in (run.checkpoint(name) for name in CHECKPOINTS):
            if path.exists() and path.with_suffix(".json").exists():
                files += [_checkpoint(path), SharedFile(f"checkpoints/{path.stem}.json", _brief(path))]
    return sorted(files, key=lambda file: file.name)


def shared_config(config: RunConfig) -> bytes:
    """A configuration without this machine's paths; they are no part of a run's identity."""
    return dump_config(config.with_changes({f"exec.{name}": None for name in PATHS})).encode()


def without_paths(value: Any) -> Any:
    """A JSON value in whose texts every absolute path is replaced by `(path)`."""
    if isinstance(value, str):
        return _PATH.sub("(path)", value)
    if isinstance(value, dict):
        return {key: without_paths(item) for key, item in value.items()}
    return [without_paths(item) for item in value] if isinstance(value, list) else value


def _provenance(values: dict[str, Any]) -> dict[str, Any]:
    sessions = [
        {**_chosen(session, _SESSION), "hardware": _chosen(session.get("hardware") or {}, _HARDWARE)}
        for session in values.get("sessions", [])
    ]
    return {"run_id": values.get("run_id"), "data": without_paths(values.get("data")), "sessions": sessions}


def _history(run: RunDir) -> bytes:
    rows = (json.dumps(without_paths(row), ensure_ascii=False) + "\n" for row in run.history_rows())
    return "".join(rows).encode()


def _result(path: Path, folder: str) -> SharedFile:
    values = {key: value for key, value in dict(read_json(path)).items() if key != "summary"}
    return SharedFile(f"{folder}/{path.name}", _json(without_paths(values)))


def _brief(path: Path) -> bytes:
    return _json(without_paths(read_json(path.with_suffix(".json"))))


def _checkpoint(path: Path) -> SharedFile:
    """A checkpoint whose header names no paths; the tensors stay byte for byte."""
    header, begin = read_header(path)
    meta = json.loads(header[METADATA][HEADER])
    meta["config"]["exec"] |= dict.fromkeys(PATHS)
    head = head_with(header, {HEADER: json.dumps(meta, ensure_ascii=False, allow_nan=False)})
    return SharedFile(f"checkpoints/{path.name}", head, path, begin)


def _chosen(values: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: without_paths(values[name]) for name in names if name in values}


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
