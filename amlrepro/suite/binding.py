"""To which row an official log belongs: what its own arguments say, and what the user adds; nothing is guessed."""

from __future__ import annotations

import re

from amlrepro.aml.presets import PRESETS
from amlrepro.data.specs import COMBINED, DATASETS, dataset_spec, parse_dataset_split
from amlrepro.errors import UserError, unknown_name
from amlrepro.suite.imported import Binding
from amlrepro.suite.official_log import OfficialLog

PRESET = {"caris": "baseline", "amlris": "released"}  # what the two codes do
TRAINING_SETS = (*(name for name, spec in DATASETS.items() if not spec.multi_target), COMBINED)
METHODS = ("baseline", *(name for name in PRESETS if name != "baseline"))


def bind(
    log: OfficialLog,
    *,
    train: str | None = None,
    data: str | None = None,
    preset: str | None = None,
    checkpoint: str | None = None,
    seed: int | None = None,
) -> Binding:
    """The binding of a log. Options add what the log does not say; raises `UserError` where they contradict it, and
    where something is not known from either."""
    trained = _train(log, train)
    dataset, split, owner = _evaluated(log, data, trained)
    method = _preset(log, preset)
    if log.is_training:
        if checkpoint is not None:
            raise UserError("a training log tells its epochs", where="--checkpoint", found=checkpoint)
        return Binding("training", "caris", method, trained, dataset, split, owner, seed)
    if len(log.scores) != 1:
        found = f"{len(log.scores)}, at lines {', '.join(str(scores.line) for scores in log.scores)}"
        raise UserError("one evaluation a file", where=log.path, found=found, hint="part the file")
    _check_samples(log, dataset, split, owner)
    chosen = _checkpoint(log, checkpoint)
    resolution = log.resolution or "resized"
    return Binding("evaluation", "caris", method, trained, dataset, split, owner, seed, chosen, resolution)


def _argument(log: OfficialLog, name: str) -> tuple[str, str] | None:
    """An argument of the command as the log shows it, and where."""
    if name not in log.arguments:
        return None
    value, line = log.arguments[name]
    return (value, f"{log.path.name}:{line}") if value and not value.startswith("$") else None


def _agree(what: str, given: str | None, told: tuple[str, str] | None, option: str) -> str | None:
    if given is not None and told is not None and given != told[0]:
        raise UserError(f"the log is of another {what}", where=option, found=given, expected=f"{told[0]} ({told[1]})")
    return given if given is not None else told[0] if told else None


def _train(log: OfficialLog, given: str | None) -> str:
    """The training data: of a training log its own `--dataset`, or `combined` with `--mix`."""
    told = _argument(log, "dataset") if log.is_training else None
    mix = _argument(log, "mix")
    if mix is not None and mix[0] == "True":
        told = (COMBINED, mix[1])
    name = _agree("training set", given, told, "--train")
    if name is None:
        raise UserError(
            "the log does not say what was trained on",
            where=log.path,
            expected=f"--train with one of {', '.join(TRAINING_SETS)}",
        )
    if name not in TRAINING_SETS:
        raise unknown_name("training set", name, TRAINING_SETS, "--train")
    return name


def _evaluated(log: OfficialLog, given: str | None, trained: str) -> tuple[str, str, str]:
    """Data set, split and split owner that were evaluated. While training that is val of `--dataset`."""
    told, owner = _argument(log, "dataset"), _argument(log, "splitBy")
    split = ("val", "") if log.is_training else _argument(log, "split")
    if given is None:
        dataset = told[0] if told else trained
        if split is None or dataset == COMBINED:
            where = log.path
            raise UserError("the log does not say what was evaluated", where=where, expected="--data, as refcoco:val")
        given = f"{dataset}:{split[0]}"
    dataset, which, asked = parse_dataset_split(given)
    _agree("data set", dataset, told, "--data")
    _agree("split", asked, split if split and split[1] else None, "--data")
    default = dataset_spec(dataset).default
    if which is None and told is not None and owner is not None and owner[0] in dataset_spec(dataset).partitions:
        which = owner[0]
    return dataset, asked, which or default


def _preset(log: OfficialLog, given: str | None) -> str:
    """The method: what the code does, unless the user says that it was changed to do something else."""
    if given is None:
        if log.code is None:
            expected = "--preset baseline (CARIS) or released (AMLRIS's code)"
            raise UserError("the log does not say which method was trained", where=log.path, expected=expected)
        return PRESET[log.code]
    if given not in METHODS:
        raise unknown_name("method", given, METHODS, "--preset")
    wrong = (log.code == "amlris" and given == "baseline") or (log.code == "caris" and given == "released")
    if wrong:
        losses = "org_loss and sub_loss" if log.code == "amlris" else "total_loss"
        expected = PRESET[str(log.code)]
        raise UserError(
            "the log is of another method", where="--preset", found=given, expected=f"{expected}: it prints {losses}"
        )
    return given


def _checkpoint(log: OfficialLog, given: str | None) -> str:
    """Which weights an evaluation is of: `model_best_...` in the command is `best`."""
    resumed = _argument(log, "resume")
    told = ("best", resumed[1]) if resumed and "model_best" in resumed[0] else None
    name = _agree("checkpoint", given, told, "--checkpoint")
    if name is None:
        expected = "--checkpoint last, best (what the official code saves) or epoch10"
        raise UserError("the log does not say of which weights it is", where=log.path, expected=expected)
    if not re.fullmatch(r"last|best|epoch[1-9]\d*", name):
        raise UserError("no such checkpoint", where="--checkpoint", found=name, expected="last, best or epoch10")
    return name


def _check_samples(log: OfficialLog, dataset: str, split: str, owner: str) -> None:
    official = dataset_spec(dataset).partition(owner).splits[split].sentences
    if log.samples is not None and official is not None and log.samples != official:
        found = f"{log.samples:,} samples"
        expected = f"{official:,}, as {dataset} ({owner}) {split} has"
        raise UserError("the log is of another split", where=log.path, found=found, expected=expected)
