"""Imported logs: numbers that the official code printed, bound to a row, without records.

`logs/<sha256>.json` in the store holds what one log says, each number with its line. Such a number is shown where a
cell has none of ours, and marked. It never counts among our seeds: it has no interval and enters no difference, no
calculated cell and no verdict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

from amlrepro.aml.presets import describe
from amlrepro.config import EvalConfig, RunConfig
from amlrepro.data.specs import dataset_spec
from amlrepro.errors import UserError
from amlrepro.files import write_json
from amlrepro.metrics.compute import metric
from amlrepro.suite.official_log import OfficialLog, Scores

if TYPE_CHECKING:
    from amlrepro.suite.plan import Cell, Plan, PlannedRun
    from amlrepro.suite.store import Store

FORMAT = 1
Kind = Literal["training", "evaluation"]


@dataclass(frozen=True)
class Binding:
    """What a log is of. preset: the method as our rows call it (`baseline`, `released`); train: training data; seed:
    None where nobody knows it (the official code sets none). dataset, split, split_by: what was evaluated. checkpoint:
    `last`, `best` or `epoch<E>` of a stand-alone evaluation; a training log has its epochs."""

    kind: Kind
    model: str
    preset: str
    train: str
    dataset: str
    split: str
    split_by: str | None
    seed: int | None = None
    checkpoint: str | None = None
    resolution: Literal["resized", "original"] = "resized"

    @property
    def title(self) -> str:
        """`caris baseline trained on refcoco+, refcoco+ val`."""
        owner = f" ({self.split_by})" if self.split_by else ""
        seed = "" if self.seed is None else f", seed {self.seed}"
        which = f", checkpoint {self.checkpoint}" if self.checkpoint else ""
        return f"{self.model} {self.preset} trained on {self.train}{seed}: {self.dataset}{owner} {self.split}{which}"


@dataclass(frozen=True)
class ImportedLog:
    """A log in the store. values: what `write_import` wrote."""

    binding: Binding
    values: Mapping[str, Any]

    @property
    def name(self) -> str:
        return str(self.values["file"])


@dataclass(frozen=True)
class ImportedNumber:
    """A cell's number from imported logs: their mean, in the metric's unit. says: what it is, for a footnote that all
    numbers of a log share; places: where it stands, `file line N` each."""

    value: float
    says: str
    places: tuple[str, ...]


def write_import(store: Store, log: OfficialLog, binding: Binding, force: bool = False) -> Path:
    """Keep a log in the store; the same log with the same binding is kept once.

    Raises `UserError` without `force` where this log is there with another binding, or another log with this one.
    """
    path = store.folder / "logs" / f"{log.sha256[:16]}.json"
    for other in read_imports(store):
        same_file, same_row = other.values["sha256"] == log.sha256, other.binding == binding
        if same_file and not same_row and not force:
            found = other.binding.title
            raise UserError(
                "this log was imported as something else", where=log.path, found=found, hint="--force replaces that"
            )
        if same_row and not same_file:
            if not force:
                hint = "tell them apart by --seeds, or replace the other by --force"
                raise UserError(f"another log is there as {binding.title}", where=log.path, found=other.name, hint=hint)
            (store.folder / "logs" / f"{other.values['sha256'][:16]}.json").unlink()
    write_json(path, _as_json(log, binding))
    return path


def read_imports(store: Store) -> list[ImportedLog]:
    """All imported logs of a store, by file name; raises `UserError` for a file that is none."""
    out = []
    for path in sorted((store.folder / "logs").glob("*.json")):
        values = dict(store.read(path) or {})
        if values.get("format") != FORMAT:
            raise UserError("not an imported log", where=path, found=f"format {values.get('format')}")
        out.append(ImportedLog(Binding(**values["binding"]), values))
    return sorted(out, key=lambda each: each.name)


def imported_number(logs: Sequence[ImportedLog], plan: Plan, cell: Cell) -> ImportedNumber | None:
    """What imported logs say of a measured cell; None where they say nothing, and on watermarked results.

    A training log answers for its last epoch where that is the run's last, and for milestones it validated. A
    stand-alone evaluation answers for its own checkpoint; that of `best` also for `last`, and says so.
    """
    if plan.watermark or cell.kind != "measured" or cell.subset != "all" or not cell.evaluations:
        return None
    request = cell.evaluations[0]
    run = plan.runs[request.run_id]
    mine = [log for log in logs if _fits(log.binding, run.config, request.eval)]
    found: dict[str, tuple[Mapping[str, Any], str]] = {}
    for exact in (True, False):  # the very checkpoint goes first
        if not found:
            found = {log.name: entry for log in mine if (entry := _entry(log, cell.metric, request.eval, run, exact))}
    if not found:
        return None
    places = tuple(f"{name} line {number['line']}" for name, (number, _) in found.items())
    names = "; ".join(f"{name}, {when}" for name, (_, when) in found.items())
    several = f"mean of {len(found)} imported logs" if len(found) > 1 else "from an imported log"
    value = fmean(float(number["value"]) for number, _ in found.values())
    return ImportedNumber(value, f"{several}, no records and so no interval: {names}", places)


def _fits(binding: Binding, config: RunConfig, evaluation: EvalConfig) -> bool:
    """Whether a log is of this row, data and way of scoring; seeds are not compared."""
    if evaluation.perturbation or evaluation.text != "own" or binding.resolution != evaluation.resolution:
        return False
    owner = dataset_spec(evaluation.dataset).partition(evaluation.split_by).split_by
    trained = (binding.model, binding.preset, binding.train)
    scored = (binding.dataset, binding.split, binding.split_by)
    return trained == (config.model.name, describe(config), config.data.train) and scored == (
        evaluation.dataset,
        evaluation.split,
        owner,
    )


def _entry(
    log: ImportedLog, name: str, evaluation: EvalConfig, run: PlannedRun, exact: bool
) -> tuple[Mapping[str, Any], str] | None:
    """The number of a metric in a log, and in words of which weights it is."""
    scores = log.values["scores"]
    if log.binding.kind == "evaluation":
        checkpoint = log.binding.checkpoint
        fits = (
            checkpoint == evaluation.checkpoint if exact else checkpoint == "best" and evaluation.checkpoint == "last"
        )
        words = "checkpoint best (chosen on val)" if checkpoint == "best" else f"checkpoint {checkpoint}"
        return (scores[0]["metrics"][name], words) if fits and name in scores[0]["metrics"] else None
    if not exact or (epoch := _asked_epoch(evaluation.checkpoint, run, scores)) is None:
        return None
    found = [each for each in scores if each["after"] == epoch and name in each["metrics"]]
    if not found:
        return None
    chosen = ", chosen on val" if evaluation.checkpoint == "best" else ""
    return found[-1]["metrics"][name], f"after epoch {epoch}{chosen}{_updates(log, run)}"


def _asked_epoch(checkpoint: str, run: PlannedRun, scores: Sequence[Mapping[str, Any]]) -> int | None:
    if checkpoint == "last":
        return run.until
    if checkpoint == "best":
        return next((each["after"] for each in reversed(scores) if each["better"]), None)
    return int(checkpoint.removeprefix("epoch"))


def _updates(log: ImportedLog, run: PlannedRun) -> str:
    """What is said where the log's epochs have another number of updates than ours: the batch was another one."""
    theirs = log.values["updates_per_epoch"]
    ours = run.refs // run.config.train.batch if run.refs else None
    return "" if theirs is None or ours is None or theirs == ours else f" of {theirs} updates each (ours have {ours})"


