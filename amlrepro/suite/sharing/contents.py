"""Whether what came in an archive is a run: its name follows from its configuration, its records are what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from amlrepro.config import EvalConfig, ProbeConfig, load_config
from amlrepro.errors import UserError
from amlrepro.metrics.records import COLUMNS, Records
from amlrepro.rundir import RunDir
from amlrepro.schema import parse_strict
from amlrepro.suite.safetensors_file import METADATA, read_header
from amlrepro.suite.sharing.manifest import parse_json
from amlrepro.suite.sharing.scrub import HEADER

MOST_ROWS = 50_000_000
LARGEST_TABLE = 8 << 30  # bytes, unpacked
_NUMBERS = ("int", "uint", "float", "double", "bool")


def check_run(run: RunDir) -> None:
    """Raises `UserError` unless the folder holds a finished run of that name and nothing that contradicts it."""
    _check_config(run)
    state = _object(run.state)
    if state.get("state") != "done" or not isinstance(state.get("epoch"), int):
        raise UserError("not the state of a finished run", where=_name(run.state), found=str(state)[:200])
    if run.provenance.exists():
        provenance = _object(run.provenance)
        _same("the provenance is of another run", run.provenance, provenance.get("run_id"), run.path.name)
        if not isinstance(provenance.get("sessions"), list):
            raise UserError("a provenance lists sessions", where=_name(run.provenance))
    if run.history.exists():
        for line in run.history.read_bytes().splitlines():
            if not isinstance(parse_json(line, _name(run.history), finite=False), dict):
                raise UserError("not a row of a history", where=_name(run.history), found=line[:80])
    for path in _files(run.evals):
        _check_eval(run, path)
    for path in _files(run.probes):
        _check_probe(run, path)
    for path in _files(run.checkpoints):
        _check_checkpoint(run, path, state)


def _check_config(run: RunDir) -> None:
    """The name is what the configuration is called, so that nothing can pass for another recipe."""
    if not run.config.exists():
        raise UserError("a run without its configuration", where=_name(run.config))
    try:
        events = yaml.parse(run.config.read_text("utf-8"), Loader=yaml.SafeLoader)
        if any(isinstance(event, yaml.AliasEvent) for event in events):  # they can stand for endless text
            raise UserError("a configuration has no aliases", where=_name(run.config))
        config = load_config(run.config)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise UserError("not a YAML file", where=_name(run.config), found=str(error)[:200]) from error
    except UserError as error:
        raise UserError(error.what, where=_name(run.config), found=error.found, hint=error.hint) from None
    if config.run_id != run.path.name:
        raise UserError(
            "a run's name is not what its configuration is called",
            where=_name(run.config),
            found=run.path.name,
            expected=config.run_id,
            hint="it was changed, or made by another version of this package",
        )


def _check_eval(run: RunDir, path: Path) -> None:
    """A table of records with its description: each needs the other, and the digest of the one is in the other."""
    records, meta = path.with_name(f"{path.stem}.parquet"), path.with_name(f"{path.stem}.json")
    if not records.exists() or not meta.exists():
        raise UserError("an evaluation is its records and what they are records of", where=_name(path))
    if path == meta:
        return
    values = _object(meta)
    if "summary" in values:  # reports would believe it
        raise UserError(
            "an evaluation in an archive brings no metrics; they follow from its records", where=_name(meta)
        )
    evaluation = parse_strict(EvalConfig, values.get("eval") or {}, _name(meta))
    _same("an evaluation's name is not what its configuration is called", meta, meta.stem, evaluation.eval_id)
    _same("the evaluation is of another run", meta, values.get("run_id"), run.path.name)
    if not isinstance(values.get("epoch"), int):
        raise UserError("an evaluation tells its epoch", where=_name(meta), found=values.get("epoch"))
    _check_table(records, {name: _type(kind.__name__) for name, kind in COLUMNS.items()})
    try:
        found = Records.read(records)
    except UserError as error:
        raise UserError(error.what, where=_name(records), found=error.found) from None
    _same("the records are not those that the evaluation names", records, values.get("records_sha256"), found.digest())


def _check_probe(run: RunDir, path: Path) -> None:
    meta = path.with_name(f"{path.stem}.json")
    if not meta.exists():
        raise UserError("a probe's table without the probe", where=_name(path))
    if path != meta:
        _check_table(path, None)
        return
    values = _object(meta)
    probe = parse_strict(ProbeConfig, values.get("probe") or {}, _name(meta))
    _same("a probe's name is not what its configuration is called", meta, meta.stem, probe.probe_id)
    _same("the probe is of another run", meta, values.get("run_id"), run.path.name)
    measured = values.get("values")
    if not isinstance(measured, dict) or not all(v is None or isinstance(v, int | float) for v in measured.values()):
        raise UserError("a probe's values are numbers", where=_name(meta))


def _check_table(path: Path, columns: dict[str, str] | None) -> None:
    """A table's description of itself, before anything of it is read. columns: types by name; None for any numbers."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_metadata(path)
        schema = metadata.schema.to_arrow_schema()
    except (pa.ArrowException, OSError) as error:
        raise UserError("not a Parquet file", where=_name(path), found=str(error).split("\n")[0]) from error
    found = {field.name: str(field.type) for field in schema}
    if columns is not None and found != columns:
        wrong = next((name for name in {**columns, **found} if found.get(name) != columns.get(name)), "")
        told = f"{wrong} {found.get(wrong, 'is not there')}"
        raise UserError("not a table of records", where=_name(path), found=told, expected=columns.get(wrong, "no such"))
    odd = [name for name, kind in found.items() if not kind.startswith(_NUMBERS)]
    if odd or len(found) != len(schema):
        raise UserError("a table of results holds numbers", where=_name(path), found=odd)
    unpacked = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    if metadata.num_rows > MOST_ROWS or unpacked > LARGEST_TABLE:
        raise UserError(
            "a table is too large", where=_name(path), found=f"{metadata.num_rows:,} rows, {unpacked:,} bytes"
        )


