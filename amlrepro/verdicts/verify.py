"""Evaluating official checkpoints against what is published of them: what `amlris verify-harness` does.

The evaluation itself is handed in, so that nothing here needs torch. What it found is written into the store after each
split, together with all that it depends on; `harness.py` judges it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import amlrepro
from amlrepro.config import FILE, EvalConfig
from amlrepro.data.digest import available_splits, data_digest
from amlrepro.errors import UserError
from amlrepro.files import sha256_file, write_json
from amlrepro.metrics.summary import read_metrics, records_path
from amlrepro.models.registry import get_spec
from amlrepro.suite.published import Published, load_published, pick_published
from amlrepro.suite.store import Store
from amlrepro.verdicts.harness import FORMAT, component_versions, harness_path

# Evaluates a checkpoint's file on what is asked and writes that into a folder, as the engine does.
Score = Callable[[Path, Published, EvalConfig, Path], None]
Tell = Callable[[str], None]
WEIGHTS = (".pth", ".pt", ".safetensors", ".ckpt", ".bin")
_MODELS = {"detris": "detris", "rela": "rela|gres"}


def choose_checkpoints(named: Sequence[str], folder: Path | None) -> dict[str, Path]:
    """Files by id of the published checkpoint, from `ID=FILE` and from the names of the files in a folder.

    Raises `UserError` for unknown ids (with the nearest), files that are not there, and two files for one checkpoint.
    """
    chosen: dict[str, Path] = {}
    for text in named:
        name, sep, file = text.partition("=")
        if not sep or not file:
            expected = "for example --checkpoint refcoco+=caris_refcoco+.pth"
            raise UserError("a checkpoint is given as ID=FILE", where="--checkpoint", found=text, expected=expected)
        published, path = pick_published(name), Path(file).expanduser()
        if not path.is_file():
            raise UserError("no such checkpoint", where=path)
        if published.id in chosen:
            found = f"{chosen[published.id]}, {path}"
            raise UserError(f"two files are given for {published.id}", where="--checkpoint", found=found)
        chosen[published.id] = path
    for name, path in _in_folder(folder) if folder else ():
        chosen.setdefault(name, path)
    return dict(sorted(chosen.items(), key=lambda item: [each.id for each in load_published()].index(item[0])))


def guess(name: str) -> str | None:
    """The published checkpoint that a file's name speaks of: a data set, and DETRIS, ReLA or (CARIS) no model."""
    text = re.sub(r"refcoco[-_ ]?(?:plus|p(?![a-z]))", "refcoco+", name.lower())
    model = next((model for model, pattern in _MODELS.items() if re.search(pattern, text)), "caris")
    if "grefcoco" in text or model == "rela":
        data = "grefcoco"
    else:
        found = re.search(r"refcoco(\+|g(?![a-z]))?|(?<![a-z])g-?ref", text)
        if found is None:
            return None
        data = "refcocog" if "g" in found.group() else found.group()
        data += "-google" if data == "refcocog" and re.search(r"google|val[-_]?g(?![a-z])", text) else ""
    known = {each.id for each in load_published()}
    return f"{model}-{data}" if f"{model}-{data}" in known else None


