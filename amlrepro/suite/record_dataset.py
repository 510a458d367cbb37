"""The records of a store as a data set in the Hugging Face Hub's form: Parquet files and a card, written to disk.

README.md                          the card: what it is, columns, sizes
records/<data set>/<split>.parquet one row a sample and evaluation, one row group an evaluation
evaluations.parquet                one row an evaluation: what was measured, metrics with intervals
runs.parquet                       one row a training: its configuration, code and versions; no host, no path
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from amlrepro.aml.presets import describe
from amlrepro.config import EvalConfig, RunConfig, load_config
from amlrepro.data.specs import dataset_spec
from amlrepro.files import atomic_path, write_text
from amlrepro.metrics.compute import DEFAULT_METRICS, GENERALIZED_METRICS
from amlrepro.metrics.records import COLUMNS, Records
from amlrepro.metrics.summary import records_path
from amlrepro.suite.dataset_card import Table, card
from amlrepro.suite.exported import Exported, claim_folder, usual_metrics
from amlrepro.suite.profile import load_profile
from amlrepro.suite.store import Store, is_stale, read_eval_config

SUBJECT = {  # what stands beside every record: which evaluation it is of
    "subject": "string",
    "model": "string",
    "method": "string",
    "train": "string",
    "seed": "int64",
    "eval_id": "string",
    "checkpoint": "string",
    "epoch": "int64",
    "resolution": "string",
    "text": "string",
    "perturbation": "string",
    "severity": "int64",
    "precision": "string",
}
RECORD = {name: {"bool_": "bool"}.get(dtype.__name__, dtype.__name__) for name, dtype in COLUMNS.items()}
METRICS = (*DEFAULT_METRICS, *GENERALIZED_METRICS)
EVALUATION = {
    "dataset": "string",
    "split": "string",
    "split_by": "string",
    "samples": "int64",
    "images": "int64",
    "records_sha256": "string",
    **{f"{name}{end}": "float64" for name in METRICS for end in ("", "_low", "_high")},
}
RUN = {
    "run_id": "string",
    "model": "string",
    "method": "string",
    "train": "string",
    "seed": "int64",
    "epochs": "int64",
    "state": "string",
    "source": "string",
    "config": "string",
    "commit": "string",
    "versions": "string",
}


@dataclass(frozen=True)
class Evaluated:
    """One evaluation of the store. meta: content of the JSON at `path`; subject: the run's part of `SUBJECT`."""

    config: EvalConfig
    meta: Mapping[str, Any]
    path: Path
    subject: Mapping[str, Any]

    @property
    def group(self) -> tuple[str, str]:
        """Data set, with the split owner where it is not the data set's own, and split."""
        spec = dataset_spec(self.config.dataset)
        owner = spec.partition(self.config.split_by).split_by
        return self.config.dataset + ("" if owner == spec.default else f"-{owner}"), self.config.split

    def columns(self) -> dict[str, Any]:
        """The entries of `SUBJECT`."""
        config = self.config
        own = {
            "eval_id": config.eval_id,
            "checkpoint": config.checkpoint,
            "epoch": self.meta.get("epoch"),
            "resolution": config.resolution,
            "text": config.text,
            "perturbation": config.perturbation,
            "severity": config.severity,
            "precision": config.precision,
        }
        return {**self.subject, **own}


def export_records(
    store: Store, run_ids: Sequence[str], folder: Path, force: bool = False, subjects: bool = True
) -> Exported:
    """Write the records of some runs as a data set that `datasets.load_dataset(folder)` reads.

    subjects: evaluations of weights from files too. Runs of an older version and evaluations of older weights are left
    out. Raises `UserError` for a folder that is not empty without `force`.
    """
    claim_folder(folder, force)
    stale = [run_id for run_id in run_ids if is_stale(store.run(run_id))]
    fresh = [run_id for run_id in run_ids if run_id not in stale]
    found = [each for run_id in fresh for each in _evaluations(store, run_id)]
    found += list(_of_files(store)) if subjects else []
    tables = []
    for name, split in sorted({each.group for each in found}):
        mine = [each for each in found if each.group == (name, split)]
        tables.append(_write_records(folder, name, split, mine))
    rows = [_evaluation_row(each) for each in found]
    tables.append(_write_rows(folder, "evaluations", {**SUBJECT, **EVALUATION}, rows))
    tables.append(_write_rows(folder, "runs", RUN, [_run_row(store, run_id) for run_id in fresh]))
    text = card(tables, store.profile, _watermarks(store, fresh), len(found))
    write_text(folder / "README.md", text)
    files = (folder / "README.md", *(folder / table.path for table in tables))
    return Exported(folder, files, tuple(f"{run_id}: made by an older version" for run_id in stale))