def _as_json(log: OfficialLog, binding: Binding) -> dict[str, Any]:
    updates = {window.of for window in log.windows}
    return {
        "format": FORMAT,
        "file": log.path.name,
        "sha256": log.sha256,
        "lines": log.lines,
        "code": log.code,
        "binding": asdict(binding),
        "arguments": {name: {"value": value, "line": line} for name, (value, line) in log.arguments.items()},
        "epochs": log.epochs,
        "updates_per_epoch": updates.pop() if len(updates) == 1 else None,
        "skipped_batches": log.skipped,
        "scores": [_scores(each) for each in log.scores],
        "windows": [_window(each.after, each.update, each.line, each.values) for each in log.windows],
        "broken": [asdict(each) for each in log.broken],
        "begun_again": log.begun_again,
    }


def _scores(scores: Scores) -> dict[str, Any]:
    metrics = {metric(name).name: asdict(read) for name, read in scores.metrics.items() if read.value == read.value}
    return {"after": scores.after, "line": scores.line, "better": scores.better, "metrics": metrics}


def _window(after: int, update: int, line: int, values: Mapping[str, tuple[float, float]]) -> dict[str, Any]:
    """The current value where the log prints one (lr), else the mean of the epoch; what is not finite is left out."""
    numbers = {name: mean for name, (_, mean) in values.items() if abs(mean) < float("inf")}
    return {"after": after, "update": update, "line": line, **numbers}