def verify_checkpoint(
    store: Store, published: Published, file: Path, root: Path, score: Score, tell: Tell, force: bool = False
) -> dict[str, Any]:
    """Evaluate one checkpoint on all its splits, note it in `harness.json`, and return what was noted.

    root: data root. score: the evaluation. tell: hears what is done, in words. What was noted before counts again,
    unless `force`, where weights, data and components are the same. A split that the data root lacks is noted with the
    reason.
    """
    sha256, stat = sha256_file(file), file.stat()
    before = _noted_before(store, published, sha256)
    splits: dict[str, Any] = {}
    entry: dict[str, Any] = {
        "id": published.id,
        "file": str(file.absolute()),
        "stat": [stat.st_size, stat.st_mtime_ns],
        "sha256": sha256,
        "amlrepro": amlrepro.__version__,
        "splits": splits,
    }
    reasons = available_splits(root, published.data, published.split_by)
    for split, values in published.values.items():
        if reasons.get(split):
            splits[split] = {"reason": reasons[split]}
            tell(f"{published.id} {split}: {reasons[split]}")
            continue
        asked = evaluation_of(published, split, root)
        folder = store.subject(sha256[:16]).evals
        path = folder / f"{asked.eval_id}.json"
        if force or before.get(split) != asked.eval_id or not records_path(path).exists():
            tell(f"{published.id} {split}: evaluating {file.name}")
            score(file, published, asked, folder)
        else:
            tell(f"{published.id} {split}: evaluated before")
        splits[split] = _noted(store, path, sha256, published, values)
        _note(store, {**entry, "checked": time.time()})
    entry["checked"] = time.time()
    _note(store, entry)
    return entry


def evaluation_of(published: Published, split: str, root: Path) -> EvalConfig:
    """The evaluation by which a published value is checked: the model's own protocol, nothing perturbed."""
    return EvalConfig(
        dataset=published.data,
        split=split,
        split_by=published.split_by,
        resolution=get_spec(published.model).protocol.scoring,
        checkpoint=FILE,
        data_digest=data_digest(root, published.data, published.split_by),
    )


def _noted(store: Store, path: Path, sha256: str, published: Published, values: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of one evaluation."""
    meta = dict(store.read(path))
    if meta["sha256"] != sha256:
        raise UserError("the checkpoint changed while it was evaluated", where=path, hint="give the command again")
    found = read_metrics(path, list(values), values=meta)
    return {
        "eval_id": meta["eval_id"],
        "data_digest": meta["eval"]["data_digest"],
        "samples": meta["samples"],
        "records_sha256": meta["records_sha256"],
        "scored_at": meta["scored_at"],
        "components": component_versions(published.model, values),
        "published": {name: number.text for name, number in values.items()},
        "values": {name: measured.value for name, measured in found.items()},
    }


def _noted_before(store: Store, published: Published, sha256: str) -> dict[str, str]:
    """By split, the evaluation that was noted of these weights and is what it would be today."""
    entries = dict(store.read(harness_path(store)) or {}).get("checkpoints", [])
    mine = [each for each in entries if (each["id"], each["sha256"]) == (published.id, sha256)]
    splits: dict[str, Any] = mine[0]["splits"] if mine else {}
    now = component_versions(published.model, ())
    return {
        split: there["eval_id"]
        for split, there in splits.items()
        if "eval_id" in there and all(there["components"].get(name) == version for name, version in now.items())
    }


def _note(store: Store, entry: Mapping[str, Any]) -> None:
    """Put an entry into `harness.json`, in the place of an older one of the same checkpoint."""
    path = harness_path(store)
    found = dict(store.read(path) or {})
    others = [each for each in found.get("checkpoints", []) if each["id"] != entry["id"]]
    write_json(path, {"format": FORMAT, "checkpoints": [*others, dict(entry)]})


def _in_folder(folder: Path) -> Iterator[tuple[str, Path]]:
    """Files of a folder whose names speak of a published checkpoint; raises `UserError` where two do of one."""
    if not folder.is_dir():
        raise UserError("not a folder", where="--folder", found=folder)
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        name = guess(path.name) if path.suffix in WEIGHTS and path.is_file() else None
        if name:
            found.setdefault(name, []).append(path)
    if not found:
        raise UserError(
            "no file here is named after a data set",
            where=folder,
            expected=f"such as caris_refcoco+.pth ({', '.join(WEIGHTS)})",
            hint="or name files by --checkpoint ID=FILE",
        )
    for name, paths in found.items():
        if len(paths) > 1:
            listed, hint = ", ".join(path.name for path in paths), f"name one by --checkpoint {name}=FILE"
            raise UserError(f"several files look like {name}", where=folder, found=listed, hint=hint)
        yield name, paths[0]
