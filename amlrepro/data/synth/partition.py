"""Which picture belongs to which data sets and splits: the real sets' partitions in small. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field

from amlrepro.data.synth.scene import Focus, Kind
from amlrepro.sections import SynthConfig

UNC_FOCUS: dict[str, Focus] = {"train": "any", "val": "any", "testA": "person", "testB": "other"}
SHARED_TRAIN = 0.25  # of RefCOCOg's train pictures are RefCOCO train pictures
SHARED_EVAL = 0.2  # of each evaluation split lies in the other set's train split, as in the real sets


@dataclass
class PicturePlan:
    """One picture before it is drawn. unc: its split in RefCOCO, RefCOCO+ and gRefCOCO; umd: in RefCOCOg."""

    image_id: int
    kind: Kind
    focus: Focus = "any"
    unc: str | None = None
    umd: str | None = None

    @property
    def file_name(self) -> str:
        return f"COCO_train2014_{self.image_id:012d}.jpg"


@dataclass
class _Pool:
    plans: list[PicturePlan] = field(default_factory=list)

    def add(self, count: int, kind: Kind, focus: Focus = "any", unc: str | None = None, umd: str | None = None) -> None:
        for _ in range(count):
            self.plans.append(PicturePlan(len(self.plans) + 1, kind, focus, unc, umd))


def plan_pictures(config: SynthConfig) -> list[PicturePlan]:
    """All pictures, image ids counting from 1.

    RefCOCO, RefCOCO+ and gRefCOCO share their pictures and splits; each data set has `train_images` train pictures
    and `eval_images` in every other split. Some RefCOCO val and test pictures are RefCOCOg train pictures and the
    other way round, so a training set joined from all three has pictures to leave out.
    """
    train, held = config.train_images, config.eval_images
    pool = _Pool()
    for split, focus in UNC_FOCUS.items():
        pool.add(train if split == "train" else held, "crowd", focus, unc=split)
    by_split = {split: [p for p in pool.plans if p.unc == split] for split in UNC_FOCUS}
    umd = {"train": 0, "val": 0, "test": 0}

    def share(unc_split: str, umd_split: str, count: int) -> None:
        free = [p for p in by_split[unc_split] if p.umd is None]
        for plan in free[:count]:
            plan.umd = umd_split
            umd[umd_split] += 1

    for split in ("val", "testA", "testB"):
        share(split, "train", min(int(SHARED_EVAL * held), train // 6))
    share("train", "train", int(SHARED_TRAIN * train))
    for split in ("val", "test"):
        share("train", split, min(int(SHARED_EVAL * held), train // 4))
    for split, wanted in (("train", train), ("val", held), ("test", held)):
        pool.add(wanted - umd[split], "varied", umd=split)
    return pool.plans
