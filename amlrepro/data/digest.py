"""What the suite asks of a data root before anything runs: the data's digest, and which splits there are. Torch-free.

Both answers are remembered by path, size and time of change in one small file of the user's cache folder, which may
be deleted at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from amlrepro.data.refer import annotation_files, read_refs
from amlrepro.data.specs import COMBINED, COMBINED_PARTS, DATASETS, dataset_spec
from amlrepro.errors import UserError
from amlrepro.files import sha256_file, write_json

DIGEST_LENGTH = 12


def data_digest(root: Path, dataset: str, split_by: str | None = None) -> str:
    """First 12 hexadecimal digits of the SHA-256 over the digests of the annotation files (`refs(<owner>).p` or
    `grefs(<owner>).json`, and `instances.json`); for `combined` over those of all three parts.

    It changes when an annotation file changes, not with its place or time stamp. Raises `UserError` for missing files.
    """
    parts = COMBINED_PARTS if dataset == COMBINED else ((dataset, split_by),)
    combined = hashlib.sha256()
    for name, owner in parts:
        for path in annotation_files(Path(root), name, owner):
            combined.update(file_digest(path).encode())
    return combined.hexdigest()[:DIGEST_LENGTH]


def available_splits(root: Path, dataset: str, split_by: str | None = None) -> dict[str, str | None]:
    """For each official split, None when it can be used, else the reason why not in one phrase.

    `combined` has the split `train` only.
    """
    root = Path(root)
    if dataset == COMBINED:
        return {"train": _combined_reason(root)}
    spec = dataset_spec(dataset)
    partition = spec.partition(split_by)
    try:
        counts = split_counts(root, dataset, split_by)
    except UserError as error:
        return dict.fromkeys(partition.splits, _phrase(root, error))
    return {
        split: None if counts.get(split) else f"{spec.refs_file(partition.split_by)} of {dataset} has no {split} refs"
        for split in partition.splits
    }


def split_counts(root: Path, dataset: str, split_by: str | None = None) -> dict[str, int]:
    """Number of refs of each split that occurs in the refs file; raises `UserError` for missing or broken files."""
    owner = dataset_spec(dataset).partition(split_by).split_by
    refs, _ = annotation_files(root, dataset, owner)

    def count(path: Path) -> dict[str, int]:
        return dict(Counter(ref.split for ref in read_refs(path, dataset, owner)))

    counts: dict[str, int] = _remembered("splits", refs, count)
    return counts


def sentence_counts(root: Path, dataset: str, split_by: str | None = None) -> dict[str, int]:
    """Number of sentences of each split that occurs in the refs file; errors as `split_counts`."""
    owner = dataset_spec(dataset).partition(split_by).split_by
    refs, _ = annotation_files(root, dataset, owner)

    def count(path: Path) -> dict[str, int]:
        found: Counter[str] = Counter()
        for ref in read_refs(path, dataset, owner):
            found[ref.split] += len(ref.sentences)
        return dict(found)

    counts: dict[str, int] = _remembered("sentences", refs, count)
    return counts


def file_digest(path: Path) -> str:
    """SHA-256 of a file, remembered by path, size and time of change."""
    return str(_remembered("sha256", path, sha256_file))


def cache_file() -> Path:
    """The file that remembers digests and counts: `$XDG_CACHE_HOME/amlrepro/annotations.json`."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "amlrepro" / "annotations.json"


def _combined_reason(root: Path) -> str | None:
    for name, owner in COMBINED_PARTS:
        try:
            annotation_files(root, name, owner)
        except UserError as error:
            return f"the combined set needs {DATASETS[name].title}: {_phrase(root, error)}"
    return None


def _phrase(root: Path, error: UserError) -> str:
    if not isinstance(error.where, Path) or error.where == root:
        return error.what
    with contextlib.suppress(ValueError):
        return f"{error.what}: {error.where.relative_to(root)}"
    return error.what


def _remembered(kind: str, path: Path, compute: Callable[[Path], Any]) -> Any:
    """`compute(path)`, or what it gave before for the same path, size and time of change."""
    status = path.stat()
    key = f"{kind} {path.resolve()}"
    stamp = [status.st_size, status.st_mtime_ns]
    known = _read()
    entry = known.get(key)
    if isinstance(entry, dict) and entry.get("stamp") == stamp and "value" in entry:
        return entry["value"]
    value = compute(path)
    with contextlib.suppress(UserError, OSError):  # a cache that cannot be written is only slower
        write_json(cache_file(), {**_read(), key: {"stamp": stamp, "value": value}})
    return value


def _read() -> dict[str, Any]:
    try:
        value = json.loads(cache_file().read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
