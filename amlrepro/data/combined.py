"""The combined training set of RefCOCO, RefCOCO+ and RefCOCOg (umd), without any picture that is evaluated on.

Rule: the union of the three train splits, minus every ref whose picture occurs in any val or test split of any of the
three. Torch-free.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from amlrepro.data.refer import Annotation, ImageInfo, Ref, ReferData, load_refer, read_refs
from amlrepro.data.specs import COMBINED, COMBINED_PARTS, DATASETS
from amlrepro.errors import UserError

# ref ids of part k start at k times this, far above any real id, so they stay unique and readable
REF_ID_STEP = 10_000_000


@dataclass(frozen=True)
class PartCounts:
    """What one data set contributes, and what the exclusion took away."""

    dataset: str
    split_by: str
    refs: int
    sentences: int
    images: int
    dropped_refs: int
    dropped_sentences: int
    dropped_images: int


@dataclass(frozen=True)
class CombinedReport:
    """Sizes of the combined set; `images` counts a picture once even when several parts use it."""

    parts: tuple[PartCounts, ...]
    refs: int
    sentences: int
    images: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class CombinedData(ReferData):
    """The combined train split; a ref's picture and objects come from the part that it belongs to."""

    parts: dict[str, ReferData] = field(default_factory=dict)

    def image_of(self, ref: Ref) -> ImageInfo:
        return self.parts[ref.dataset].image_of(ref)

    def annotations_of(self, ref: Ref) -> list[Annotation]:
        return self.parts[ref.dataset].annotations_of(ref)


@dataclass(frozen=True)
class Combined:
    """The data and what its making kept and dropped."""

    data: CombinedData
    report: CombinedReport


def load_combined(root: Path) -> Combined:
    """Build the combined training set from the three data sets under `root`.

    Raises `UserError` naming the parts that are missing, or when a val or test picture is left.
    """
    parts = load_parts(root)
    evaluated = evaluation_images(parts)
    refs: list[Ref] = []
    counts = []
    for number, part in enumerate(parts.values()):
        train = [ref for ref in part.refs if ref.split == "train"]
        kept = [ref for ref in train if ref.image_id not in evaluated]
        dropped = [ref for ref in train if ref.image_id in evaluated]
        refs += [replace(ref, ref_id=ref.ref_id + number * REF_ID_STEP) for ref in kept]
        counts.append(PartCounts(part.dataset, part.split_by, *_sizes(kept), *_sizes(dropped)))
    require_disjoint(refs, parts, str(root))
    require_unique_ids(refs, str(root))
    data = CombinedData(COMBINED, "mix", refs, {}, {}, {}, source=str(root), parts=parts)
    return Combined(data, CombinedReport(tuple(counts), *_sizes(refs)))


def load_parts(root: Path) -> dict[str, ReferData]:
    """The three data sets by name; raises `UserError` naming the missing ones."""
    parts, missing = {}, []
    for dataset, split_by in COMBINED_PARTS:
        try:
            parts[dataset] = load_refer(root, dataset, split_by)
        except UserError as error:
            if (root / DATASETS[dataset].folder / f"refs({split_by}).p").is_file():
                raise
            missing.append((f"{DATASETS[dataset].title} ({split_by})", error))
    if missing:
        raise UserError(
            "the combined training set needs all of RefCOCO (unc), RefCOCO+ (unc) and RefCOCOg (umd)",
            where=root,
            found="no " + ", no ".join(title for title, _ in missing),
            hint="without all three no one can tell which pictures are evaluated on",
        )
    return parts


def evaluation_images(parts: dict[str, ReferData]) -> set[int]:
    """Ids of all pictures in any val or test split of any part."""
    return {ref.image_id for part in parts.values() for ref in part.refs if ref.split != "train"}


def require_disjoint(refs: list[Ref], parts: dict[str, ReferData], where: str) -> None:
    """Refuse training refs with a picture of any val or test split of any part: raises `UserError` with the count."""
    evaluated = evaluation_images(parts)
    leaked = sorted({ref.image_id for ref in refs if ref.image_id in evaluated})
    if leaked:
        n_refs = sum(ref.image_id in evaluated for ref in refs)
        raise UserError(
            f"{len(leaked)} val or test images are in the training set ({n_refs} refs)",
            where=where,
            found=", ".join(map(str, leaked[:5])) + (" and others" if len(leaked) > 5 else ""),
            expected="no image of any val or test split of RefCOCO, RefCOCO+ and RefCOCOg (umd)",
        )


def require_unique_ids(refs: list[Ref], where: str) -> None:
    """Raise `UserError` when two refs share an id."""
    if len({ref.ref_id for ref in refs}) != len(refs):
        raise UserError("two refs share an id", where=where)


@dataclass(frozen=True)
class MixReport:
    """What a `refcocom/refs(mix).p` made by others holds, and its pictures that are evaluated on."""

    path: str
    refs: int
    sentences: int
    images: int
    leaked_images: tuple[int, ...]
    leaked_refs: int
    unique_ref_ids: bool

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def check_mix(root: Path) -> MixReport | None:
    """Check `refcocom/refs(mix).p` under `root` by the same rule; None when there is no such file."""
    path = root / "refcocom" / "refs(mix).p"
    if not path.is_file():
        return None
    refs = [ref for ref in read_refs(path, COMBINED, "mix") if ref.split == "train"]
    evaluated = evaluation_images(load_parts(root))
    leaked = tuple(sorted({ref.image_id for ref in refs if ref.image_id in evaluated}))
    unique = len({ref.ref_id for ref in refs}) == len(refs)
    return MixReport(str(path), *_sizes(refs), leaked, sum(ref.image_id in evaluated for ref in refs), unique)


def _sizes(refs: list[Ref]) -> tuple[int, int, int]:
    return len(refs), sum(len(ref.sentences) for ref in refs), len({ref.image_id for ref in refs})
