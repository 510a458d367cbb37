"""What an archive says of itself: the first file in it, with the hash of every other. And what an archive may hold."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field

from amlrepro.config import PROFILES
from amlrepro.errors import UserError
from amlrepro.schema import Strict, parse_strict

MANIFEST = "manifest.json"
KIND: Literal["amlris runs"] = "amlris runs"
FORMAT: Literal[1] = 1
MOST_FILES = 200_000
LARGEST_MANIFEST = 64 << 20

_ID = r"[A-Za-z0-9_+][A-Za-z0-9_.+-]{0,150}"
_MIB = 1 << 20
# What may lie in a run's folder, and how large in bytes: nothing near it has ever been seen, so more is an attack.
_KINDS: tuple[tuple[re.Pattern[str], int], ...] = tuple(
    (re.compile(pattern), size)
    for pattern, size in (
        (r"config\.yaml", _MIB),
        (r"state\.json", _MIB),
        (r"provenance\.json", 16 * _MIB),
        (r"history\.jsonl", 512 * _MIB),
        (rf"(?:evals|probes)/{_ID}\.json", 64 * _MIB),
        (rf"(?:evals|probes)/{_ID}\.parquet", 1024 * _MIB),
        (r"checkpoints/(?:last|best)\.json", _MIB),
        (r"checkpoints/(?:last|best)\.safetensors", 65536 * _MIB),
    )
)
_PATH = re.compile(rf"runs/(?P<run>{_ID})/(?P<name>.+)")


class ManifestFile(Strict):
    """A file: its path in the archive, its size in bytes, the SHA-256 of its bytes."""

    path: str
    size: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Manifest(Strict):
    """The archive of one profile's runs.

    package: version of this package that made it. components: versions of those that have changed their meaning since
    their first (`config.VERSIONS`). checkpoints: whether weights are in it. left_out: what never leaves, in words.
    """

    kind: Literal["amlris runs"] = KIND
    format: Literal[1] = FORMAT
    package: Annotated[str, Field(max_length=40)]
    components: dict[str, int]
    laboratory: str
    profile: str
    checkpoints: bool
    left_out: list[str]
    runs: list[str]
    files: list[ManifestFile]

    def of_run(self, run_id: str) -> dict[str, ManifestFile]:
        """A run's files by their names inside its folder."""
        prefix = f"runs/{run_id}/"
        return {file.path.removeprefix(prefix): file for file in self.files if file.path.startswith(prefix)}

    def to_bytes(self) -> bytes:
        """As it stands in the archive."""
        return (json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n").encode()


def digest(manifest: bytes) -> str:
    """SHA-256 of a manifest, by which an archive is known."""
    return hashlib.sha256(manifest).hexdigest()


def read_manifest(data: bytes, where: object) -> Manifest:
    """Check and read what an archive says of itself. Raises `UserError` for anything but what `to_bytes` could give."""
    from amlrepro.suite.sharing.origins import check_laboratory

    values = parse_json(data, f"{where}: {MANIFEST}")
    if not isinstance(values, dict) or values.get("kind") != KIND:
        raise UserError("not an archive of runs", where=where, expected="one that `amlris export` made")
    if values.get("format") != FORMAT:
        found, hint = values.get("format"), "install the version that made it"
        raise UserError("an archive of another format", where=where, found=found, expected=FORMAT, hint=hint)
    manifest = parse_strict(Manifest, values, f"{where}: {MANIFEST}")
    check_laboratory(manifest.laboratory, f"{where}: laboratory")
    if manifest.profile not in PROFILES:
        raise UserError("unknown profile", where=where, found=manifest.profile, expected=", ".join(PROFILES))
    _check_files(manifest, where)
    return manifest


def parse_json(data: bytes, where: object, finite: bool = True) -> Any:
    """A JSON value from somebody else: no key twice, not nested endlessly, no NaN if `finite`. Raises `UserError`."""
    constant = _no_constant if finite else float
    try:
        return json.loads(data.decode("utf-8"), parse_constant=constant, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise UserError("not a JSON file", where=where, found=str(error)[:200]) from error


def _check_files(manifest: Manifest, where: object) -> None:
    """Every file is of a kind that a run has, no larger than such files get, and of a run that is named."""
    if len(manifest.files) > MOST_FILES:
        raise UserError("too many files in one archive", where=where, found=len(manifest.files), expected=MOST_FILES)
    for what, names in (("run", manifest.runs), ("file", [file.path for file in manifest.files])):
        twice = _twice(names)
        if twice is not None:
            raise UserError(f"the manifest names a {what} twice", where=where, found=twice)
    seen = set()
    for file in manifest.files:
        matched = _PATH.fullmatch(file.path)
        limit = next((size for kind, size in _KINDS if kind.fullmatch(matched["name"])), None) if matched else None
        if matched is None or limit is None:
            raise UserError("the archive holds what no run has", where=where, found=repr(file.path[:200]))
        if file.size > limit:
            found = f"{file.size:,} bytes: {file.path}"
            raise UserError("a file is too large for its kind", where=where, found=found, expected=f"up to {limit:,}")
        seen.add(matched["run"])
    if seen != set(manifest.runs):
        odd = sorted(seen ^ set(manifest.runs))[0]
        raise UserError("the manifest's runs and files do not agree", where=where, found=repr(odd[:200]))


def _twice(names: Iterable[str]) -> str | None:
    """A name that comes twice, on a file system without cases too."""
    known: set[str] = set()
    for name in names:
        if name.casefold() in known:
            return name
        known.add(name.casefold())
    return None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key comes twice")
    return values


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no number")
