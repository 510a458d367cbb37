"""What runs read: which splits there are, digests of annotations and of initial weights. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from amlrepro.config import RunConfig
from amlrepro.data.digest import available_splits, data_digest, sentence_counts, split_counts
from amlrepro.data.specs import COMBINED, COMBINED_PARTS, SplitCounts, dataset_spec
from amlrepro.data.synth import synth_digest
from amlrepro.errors import UserError
from amlrepro.suite.cost import official_counts, official_refs
from amlrepro.suite.weights import weight_digests


@dataclass(frozen=True)
class Inputs:
    """Where data and weights come from.

    synth_folder: synthetic data sets are made in here when first needed. root None with source `refer`: only assumed
    to be the official data, for planning ahead; run ids are then provisional. vision_weights, text_weights: CARIS's;
    other models start from other files, which they find by environment variable or in the hub caches.
    """

    source: Literal["synth", "refer"]
    root: Path | None = None
    image_root: Path | None = None
    synth_folder: Path | None = None
    vision_weights: str | None = None
    text_weights: str | None = None

    @property
    def assumed(self) -> bool:
        """Whether the data were not looked at."""
        return self.source == "refer" and self.root is None

    def digest(self, dataset: str, split_by: str | None = None) -> str | None:
        """Digest of the annotation files; None for synthetic data (their size and seed are in the configuration)."""
        if self.source == "synth" or self.root is None:
            return None
        return data_digest(self.root, dataset, split_by)

    def reason(self, dataset: str, split: str, split_by: str | None = None) -> str | None:
        """Why a split cannot be used, None when it can."""
        if self.source == "synth" or self.root is None:
            known = ("train",) if dataset == COMBINED else dataset_spec(dataset).partition(split_by).splits
            return None if split in known else f"{dataset} has no split {split}"
        return _splits(self.root, dataset, split_by).get(split, f"{dataset} has no split {split}")

    def train_refs(self, dataset: str, split_by: str | None = None) -> int | None:
        """Referents of a training split, for its cost; of `combined` the sum of its parts. None for synthetic data."""
        if self.source == "synth":
            return None
        if self.root is None:
            return official_refs(dataset, split_by)
        parts = COMBINED_PARTS if dataset == COMBINED else ((dataset, split_by),)
        return sum(split_counts(self.root, name, owner).get("train", 0) for name, owner in parts)

    def counts(self, dataset: str, split: str, split_by: str | None = None) -> SplitCounts:
        """Referents and sentences of a split, for what scoring it costs: the official ones without a data root, else
        those that are there."""
        if self.source == "synth" or self.root is None:
            return official_counts(dataset, split, split_by)
        refs, sentences = _counts(self.root, dataset, split_by)
        return SplitCounts(refs.get(split, 0), sentences.get(split, 0), None)

    def execution(self, model: str) -> dict[str, Any]:
        """`exec` keys that say where the data lie, and for CARIS its weights."""
        values: dict[str, object] = {"data_root": self.root, "image_root": self.image_root}
        if model == "caris":
            values |= {"vision_weights": self.vision_weights, "text_weights": self.text_weights}
        return {key: str(value) for key, value in values.items() if value is not None}

    def complete(self, config: RunConfig) -> RunConfig:
        """The configuration with what its identity or place depends on: digests of annotations and initial weights, and
        the folder of the synthetic data."""
        changes: dict[str, Any] = {}
        if self.synth_folder is not None and config.data.source == "synth":
            changes["exec.data_root"] = str(self.synth_folder / f"synth-{synth_digest(config.data.synth)}")
        if not self.assumed:
            changes["data.digest"] = self.digest(config.data.train, config.data.split_by)
            changes.update(weight_digests(config))
        return config.with_changes(changes)


@cache
def _splits(root: Path, dataset: str, split_by: str | None) -> Mapping[str, str | None]:
    return available_splits(root, dataset, split_by)


@cache
def _counts(root: Path, dataset: str, split_by: str | None) -> tuple[Mapping[str, int], Mapping[str, int]]:
    try:
        return split_counts(root, dataset, split_by), sentence_counts(root, dataset, split_by)
    except UserError:  # missing or broken files, which those say who need them
        return {}, {}
