"""Reader of the REFER formats: `refs(<owner>).p` of RefCOCO, RefCOCO+ and RefCOCOg, `grefs(<owner>).json` of gRefCOCO,
each with `instances.json`. Torch-free."""

from __future__ import annotations

import contextlib
import gc
import json
import sys
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from amlrepro.data.pickles import load_plain_pickle
from amlrepro.data.specs import DATASETS, check_split, dataset_spec, is_multi_target
from amlrepro.errors import UserError

NO_TARGET = -1  # stands in gRefCOCO's `ann_id` for "no object"


@dataclass(frozen=True, slots=True)
class Sentence:
    """One expression. raw: as typed; sent: lower case without punctuation (what CARIS reads)."""

    sent_id: int
    raw: str
    sent: str


@dataclass(frozen=True, slots=True)
class Ref:
    """A referred object with its sentences. ann_ids: in gRefCOCO any number of objects, () where the sentences name
    nothing. category_id: 0 where the file gives none, or objects of several categories."""

    ref_id: int
    ann_ids: tuple[int, ...]
    image_id: int
    category_id: int
    split: str
    sentences: tuple[Sentence, ...]
    dataset: str
    split_by: str


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """A row of the image table; sizes in pixels."""

    image_id: int
    file_name: str
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class Annotation:
    """An object. bbox (x, y, w, h) and area in pixels; segmentation: polygons (flat x1 y1 x2 y2 ...), a COCO
    run-length mapping, or None where only the box is known."""

    ann_id: int
    image_id: int
    category_id: int
    bbox: tuple[float, ...]
    area: float
    iscrowd: bool
    segmentation: tuple[array[float], ...] | Mapping[str, Any] | None


@dataclass
class ReferData:
    """One data set with one split owner, as read. `refs` in file order; the three tables by id."""

    dataset: str
    split_by: str
    refs: list[Ref]
    images: dict[int, ImageInfo]
    annotations: dict[int, Annotation]
    categories: dict[int, str]
    source: str = ""
    _splits: dict[str, list[Ref]] = field(default_factory=dict, repr=False)

    def split_names(self) -> list[str]:
        """Split names that occur, in order of first appearance."""
        self._index()
        return list(self._splits)

    def split(self, name: str) -> list[Ref]:
        """Refs of exactly this split, in file order; raises `UserError` when the file has none."""
        self._index()
        if name not in self._splits:
            if self.dataset in DATASETS:
                check_split(self.dataset, name, self.split_by)
            raise UserError(
                f"split {name!r} of {self.dataset} ({self.split_by}) is empty",
                where=self.source,
                found=", ".join(f"{n} {len(refs)} refs" for n, refs in self._splits.items()) or "no refs",
            )
        return self._splits[name]

    def samples(self, split: str) -> Iterator[tuple[Ref, Sentence]]:
        """Samples in evaluation order: refs in file order, sentences in ref order."""
        for ref in self.split(split):
            for sentence in ref.sentences:
                yield ref, sentence

    def image_of(self, ref: Ref) -> ImageInfo:
        """The ref's row of the image table; raises `UserError` when it is not there."""
        info = self.images.get(ref.image_id)
        if info is None:
            raise UserError(
                f"image {ref.image_id} of ref {ref.ref_id} ({ref.dataset}) is not in instances.json", where=self.source
            )
        return info

    def annotations_of(self, ref: Ref) -> list[Annotation]:
        """The ref's objects; raises `UserError` when one is not in instances.json."""
        out = []
        for ann_id in ref.ann_ids:
            if ann_id not in self.annotations:
                raise UserError(
                    f"annotation {ann_id} of ref {ref.ref_id} ({ref.dataset}) is not in instances.json",
                    where=self.source,
                )
            out.append(self.annotations[ann_id])
        return out

    def _index(self) -> None:
        if not self._splits:
            for ref in self.refs:
                self._splits.setdefault(ref.split, []).append(ref)


def annotation_files(root: Path, dataset: str, split_by: str | None = None) -> tuple[Path, Path]:
    """Paths of the refs file and `instances.json`; raises `UserError` naming what is missing."""
    spec = dataset_spec(dataset)
    owner = spec.partition(split_by).split_by
    if not root.is_dir():
        raise UserError("the data root does not exist", where=root, hint="give another --data-root or set AMLRIS_DATA")
    folder = root / spec.folder
    if not folder.is_dir():
        raise UserError(
            f"{spec.title} is not under this data root",
            where=folder,
            found=", ".join(sorted(p.name for p in root.iterdir() if p.is_dir())) or "an empty folder",
            expected=f"{spec.folder}/{spec.refs_file(owner)} and {spec.folder}/instances.json",
        )
    refs, instances = folder / spec.refs_file(owner), folder / "instances.json"
    if not refs.is_file():
        raise UserError(
            f"no refs of split owner {owner!r}",
            where=refs,
            found=", ".join(sorted(p.name for p in folder.glob("*refs*(*)*"))) or "no refs file",
        )
    if not instances.is_file():
        raise UserError("no object annotations", where=instances)
    return refs, instances