def _evaluations(store: Store, run_id: str) -> Iterator[Evaluated]:
    run = store.run(run_id)
    config = load_config(run.config)
    subject = {
        "subject": run_id,
        "model": config.model.name,
        "method": describe(config),
        "train": config.data.train,
        "seed": config.seed,
    }
    for path in sorted(run.evals.glob("*.json")):
        evaluation = read_eval_config(store.read(path), path)
        if store.eval_present(run_id, evaluation):
            yield Evaluated(evaluation, dict(store.read(path)), path, subject)


def _of_files(store: Store) -> Iterator[Evaluated]:
    """Evaluations of weights from files; what those were trained on is not known here."""
    for path in sorted((store.folder / "subjects").glob("*/evals/*.json")):
        if records_path(path).exists():
            meta = dict(store.read(path))
            subject = {
                "subject": f"sha256:{meta['sha256'][:16]}",
                "model": meta["model"],
                "method": meta["origin"],
                "train": None,
                "seed": None,
            }
            yield Evaluated(read_eval_config(meta, path), meta, path, subject)


def _write_records(folder: Path, name: str, split: str, found: Sequence[Evaluated]) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {**SUBJECT, **RECORD}
    schema = _schema(types)
    path = Path("records") / name / f"{split}.parquet"
    rows = size = 0
    with atomic_path(folder / path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for each in found:
            records = Records.read(records_path(each.path))
            constant = {
                k: pa.repeat(pa.scalar(v, schema.field(k).type), len(records)) for k, v in each.columns().items()
            }
            table = pa.table({**constant, **records.columns()}).select(list(types)).cast(schema)
            writer.write_table(table, row_group_size=max(len(records), 1))
            rows, size = rows + len(records), size + table.nbytes
    return Table(name, split, path, types, rows, size)


def _write_rows(folder: Path, name: str, types: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema(types)
    table = pa.Table.from_pylist([{key: row.get(key) for key in types} for row in rows], schema=schema)
    path = Path(f"{name}.parquet")
    with atomic_path(folder / path) as temporary:
        pq.write_table(table, temporary, compression="zstd")
    return Table(name, name, path, types, table.num_rows, table.nbytes)


def _schema(types: Mapping[str, str]) -> Any:
    import pyarrow as pa

    return pa.schema([(name, getattr(pa, {"bool": "bool_"}.get(kind, kind))()) for name, kind in types.items()])


def _evaluation_row(each: Evaluated) -> dict[str, Any]:
    found = usual_metrics(each.path, each.meta)
    metrics: dict[str, float | None] = {}
    for name, measured in found.items():
        low, high = (measured.interval.low, measured.interval.high) if measured.interval else (None, None)
        metrics |= {name: measured.value, f"{name}_low": low, f"{name}_high": high}
    return {
        **each.columns(),
        "dataset": each.config.dataset,
        "split": each.config.split,
        "split_by": dataset_spec(each.config.dataset).partition(each.config.split_by).split_by,
        "samples": each.meta["samples"],
        "images": next(iter(found.values())).images,
        "records_sha256": each.meta["records_sha256"],
        **metrics,
    }


def _run_row(store: Store, run_id: str) -> dict[str, Any]:
    run, status = store.run(run_id), store.status(run_id)
    config = load_config(run.config)
    sessions = (store.read(run.provenance) or {}).get("sessions", [])
    last = sessions[-1] if sessions else {}
    return {
        "run_id": run_id,
        "model": config.model.name,
        "method": describe(config),
        "train": config.data.train,
        "seed": config.seed,
        "epochs": status.epoch,
        "state": status.state,
        "source": config.data.source,
        "config": _recipe_text(config),
        "commit": (last.get("git") or {}).get("commit"),
        "versions": json.dumps(last.get("versions") or {}, sort_keys=True),
    }


def _recipe_text(config: RunConfig) -> str:
    """The configuration without `exec`, which says where on this machine things lie."""
    values = config.model_dump(mode="json")
    values.pop("exec")
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def _watermarks(store: Store, run_ids: Sequence[str]) -> list[str]:
    """What is to be said of results that are no evidence about the paper."""
    spec = load_profile(store.profile)
    said = []
    for run_id in run_ids:
        own = load_config(store.run(run_id).config).data.source == spec.source
        said.append(spec.watermark if own else spec.real_watermark)
    return [text for text in dict.fromkeys(said) if text]
