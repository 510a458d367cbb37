"""The data sets by name: splits, owners, official counts. Torch-free.

Counts: `N_REFS`, `N_SENTENCES`, `N_IMAGES` follow the published totals of REFER (UNC, UMD, Google) as verified against
two independent sources; see docs/data.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from amlrepro.errors import UserError, unknown_name


@dataclass(frozen=True)
class SplitCounts:
    """Official size of one split; None where no reliable number is known."""

    refs: int | None
    sentences: int | None
    images: int | None


@dataclass(frozen=True)
class Partition:
    """One split owner's partition of a data set."""

    split_by: str
    splits: dict[str, SplitCounts]
    by_image: bool = True  # False: the same image may lie in train and val (Google's partitions)
    shared: frozenset[int] = frozenset()  # images that the official files themselves have in two splits

    @property
    def eval_splits(self) -> tuple[str, ...]:
        return tuple(s for s in self.splits if s != "train")


@dataclass(frozen=True)
class DatasetSpec:
    """A data set of the REFER family.

    multi_target: a sentence may name several objects or none; such a data set is stored as `grefs(<owner>).json`.
    """

    name: str
    title: str
    partitions: dict[str, Partition]
    default: str
    style: str  # the synthetic counterpart's sentence style
    folder: str = ""
    appendix: dict[str, float] = field(default_factory=dict)  # what the paper's Appendix A.1 prints
    multi_target: bool = False

    def refs_file(self, split_by: str) -> str:
        """Name of the file that holds the refs of a split owner."""
        return f"grefs({split_by}).json" if self.multi_target else f"refs({split_by}).p"

    def partition(self, split_by: str | None) -> Partition:
        owner = split_by or self.default
        if owner not in self.partitions:
            raise unknown_name("split owner", owner, self.partitions, self.name)
        return self.partitions[owner]


def _p(split_by: str, by_image: bool = True, **splits: tuple[int | None, int | None, int | None]) -> Partition:
    return Partition(split_by, {name: SplitCounts(*counts) for name, counts in splits.items()}, by_image)


DATASETS: dict[str, DatasetSpec] = {
    "refcoco": DatasetSpec(
        "refcoco",
        "RefCOCO",
        {
            "unc": _p(
                "unc",
                train=(42404, 120624, 16994),
                val=(3811, 10834, 1500),
                testA=(1975, 5657, 750),
                testB=(1810, 5095, 750),
            ),
            "google": _p("google", False, train=(40000, None, 19213), val=(5000, None, 4559), test=(5000, None, 4527)),
        },
        "unc",
        "place",
        "refcoco",
        {"sentences": 142210, "refs": 50000, "images": 19994, "words": 3.61, "same_class": 3.9},
    ),
    "refcoco+": DatasetSpec(
        "refcoco+",
        "RefCOCO+",
        {
            "unc": _p(
                "unc",
                train=(42278, 120191, 16992),
                val=(3805, 10758, 1500),
                testA=(1975, 5726, 750),
                testB=(1798, 4889, 750),
            )
        },
        "unc",
        "appearance",
        "refcoco+",
        {"sentences": 141564, "refs": 49856, "images": 19992, "words": 3.53, "same_class": 3.9},
    ),
    "refcocog": DatasetSpec(
        "refcocog",
        "RefCOCOg",
        {
            "umd": _p("umd", train=(42226, 80512, 21899), val=(2573, 4896, 1300), test=(5023, 9602, 2600)),
            "google": _p("google", False, train=(44822, 85474, 24698), val=(5000, 9536, 4650)),
        },
        "umd",
        "relational",
        "refcocog",
        {"sentences": 85474, "refs": 54822, "images": 26711, "words": 8.43, "same_class": 1.6},
    ),
    # The released file holds 259,859 of the paper's 278,232 expressions (its authors); how many fall to each val and
    # test split is not settled, so only train's number is given. Pictures are those of RefCOCO, one of them twice.
    "grefcoco": DatasetSpec(
        "grefcoco",
        "gRefCOCO",
        {
            "unc": Partition(
                "unc",
                {
                    "train": SplitCounts(None, 209344, 16994),
                    "val": SplitCounts(None, None, None),
                    "testA": SplitCounts(None, None, 750),
                    "testB": SplitCounts(None, None, 750),
                },
                shared=frozenset({320432}),
            )
        },
        "unc",
        "general",
        "grefcoco",
        {"sentences": 278232, "objects": 60287, "images": 19994, "multi_target": 80022, "no_target": 32202},
        multi_target=True,
    ),
}

COMBINED = "combined"
COMBINED_PARTS: tuple[tuple[str, str], ...] = (("refcoco", "unc"), ("refcoco+", "unc"), ("refcocog", "umd"))


def dataset_spec(name: str) -> DatasetSpec:
    """The specification of a data set; raises `UserError` with the nearest name."""
    if name not in DATASETS:
        raise unknown_name("data set", name, DATASETS)
    return DATASETS[name]


def is_multi_target(dataset: str) -> bool:
    """Whether a sentence of this data set may name several objects or none. `combined` is not."""
    return dataset in DATASETS and DATASETS[dataset].multi_target


def check_split(dataset: str, split: str, split_by: str | None = None) -> None:
    """Raise `UserError` unless `split` is an exact split name of the data set's partition."""
    partition = dataset_spec(dataset).partition(split_by)
    if split not in partition.splits:
        raise unknown_name("split", split, partition.splits, f"{dataset} ({partition.split_by})")


def parse_dataset_split(text: str) -> tuple[str, str | None, str]:
    """`refcoco:val` or `refcoco(google):val` as (data set, split owner or None, split), checked."""
    head, sep, split = text.partition(":")
    if not sep:
        raise UserError("a split is written DATASET:SPLIT", found=text, expected="for example refcoco:val")
    name, _, owner = head.partition("(")
    split_by = owner.rstrip(")") or None
    check_split(name, split, split_by)
    return name, split_by, split
