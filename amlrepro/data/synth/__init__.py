"""Synthetic scenes in the official on-disk formats; `ensure_synth` and `synth_digest` may be imported. Torch-free."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from amlrepro.config import VERSIONS
from amlrepro.errors import UserError
from amlrepro.files import canonical_hash, disk_errors, read_json, sha256_file, write_json
from amlrepro.machine import end_with_parent
from amlrepro.schema import parse_strict
from amlrepro.sections import SynthConfig

MANIFEST = "synth.json"
IMAGES = Path("images", "train2014")
CHUNK = 25  # pictures a worker draws at a time
Progress = Callable[[int, int], None]


def synth_digest(config: SynthConfig) -> str:
    """Hash of the parameters that differ from their defaults and of the generator's version. Needs no files."""
    return canonical_hash({"synth": VERSIONS["synth"], **config.model_dump(mode="json", exclude_defaults=True)}, 16)


def ensure_synth(
    config: SynthConfig,
    root: Path,
    progress: Progress | None = None,
    workers: int | None = None,
    *,
    force: bool = False,
) -> Path:
    """Make the synthetic data sets under `root` unless they are there already; returns `root`.

    Layout: `refcoco`, `refcoco+` (unc), `refcocog` (umd) and `grefcoco` in the official formats, pictures in
    `images/train2014`, `scenes.jsonl` with what each picture shows, `synth.json` as the manifest, written last.
    The files are a function of `config`, not of the number of `workers` (default: one a CPU).
    progress: called with pictures done and in all.

    Raises `UserError` when `root` holds other synthetic data (unless `force`) or anything else (always).
    """
    from filelock import FileLock

    root = Path(root)
    with disk_errors(root):
        root.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(root.parent / f".{root.name}.lock"):
            if _reusable(config, root, force):
                return root
            building = root.parent / f".{root.name}.building"
            shutil.rmtree(building, ignore_errors=True)  # left by a run that was killed
            try:
                _build(config, building, progress, workers)
                if root.exists():
                    shutil.rmtree(root)
                os.replace(building, root)
            finally:
                shutil.rmtree(building, ignore_errors=True)
    return root


def synth_manifest(root: Path) -> dict[str, Any] | None:
    """The manifest under `root` (configuration, digest, counts for each data set and split); None if there is none."""
    path = root / MANIFEST
    manifest = read_json(path) if path.exists() else None
    return manifest if isinstance(manifest, dict) else None


def _reusable(config: SynthConfig, root: Path, force: bool) -> bool:
    """Whether `root` holds exactly this data, complete. Raises `UserError` if it holds something else."""
    if not root.exists():
        return False
    if not root.is_dir():
        raise UserError("the data root is a file", where=root, expected="a folder, or nothing yet")
    manifest = synth_manifest(root)
    if manifest is None:
        if any(root.iterdir()):
            raise UserError(
                "this folder holds something else than synthetic data, which is never overwritten",
                where=root,
                hint="name an empty or a new folder",
            )
        return False
    if manifest.get("digest") == synth_digest(config) and _complete(root, manifest) and not force:
        return True
    if force:
        return False
    there = manifest.get("digest")
    if there == synth_digest(config):
        raise UserError("the synthetic data here is damaged", where=root, hint="make it again with --force")
    raise UserError(
        "other synthetic data is here already",
        where=root,
        found=_parameters(manifest),
        expected=", ".join(f"{key} {value}" for key, value in config.model_dump().items()),
        hint="name another folder, or replace it with --force",
    )


def _parameters(manifest: dict[str, Any]) -> str:
    config = parse_strict(SynthConfig, manifest.get("config", {}), MANIFEST).model_dump()
    return ", ".join(f"{key} {value}" for key, value in config.items()) + f" (generator {manifest.get('generator')})"


def _complete(root: Path, manifest: dict[str, Any]) -> bool:
    """Whether all pictures (by number and bytes) and annotation files (by size) are as the manifest says."""
    return (
        all(
            (root / name).is_file() and (root / name).stat().st_size == size
            for name, (size, _) in manifest["annotations"].items()
        )
        and _pictures(root) == manifest["pictures"]
    )


def _pictures(root: Path) -> dict[str, int]:
    folder = root / IMAGES
    sizes = [entry.stat().st_size for entry in os.scandir(folder)] if folder.is_dir() else []
    return {"files": len(sizes), "bytes": sum(sizes)}


def _build(config: SynthConfig, root: Path, progress: Progress | None, workers: int | None) -> None:
    from amlrepro.data.synth.annotations import write_annotations
    from amlrepro.data.synth.partition import plan_pictures

    plans = plan_pictures(config)
    (root / IMAGES).mkdir(parents=True)
    described = _draw_all(config, plans, root / IMAGES, progress, workers)
    counts = write_annotations(root, list(zip(plans, described, strict=True)))
    annotations = {
        path.relative_to(root).as_posix(): [path.stat().st_size, sha256_file(path)]
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.suffix != ".jpg"
    }
    manifest = {
        "generator": VERSIONS["synth"],
        "digest": synth_digest(config),
        "config": config.model_dump(mode="json"),
        "counts": counts,
        "pictures": _pictures(root),
        "annotations": annotations,
    }
    write_json(root / MANIFEST, manifest)


def _draw_all(
    config: SynthConfig, plans: list[Any], folder: Path, progress: Progress | None, workers: int | None
) -> list[dict[str, Any]]:
    from amlrepro.data.synth.picture import make_picture, make_pictures

    report = progress or (lambda done, total: None)
    workers = workers or len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else workers or 1
    report(0, len(plans))
    if workers == 1 or len(plans) <= CHUNK:
        out = []
        for plan in plans:
            out.append(make_picture(config, plan, folder))
            report(len(out), len(plans))
        return out
    chunks = [plans[k : k + CHUNK] for k in range(0, len(plans), CHUNK)]
    drawn: dict[int, list[dict[str, Any]]] = {}
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor, as_completed

    # Spawned, not forked: the caller may hold threads (torch, a progress bar).
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(chunks)), context, end_with_parent) as pool:
        jobs = {pool.submit(make_pictures, config, chunk, folder): k for k, chunk in enumerate(chunks)}
        for job in as_completed(jobs):
            drawn[jobs[job]] = job.result()
            report(sum(map(len, drawn.values())), len(plans))
    return [found for k in range(len(chunks)) for found in drawn[k]]