def load_refer(root: Path, dataset: str, split_by: str | None = None) -> ReferData:
    """Read `<root>/<folder>/refs(<owner>).p` (gRefCOCO: `grefs(<owner>).json`) with its `instances.json`.

    Kept per process by path, size and time of change, so repeated calls are free. Raises `UserError` for a missing
    folder, file or split owner, for a file that does not parse, and for a record without a needed field.
    """
    refs, instances = annotation_files(Path(root), dataset, split_by)
    owner = dataset_spec(dataset).partition(split_by).split_by
    return _load(refs, _stamp(refs), instances, _stamp(instances), dataset, owner)


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


@lru_cache(maxsize=8)
def _load(
    refs: Path, refs_stamp: tuple[int, int], instances: Path, stamp: tuple[int, int], dataset: str, split_by: str
) -> ReferData:
    parsed = read_refs(refs, dataset, split_by)  # first: the pickle's peak of memory is gone before the polygons come
    images, annotations, categories = _load_instances(instances, stamp)
    return ReferData(dataset, split_by, parsed, images, annotations, categories, source=str(refs.parent))


def read_refs(path: Path, dataset: str, split_by: str) -> list[Ref]:
    """The refs of one file, pickle or JSON, in file order; raises `UserError` naming a record that does not fit."""
    with _no_collection():
        records = _json(path) if path.suffix == ".json" else load_plain_pickle(path)
        if not isinstance(records, list):
            raise UserError("a refs file holds a list", where=path, found=type(records).__name__)
        records.reverse()  # taking records off the end frees each one as soon as it is converted
        return _convert(records, path, dataset, split_by)


def _convert(records: list[Any], path: Path, dataset: str, split_by: str) -> list[Ref]:
    refs: list[Ref] = []
    while records:
        record = records.pop()
        try:
            refs.append(_ref(record, dataset, split_by))
        except KeyError as error:
            raise UserError(f"record {len(refs)} has no field {error}", where=path) from None
        except (TypeError, ValueError, AttributeError) as error:
            raise UserError(f"record {len(refs)} does not have REFER's form", where=path, found=str(error)) from None
    return refs


def _ref(record: Mapping[str, Any], dataset: str, split_by: str) -> Ref:
    ann_ids = _integers(record["ann_id"])
    if ann_ids == (NO_TARGET,) and is_multi_target(dataset):
        ann_ids = ()
    if NO_TARGET in ann_ids:
        raise ValueError(f"ann_id {record['ann_id']}")
    categories = set(_integers(record.get("category_id") or 0))
    return Ref(
        int(record["ref_id"]),
        ann_ids,
        int(record["image_id"]),
        max(0, categories.pop()) if len(categories) == 1 else 0,
        sys.intern(record["split"]),
        tuple(map(_sentence, record["sentences"])),
        dataset,
        split_by,
    )


def _integers(value: Any) -> tuple[int, ...]:
    return tuple(map(int, value)) if isinstance(value, (list, tuple)) else (int(value),)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise UserError("not a JSON file", where=path, found=str(error)) from None


def _sentence(record: Mapping[str, Any]) -> Sentence:
    sent = record["sent"]
    raw = record.get("raw", sent)
    if not (isinstance(sent, str) and isinstance(raw, str)):
        raise TypeError(f"a sentence that is no text: {sent!r}")
    return Sentence(int(record["sent_id"]), sent if raw == sent else raw, sent)


Tables = tuple[dict[int, ImageInfo], dict[int, Annotation], dict[int, str]]


@lru_cache(maxsize=4)
def _load_instances(path: Path, stamp: tuple[int, int]) -> Tables:
    try:
        with path.open("rb") as f, _no_collection():
            content = json.load(f, object_hook=_compact)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError("not a JSON file", where=path, found=str(error)) from None
    except (TypeError, ValueError, KeyError) as error:
        raise UserError("an entry does not have COCO's form", where=path, found=str(error)) from None
    try:
        images = {row.image_id: row for row in content["images"]}
        annotations = {row.ann_id: row for row in content["annotations"]}
        categories = {int(row["id"]): str(row["name"]) for row in content["categories"]}
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError("not COCO's object annotations", where=path, found=f"{type(error).__name__}: {error}") from None
    return images, annotations, categories


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Pause the garbage collector: millions of small, acyclic objects make it search in vain, for half the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _compact(entry: dict[str, Any]) -> Any:
    """Turn image and annotation rows into their lean form while parsing: polygons take a quarter of the memory."""
    if "image_id" in entry and "bbox" in entry:
        segmentation = entry.get("segmentation")
        if isinstance(segmentation, list):
            segmentation = tuple(array("d", polygon) for polygon in segmentation) or None
        bbox = tuple(map(float, entry["bbox"]))
        return Annotation(
            int(entry["id"]),
            int(entry["image_id"]),
            int(entry["category_id"]),
            bbox,
            float(entry.get("area", bbox[2] * bbox[3])),
            bool(entry.get("iscrowd", 0)),
            segmentation,
        )
    if "file_name" in entry and "height" in entry:
        return ImageInfo(int(entry["id"]), str(entry["file_name"]), int(entry["height"]), int(entry["width"]))
    return entry
