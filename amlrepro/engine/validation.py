"""Validation during training: the samples and the number by which a method's protocol chooses `best`."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from amlrepro.config import EvalConfig, RunConfig
from amlrepro.data.loader import EvaluationData, open_evaluation
from amlrepro.data.refer import load_refer
from amlrepro.data.source import data_root
from amlrepro.data.specs import COMBINED
from amlrepro.data.tokens import Tokenizer
from amlrepro.engine.distributed import ALONE, World
from amlrepro.engine.evaluate import Watch, evaluate
from amlrepro.engine.numerics import Precision, full_precision
from amlrepro.metrics.compute import metric, value
from amlrepro.metrics.records import Records
from amlrepro.models.contract import RISModel
from amlrepro.models.spec import Protocol

SPLIT = "val"  # never a test split, though DETRIS's own settings for RefCOCO+ name testB
COMBINED_VALIDATION = "refcoco"  # the combined set is validated on RefCOCO's val (CARIS's authors' advice)


@dataclass(frozen=True)
class Validation:
    """What `best` is chosen by. data: the samples; metric: its name; by: all of it in words."""

    data: EvaluationData
    protocol: Protocol
    metric: str
    by: str

    def scores(
        self, model: RISModel, precision: Precision, watch: Watch | None = None, world: World = ALONE
    ) -> dict[str, Any]:
        """A validation row's entries: the metric under its name, the number of samples, and what it was scored by.

        The processes of `world` share the samples, and all of them get the same entries.
        """
        if self.protocol.validate_precision == "float32":
            precision = full_precision(precision.device)
        records = evaluate(model, self.data, self.protocol.scoring, precision, watch, world)
        return {self.metric: selection_score(records, self.metric), "samples": len(records), "by": self.by}


def open_validation(config: RunConfig, tokenizer: Tokenizer, protocol: Protocol) -> Validation | None:
    """The val split as the protocol scores it; None where the data have none (a miniature of the real data, say)."""
    combined = config.data.train == COMBINED
    name, owner = (COMBINED_VALIDATION, None) if combined else (config.data.train, config.data.split_by)
    if SPLIT not in load_refer(data_root(config), name, owner).split_names():
        return None
    evaluation = EvalConfig(dataset=name, split=SPLIT, split_by=owner, resolution=protocol.scoring)
    data = open_evaluation(config, evaluation, tokenizer, protocol)
    size = config.data.image_size
    words = [f"{metric(protocol.best_by).title} on {name} {SPLIT}"]
    words.append(f"{size} x {size}" if protocol.scoring == "resized" else "each picture's own size")
    if protocol.validate_sentences == "first":
        first = [sample for sample in data.samples if sample.sentence.sent_id == sample.ref.sentences[0].sent_id]
        data = replace(data, samples=first)
        words.append("first sentence of each object")
    return Validation(data, protocol, protocol.best_by, ", ".join(words))


def selection_score(records: Records, name: str) -> float:
    """The metric in percent; 0 where it is undefined, which no model is chosen by."""
    score = value(name, records)
    return 0.0 if math.isnan(score) else score
