"""Which pictures of an evaluation a model was trained on. Torch-free.

All REFER data sets take their pictures from COCO train2014 under its ids, so a val picture of one can be a train
picture of another: 634 of the 1,300 of RefCOCOg (umd) val are RefCOCO+ train pictures.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from amlrepro.config import RunConfig
from amlrepro.data.digest import data_digest
from amlrepro.data.refer import annotation_files, read_refs
from amlrepro.data.specs import COMBINED, COMBINED_PARTS, dataset_spec
from amlrepro.data.synth import synth_digest, synth_manifest
from amlrepro.errors import UserError


@dataclass(frozen=True)
class Seen:
    """Ascending ids of the evaluated images that are training images; None where that is not known, for `reason`."""

    images: tuple[int, ...] | None
    reason: str | None = None


UNTOLD = Seen(None, "it is not known what it was trained on")


def seen_images(config: RunConfig, root: Path, image_ids: Iterable[int]) -> Seen:
    """Those of `image_ids` that are in the training split which `config` was trained on, as found under `root`.

    Not known where the training set is not under `root`, or another one of its name is.
    """
    try:
        reason = _other_data(config, root)
        if reason:
            return Seen(None, reason)
        trained = training_images(root, config.data.train, config.data.split_by)
    except UserError as error:
        return Seen(None, f"its training set cannot be read: {error.what}")
    return Seen(tuple(sorted({int(image_id) for image_id in image_ids} & trained)))


def training_images(root: Path, dataset: str, split_by: str | None = None) -> frozenset[int]:
    """Ids of the images in a data set's train split; raises `UserError` for missing or broken files.

    `combined`: those of the three train splits that are in no val or test split of any of the three.
    """
    if dataset != COMBINED:
        return _images(root, dataset, split_by)[0]
    parts = [_images(root, name, owner) for name, owner in COMBINED_PARTS]
    return frozenset().union(*(train for train, _ in parts)) - frozenset().union(*(held for _, held in parts))


def _images(root: Path, dataset: str, split_by: str | None) -> tuple[frozenset[int], frozenset[int]]:
    path, _ = annotation_files(Path(root), dataset, split_by)
    status = path.stat()
    owner = dataset_spec(dataset).partition(split_by).split_by
    return _by_use(path, (status.st_size, status.st_mtime_ns), dataset, owner)


@lru_cache(maxsize=8)
def _by_use(path: Path, stamp: tuple[int, int], dataset: str, split_by: str) -> tuple[frozenset[int], frozenset[int]]:
    """Images of the train split, and of all others."""
    refs = read_refs(path, dataset, split_by)
    train = frozenset(ref.image_id for ref in refs if ref.split == "train")
    return train, frozenset(ref.image_id for ref in refs if ref.split != "train")


def _other_data(config: RunConfig, root: Path) -> str | None:
    """Why what lies under `root` is not what `config` was trained on; None where it is, as far as anyone can tell."""
    data = config.data
    if data.source == "synth":
        manifest = synth_manifest(root)
        same = manifest is not None and manifest.get("digest") == synth_digest(data.synth)
        return None if same else "it was trained on synthetic scenes that are not these"
    if data.digest is not None and data.digest != data_digest(root, data.train, data.split_by):
        return f"it was trained on another {data.train} than the one here"
    return None