def _check_checkpoint(run: RunDir, path: Path, state: dict[str, Any]) -> None:
    weights, brief = path.with_suffix(".safetensors"), path.with_suffix(".json")
    if not weights.exists() or not brief.exists():
        raise UserError("a checkpoint is its weights and what they are", where=_name(path))
    if path == brief:
        _same("the checkpoint is of another run", path, _object(brief).get("run_id"), run.path.name)
        return
    try:
        header = read_header(weights)[0]
    except UserError as error:
        raise UserError(error.what, where=_name(weights), found=error.found) from None
    text = (header.get(METADATA) or {}).get(HEADER)
    meta = parse_json(str(text).encode(), _name(weights))
    if not isinstance(meta, dict):
        raise UserError("not a checkpoint of this project", where=_name(weights))
    _same("the checkpoint is of another run", weights, meta.get("run_id"), run.path.name)
    if path.stem == "last":
        _same("the last checkpoint is of another epoch than the run", weights, meta.get("epoch"), state["epoch"])


def _object(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise UserError("a run lacks a file", where=_name(path))
    values = parse_json(path.read_bytes(), _name(path))
    if not isinstance(values, dict):
        raise UserError("not a JSON object", where=_name(path), found=type(values).__name__)
    return values


def _same(what: str, path: Path, found: object, expected: object) -> None:
    if found != expected:
        raise UserError(what, where=_name(path), found=found, expected=expected)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _type(name: str) -> str:
    """What Parquet calls one of numpy's types."""
    return "bool" if name.startswith("bool") else name


def _name(path: Path) -> str:
    """A file by its path in the archive."""
    parts = path.parts
    return "/".join(parts[parts.index("runs", len(parts) - 4) :]) if "runs" in parts[-4:] else path.name
