"""What runs wrote while they trained, as event files for TensorBoard: made afterwards, from the store alone.

One folder a run. Tags: `train/...` by update, `epoch/...` and `validation/...` by epoch, `<data set>.<split>/<metric>`
by epoch for evaluations (perturbed pictures and other text in the name), and the configuration as text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from amlrepro.config import EvalConfig, load_config
from amlrepro.errors import UserError
from amlrepro.files import atomic_path, read_json
from amlrepro.metrics.compute import METRICS
from amlrepro.models.registry import get_spec
from amlrepro.rundir import RunDir
from amlrepro.suite.exported import Exported, claim_folder, usual_metrics
from amlrepro.suite.store import Store, read_eval_config

EXTRA = "amlrepro[export]"
GROUPS = {"step": "train", "epoch": "epoch", "validation": "validation"}
NOT_PLOTTED = ("kind", "step", "epoch", "eta_s")


def export_tensorboard(store: Store, run_ids: Sequence[str], folder: Path, force: bool = False) -> Exported:
    """Write the histories and evaluations of some runs into `folder/<run id>/`; the same store gives the same bytes.

    Raises `UserError` where the package tensorboard is missing, and for a folder that is not empty without `force`.
    """
    _require()
    claim_folder(folder, force)
    files, without = [], []
    for run_id in run_ids:
        events = list(_events(store, run_id))
        if len(events) < 2:  # the head alone
            without.append(run_id)
            continue
        path = folder / run_id / f"events.out.tfevents.{int(events[0].wall_time)}.amlrepro"
        _write(path, events)
        files.append(path)
    return Exported(folder, tuple(files), tuple(f"{run_id}: no history yet" for run_id in without))


def _require() -> None:
    try:
        import tensorboard.compat.proto.event_pb2  # noqa: F401
    except ImportError:
        raise UserError(
            "event files are written by the package tensorboard, which is not installed",
            hint=f"pip install '{EXTRA}', or pip install tensorboard",
        ) from None


def _write(path: Path, events: Sequence[Any]) -> None:
    from tensorboard.summary.writer.record_writer import RecordWriter

    with atomic_path(path) as temporary, temporary.open("wb") as file:
        writer = RecordWriter(file)
        for event in events:
            writer.write(event.SerializeToString())
        writer.flush()


def _events(store: Store, run_id: str) -> Iterator[Any]:
    """The head of the file, then one event a row."""
    from tensorboard.compat.proto.event_pb2 import Event

    run = store.run(run_id)
    rows = run.history_rows()
    clock = Clock(rows, _started(run))
    yield Event(wall_time=clock.start, file_version="brain.Event:2")
    if not rows:
        return
    yield _text("config", run.config.read_text("utf-8"), clock.start)
    model = load_config(run.config).model.name
    for row in rows:
        group = GROUPS.get(str(row.get("kind")))
        if group is not None:
            step = row["step"] if group == "train" else row["epoch"]
            values = {f"{group}/{key}": value for key, value in row.items() if key not in NOT_PLOTTED}
            yield _scalars(values, step, clock.at(row["step"]))
    last = clock.at(rows[-1].get("step", 0))
    for path in sorted(run.evals.glob("*.json")):
        meta = dict(store.read(path))
        name = evaluation_title(read_eval_config(meta, path), model)
        values = {f"{name}/{METRICS[k].title}": found.value for k, found in usual_metrics(path, meta).items()}
        yield _scalars(values, meta.get("epoch", 0), last)


def evaluation_title(evaluation: EvalConfig, model: str) -> str:
    """`refcoco.val`, and what is not as usual for a model: `refcocog(google).val, haze 4, original, epoch10`."""
    usual = get_spec(model).protocol.scoring
    owner = f"({evaluation.split_by})" if evaluation.split_by else ""
    severity = "" if evaluation.severity is None else f" {evaluation.severity}"
    special = [
        f"{evaluation.perturbation}{severity}" if evaluation.perturbation else "",
        evaluation.resolution if evaluation.resolution != usual else "",
        "other sentences" if evaluation.text != "own" else "",
        evaluation.checkpoint if evaluation.checkpoint != "last" else "",
    ]
    return ", ".join([f"{evaluation.dataset}{owner}.{evaluation.split}", *filter(None, special)])


class Clock:
    """Seconds since 1970 for an update: the first session's start and the seconds of training until then.

    Rows carry no time of day. Between ends of epochs seconds are spread evenly over the updates; pauses, validation and
    evaluation take no time on this clock.
    """

    def __init__(self, rows: Sequence[Mapping[str, Any]], start: float) -> None:
        self.start = start
        self._marks = [(0, 0.0)]
        for row in rows:
            if row.get("kind") == "epoch":
                self._marks.append((int(row["step"]), self._marks[-1][1] + float(row.get("seconds") or 0.0)))

    def at(self, step: int) -> float:
        """When that update was over."""
        before, after = self._marks[0], self._marks[-1]
        for mark in self._marks:
            if mark[0] >= step:
                after = mark
                break
            before = mark
        if after[0] <= before[0]:  # no epoch is over, or none after `step`
            rate = before[1] / before[0] if before[0] else 0.0
            return self.start + before[1] + rate * (step - before[0])
        return self.start + before[1] + (after[1] - before[1]) * (step - before[0]) / (after[0] - before[0])


def _started(run: RunDir) -> float:
    if not run.provenance.exists():
        return 0.0
    sessions = read_json(run.provenance).get("sessions", [])
    return float(sessions[0]["start"]) if sessions else 0.0


def _scalars(values: Mapping[str, Any], step: int, wall_time: float) -> Any:
    """One event with every value that is a number; what is None was not finite or not measured."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    numbers = {k: v for k, v in values.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}
    parts = [Summary.Value(tag=tag, simple_value=float(number)) for tag, number in numbers.items()]
    return Event(wall_time=wall_time, step=int(step), summary=Summary(value=parts))


def _text(tag: str, text: str, wall_time: float) -> Any:
    """Preformatted text on TensorBoard's page of texts."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.types_pb2 import DT_STRING
    from tensorboard.plugins.text.metadata import create_summary_metadata

    indented = "".join(f"    {line}\n" for line in text.splitlines())  # Markdown's way to leave it as it is
    tensor = TensorProto(dtype=DT_STRING, string_val=[indented.encode()])
    metadata = create_summary_metadata(display_name=tag, description="")
    return Event(wall_time=wall_time, summary=Summary(value=[Summary.Value(tag=tag, tensor=tensor, metadata=metadata)]))
