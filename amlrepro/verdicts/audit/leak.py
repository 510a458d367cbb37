"""Evaluated pictures that are training pictures (Table 15, X-LEAK1), counted on the annotations of a data root."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from amlrepro.data.refer import annotation_files, read_refs
from amlrepro.data.seen import training_images
from amlrepro.data.specs import dataset_spec

TRAINED = ("refcoco+", "unc")
EVALUATED = (("refcoco", "unc", "val"), ("refcocog", "umd", "val"))  # the columns of Table 15


@dataclass(frozen=True)
class Leak:
    """What an evaluation split shares with the training split of another data set.

    images, sentences: of the split. seen_images, seen_sentences: those whose picture is a training picture.
    complete: the split has its official number of sentences, so these are the numbers of the real experiment.
    """

    trained: str
    evaluated: str
    split: str
    images: int
    seen_images: int
    sentences: int
    seen_sentences: int
    complete: bool

    @property
    def text(self) -> str:
        """A sentence."""
        titles = dataset_spec(self.trained).title, f"{dataset_spec(self.evaluated).title} {self.split}"
        counted = "" if self.complete else " (not the complete split)"
        return (
            f"{self.seen_images:,} of {self.images:,} images of {titles[1]}, {self.seen_sentences:,} of "
            f"{self.sentences:,} sentences, are training images of {titles[0]}{counted}"
        )


def count_leaks(root: Path) -> tuple[Leak, ...]:
    """The shared pictures of both columns of Table 15, for a model trained on RefCOCO+.

    Reads refs only: neither pictures nor masks are needed. Raises `UserError` naming a data set that is not there.
    """
    trained = training_images(root, *TRAINED)
    return tuple(_count(root, trained, *split) for split in EVALUATED)


def _count(root: Path, trained: frozenset[int], dataset: str, split_by: str, split: str) -> Leak:
    path, _ = annotation_files(root, dataset, split_by)
    refs = [ref for ref in read_refs(path, dataset, split_by) if ref.split == split]
    sentences = sum(len(ref.sentences) for ref in refs)
    return Leak(
        trained=TRAINED[0],
        evaluated=dataset,
        split=split,
        images=len({ref.image_id for ref in refs}),
        seen_images=len({ref.image_id for ref in refs} & trained),
        sentences=sentences,
        seen_sentences=sum(len(ref.sentences) for ref in refs if ref.image_id in trained),
        complete=sentences == dataset_spec(dataset).partition(split_by).splits[split].sentences,
    )
