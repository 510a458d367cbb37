"""One probe of one run: measure, write the bulk data, and last the JSON that says what was measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from amlrepro.config import ProbeConfig, RunConfig
from amlrepro.engine.checkpoint import weights_digest
from amlrepro.engine.evaluate import Watch
from amlrepro.engine.probes.alignment import measure_alignment
from amlrepro.engine.probes.cost import device_name, measure_cost
from amlrepro.engine.probes.distortion import measure_distortion
from amlrepro.engine.probes.maps import measure_maps
from amlrepro.engine.probes.subject import Subject, open_subject
from amlrepro.files import atomic_path, write_json
from amlrepro.metrics.alignment import PatchScores, statistics
from amlrepro.rundir import RunDir


@dataclass
class Measured:
    """What a probe found. values: fields of its JSON; patches, arrays: its bulk data; more: further JSON entries."""

    values: dict[str, float | None]
    patches: PatchScores | None = None
    arrays: dict[str, NDArray[Any]] | None = None
    more: dict[str, Any] = field(default_factory=dict)


def run_probe(run: RunDir, config: RunConfig, probe: ProbeConfig, watch: Watch | None = None) -> None:
    """Take one probe of a run and write `probes/<probe_id>.parquet` or `.npz` where it has bulk data, then `.json`.

    config: says where data lie (`exec`); what was trained is read from the checkpoint. A cost probe needs neither
    checkpoint nor folder and trains by `config`. watch(done, total) is called now and then; what it raises ends the
    probe. Nothing of the run and no random state of this process is changed. Raises `UserError` for a missing
    checkpoint, split, picture or setting; nothing is written then.
    """
    if probe.kind == "cost":
        values, more = measure_cost(config, probe, watch)
        _write(run, probe, Measured(values, more=more), _untrained(config))
        return
    gpus = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(gpus):
        subject = open_subject(run, config, probe)
        measured = _measure(subject, probe, watch)
    _write(run, probe, measured, _trained(subject, probe))


def _measure(subject: Subject, probe: ProbeConfig, watch: Watch | None) -> Measured:
    if probe.kind == "alignment":
        patches = measure_alignment(subject, probe, watch)
        return Measured(statistics(patches), patches)
    if probe.kind == "distortion":
        return Measured(measure_distortion(subject, probe, watch))
    arrays, samples = measure_maps(subject, probe, watch)
    known = [sample["iou"] for sample in samples if sample.get("iou") is not None]
    values = {"samples": len(samples), "iou": float(np.mean(known)) if known else None}
    return Measured(values, arrays=arrays, more={"samples": samples})


def _trained(subject: Subject, probe: ProbeConfig) -> dict[str, Any]:
    meta = subject.meta
    return {
        "run_id": meta["run_id"],
        "checkpoint": probe.checkpoint,
        "epoch": meta["epoch"],
        "step": meta["step"],
        "weights_sha256": weights_digest(subject.path),
        "device": device_name(subject.device),
    }


def _untrained(config: RunConfig) -> dict[str, Any]:
    return {"run_id": config.run_id, "checkpoint": None, "epoch": 0, "step": 0, "weights_sha256": None}


def _write(run: RunDir, probe: ProbeConfig, measured: Measured, of: dict[str, Any]) -> None:
    stem = run.probes / probe.probe_id
    if measured.patches is not None:
        measured.patches.write(_beside(stem, ".parquet"))
    if measured.arrays is not None:
        with atomic_path(_beside(stem, ".npz")) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **measured.arrays)  # type: ignore[arg-type]
    head = {"probe_id": probe.probe_id, "probe": probe.model_dump(mode="json"), **of}
    write_json(_beside(stem, ".json"), {**head, "values": measured.values, **measured.more})


def _beside(stem: Path, suffix: str) -> Path:
    return stem.with_name(stem.name + suffix)
