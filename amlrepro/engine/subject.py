"""A subject from a file: an official checkpoint as its authors publish it, or one of our own checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from amlrepro.config import EvalConfig, RunConfig, parse_config
from amlrepro.data.digest import data_digest
from amlrepro.data.loader import open_evaluation
from amlrepro.data.seen import Seen, seen_images
from amlrepro.data.source import data_root
from amlrepro.data.tokens import Tokenizer, build_tokenizer
from amlrepro.engine.checkpoint import is_ours, load_for_evaluation
from amlrepro.engine.evaluate import Watch, chosen_precision, evaluate
from amlrepro.errors import UserError
from amlrepro.files import sha256_file
from amlrepro.metrics.records import Records
from amlrepro.models import load_official
from amlrepro.models.contract import RISModel
from amlrepro.models.converted import vocabulary_size
from amlrepro.models.registry import get_spec

OFFICIAL = "official"


@dataclass(frozen=True)
class Subject:
    """What is measured. config: how its inputs are made; sha256: of the file; origin: `official` or a run's id."""

    model: RISModel
    tokenizer: Tokenizer
    config: RunConfig
    path: Path
    sha256: str
    origin: str

    def described(self) -> dict[str, str]:
        """Entries for an evaluation's JSON."""
        return {"file": self.path.name, "sha256": self.sha256, "model": self.config.model.name, "origin": self.origin}

    def seen(self, config: RunConfig, records: Records) -> Seen:
        """Which evaluated images it was trained on, as far as its file and the data root of `config` tell."""
        if self.origin == OFFICIAL:
            return Seen(None, "an official checkpoint does not say what it was trained on")
        return seen_images(self.config, data_root(config), records.image_id)


def open_subject(path: Path, model: str, dataset: str, split_by: str | None, vocabulary: Path | None) -> Subject:
    """Load a checkpoint of the model called `model`.

    An official one is fed by the model's protocol (input size, text field, word limit of the data set, pretrained
    tokeniser, which `vocabulary` may locate); one of ours carries all of this. Raises `UserError` for a file that
    is missing, torn, or of another model.
    """
    spec = get_spec(model)
    if not path.is_file():
        raise UserError("no such checkpoint", where=path)
    if is_ours(path):
        loaded, tokenizer, config = load_for_evaluation(path)
        if config.model.name != model:
            found, expected = config.model.name, model
            raise UserError("a checkpoint of another model", where=path, found=found, expected=expected)
        return Subject(loaded, tokenizer, config, path, sha256_file(path), config.run_id)
    protocol = spec.protocol
    config = parse_config(
        {
            "model": {"name": model},
            "data": {
                "train": dataset,
                "split_by": split_by,
                "text": protocol.text,
                "vocabulary": protocol.vocabulary,
                "image_size": protocol.image_size,
                "max_tokens": protocol.max_tokens(dataset, split_by),
            },
            "exec": {"text_weights": str(vocabulary) if vocabulary else None},
        }
    )
    loaded = load_official(model, path, **spec.official_input)
    tokenizer = build_tokenizer(config, ())
    rows = vocabulary_size(loaded)
    if rows != tokenizer.vocab_size:
        found, expected = f"{tokenizer.vocab_size} pieces", f"{rows}, as the checkpoint has them"
        raise UserError("the vocabulary does not fit the checkpoint", where="--vocab", found=found, expected=expected)
    return Subject(loaded, tokenizer, config, path, sha256_file(path), OFFICIAL)


def evaluate_subject(
    subject: Subject, evaluation: EvalConfig, execution: Mapping[str, object], device: str, watch: Watch | None = None
) -> tuple[Records, EvalConfig, RunConfig]:
    """Evaluate on `device`, in the precision of `evaluation`; returns also the evaluation with the data's digest, and
    how it was fed.

    execution: entries of `exec` (data_root, image_root, eval_batch). Raises `UserError` for missing data.
    """
    config = subject.config.with_changes({f"exec.{key}": value for key, value in execution.items()}, "evaluation")
    data = open_evaluation(config, evaluation, subject.tokenizer, subject.model.protocol)
    digest = data_digest(Path(str(config.exec.data_root)), evaluation.dataset, evaluation.split_by)
    evaluation = evaluation.model_copy(update={"data_digest": digest})
    precision = chosen_precision(evaluation, device)
    return evaluate(subject.model.to(device), data, evaluation.resolution, precision, watch), evaluation, config
