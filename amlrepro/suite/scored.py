"""What a column of an experiment made on the command line is scored on, and whether that fits what was trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from amlrepro.data.specs import COMBINED, dataset_spec, is_multi_target
from amlrepro.errors import UserError
from amlrepro.metrics.compute import metric
from amlrepro.models.registry import get_spec, model_names


@dataclass(frozen=True)
class Scored:
    """A column's data: data set, split and metric, on all images or on those not trained on."""

    dataset: str
    split: str
    metric: str
    subset: str

    @property
    def key(self) -> str:
        return ".".join([self.dataset, self.split, *(["unseen"] if self.subset == "unseen" else []), self.metric])

    @property
    def title(self) -> str:
        """`RefCOCOg val unseen mIoU`."""
        words = [dataset_spec(self.dataset).title, self.split, *(["unseen"] if self.subset == "unseen" else [])]
        return " ".join([*words, metric(self.metric).title])

    def column(self, header: str | None = None) -> dict[str, Any]:
        """A column of a layout, under this header or its title."""
        header = header or self.title
        return {"header": header, "metric": self.metric, "dataset": self.dataset, "split": self.split}


def may_leak(train: str, dataset: str) -> bool:
    """Whether evaluated pictures of `dataset` may be in the train split of `train`: RefCOCOg is partitioned otherwise
    than RefCOCO, RefCOCO+ and gRefCOCO; `combined` leaves such pictures out."""
    return train != COMBINED and (train == "refcocog") != (dataset == "refcocog")


def check_fit(models: Sequence[str], datasets: Sequence[str], where: str) -> None:
    """Raise `UserError` for a model for sentences with one object that is to be trained or scored on gRefCOCO."""
    several = [name for name in datasets if is_multi_target(name)]
    fitting = [name for name in model_names() if get_spec(name).protocol.multi_target]
    for model in models:
        if several and not get_spec(model).protocol.multi_target:
            raise UserError(
                f"sentences of {dataset_spec(several[0]).title} may name several objects or none",
                where=where,
                found=model,
                expected=f"a model for any number of objects ({', '.join(fitting)})",
            )


def training_title(train: str) -> str:
    """What a training set is called."""
    return "RefCOCO, RefCOCO+ and RefCOCOg" if train == COMBINED else dataset_spec(train).title


def file_name(key: str) -> str:
    """A key as the name of a file."""
    return key.replace("+", "_plus").replace(".", "_")
