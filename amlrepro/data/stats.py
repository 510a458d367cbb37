"""What the data is like: words, sentences and same-class objects, beside the paper's Appendix A.1. Torch-free."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from amlrepro.data.refer import Ref, ReferData, load_refer
from amlrepro.data.specs import DATASETS
from amlrepro.errors import UserError


@dataclass(frozen=True)
class TargetCounts:
    """Sentences that name one object, several, or none."""

    one: int
    several: int
    none: int


@dataclass(frozen=True)
class Stats:
    """Statistics of one data set with one split owner, over all its splits or one of them.

    words, longest: words of `sent`, mean and maximum. long: share of sentences with more than 18 words, which 20 tokens
    with both marks cannot hold even without word pieces. same_class: other objects of the referent's category in its
    image, mean over refs to one object (crowds included): the reading under which the official annotations give the
    paper's 3.9. area: share of the picture that a ref's objects cover, mean over refs that have one, from `area`. Both
    None where no ref has one. multi_target, no_target: sentences that name several objects, or none.
    """

    dataset: str
    split_by: str
    split: str
    images: int
    refs: int
    sentences: int
    words: float
    longest: int
    long: float
    vocabulary: int
    sentences_per_ref: float
    refs_per_image: float
    same_class: float | None
    area: float | None
    multi_target: int
    no_target: int

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "appendix": appendix(self.dataset)}


def appendix(dataset: str) -> dict[str, float]:
    """The numbers that Appendix A.1 of the paper prints for a data set."""
    return DATASETS[dataset].appendix


def root_stats(root: Path, dataset: str | None = None, by_split: bool = False) -> list[Stats]:
    """Statistics of every data set under `root` (all split owners), or of one; raises `UserError` if there is none."""
    if not root.is_dir():
        raise UserError("the data root does not exist", where=root)
    out = []
    for name, spec in DATASETS.items():
        if dataset not in (None, name):
            continue
        for owner in spec.partitions:
            if (root / spec.folder / spec.refs_file(owner)).is_file():
                data = load_refer(root, name, owner)
                out.append(stats(data))
                if by_split:
                    present = set(data.split_names())
                    out += [stats(data, split) for split in spec.partitions[owner].splits if split in present]
    if not out:
        raise UserError(
            "no data set under this root", where=root, found=", ".join(sorted(p.name for p in root.iterdir()))
        )
    return out


def stats(data: ReferData, split: str | None = None) -> Stats:
    """Statistics of one split, or of all."""
    refs = data.refs if split is None else data.split(split)
    texts = [sentence.sent.split() for ref in refs for sentence in ref.sentences]
    lengths = [len(words) for words in texts]
    images = len({ref.image_id for ref in refs})
    kinds = target_counts(refs)
    return Stats(
        data.dataset,
        data.split_by,
        split or "all",
        images,
        len(refs),
        len(texts),
        words=fmean(lengths),
        longest=max(lengths),
        long=fmean(n > 18 for n in lengths),
        vocabulary=len({word for words in texts for word in words}),
        sentences_per_ref=len(texts) / len(refs),
        refs_per_image=len(refs) / images,
        same_class=_same_class(data, refs),
        area=_area(data, refs),
        multi_target=kinds.several,
        no_target=kinds.none,
    )


def target_counts(refs: list[Ref]) -> TargetCounts:
    """How many sentences of these refs name one object, several, or none."""
    counts = Counter(min(len(ref.ann_ids), 2) for ref in refs for _ in ref.sentences)
    return TargetCounts(counts[1], counts[2], counts[0])


def _same_class(data: ReferData, refs: list[Ref]) -> float | None:
    objects = Counter((a.image_id, a.category_id) for a in data.annotations.values())
    # the referent itself is taken off; a category the ref file does not give is looked up at its object
    counts = []
    for ref in refs:
        if len(ref.ann_ids) != 1:
            continue
        category = ref.category_id or data.annotations_of(ref)[0].category_id
        counts.append(max(0, objects[ref.image_id, category] - 1))
    return fmean(counts) if counts else None


def _area(data: ReferData, refs: list[Ref]) -> float | None:
    shares = []
    for ref in refs:
        if not ref.ann_ids:
            continue
        info = data.image_of(ref)
        shares.append(sum(a.area for a in data.annotations_of(ref)) / (info.height * info.width))
    return fmean(shares) if shares else None
