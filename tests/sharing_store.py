"""Stores as trainings leave them, with all that must not leave the house; archives taken apart and put together."""

from __future__ import annotations

import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from fake_store import fill, make_plan

from amlrepro.config import ProbeConfig, dump_config, load_config
from amlrepro.files import read_json, write_json, write_text
from amlrepro.metrics.alignment import PatchScores
from amlrepro.rundir import RunDir
from amlrepro.suite.sharing.manifest import MANIFEST, digest
from amlrepro.suite.store import Store

HOST, USER, ROOT = "gpu17.lab.example.org", "meyer", "/home/meyer/data"
SECRETS = (HOST, USER, "/home", "/scratch", "5.15.0-77-secret", "hunter2")
Entries = dict[str, bytes]


def lab_store(root: Path, seeds: tuple[int, ...] = (0,), shift: float = 0.0) -> Store:
    """A store in which Table 1's runs of the smoke profile have ended, with records, probes and weights."""
    plan = make_plan("smoke", seeds)
    store = Store(root, "smoke")
    fill(store, plan, samples=40, images=10, shift=shift)
    for run in plan.runs.values():
        finish(store.run(run.run_id))
    return store


def finish(run: RunDir) -> None:
    """Everything else that a training leaves."""
    config = load_config(run.config)
    here = {"exec.data_root": ROOT, "exec.vision_weights": f"{ROOT}/swin.pth"}
    write_text(run.config, dump_config(config.with_changes(here)))
    session = {
        "start": 1.0,
        "end": 61.0,
        "command": ["/home/meyer/bin/amlris", "--token", "hunter2"],
        "host": HOST,
        "git": {"commit": "c0ffee", "dirty": False},
        "versions": {"python": "3.11.7"},
        "hardware": {"system": "Linux-5.15.0-77-secret", "gpus": ["NVIDIA A800"], "cpus": 8},
        "hosts": 1,
    }
    write_json(run.provenance, {"run_id": config.run_id, "data": {"root": ROOT}, "sessions": [session]})
    write_text(run.log, f"trained by {USER} on {HOST}\n")
    write_json(run.path / "job.json", {"folder": str(run.path)})
    _probe(run)
    for name in ("last", "best"):
        _checkpoint(run, name)


def _probe(run: RunDir) -> None:
    probe = ProbeConfig(kind="alignment", dataset="refcoco", split="val", pairs=2)
    n = 18
    ids = {name: np.arange(n) for name in ("pair", "patch", "ref_id", "sent_id", "image_id")}
    scores = PatchScores(ids, np.linspace(0, 1, n, dtype=np.float32), np.zeros(n, np.float32), {})
    scores.write(run.probes / f"{probe.probe_id}.parquet")
    described = {"probe_id": probe.probe_id, "probe": probe.model_dump(mode="json"), "run_id": run.path.name}
    write_json(run.probe(probe.probe_id), {**described, "epoch": 2, "values": {"mean": 0.5}})
    maps = ProbeConfig(kind="maps", dataset="refcoco", split="val", pairs=1)
    np.savez(run.probes / f"{maps.probe_id}.npz", image_0=np.zeros((4, 4, 3), np.uint8))
    write_json(run.probe(maps.probe_id), {"probe_id": maps.probe_id, "run_id": run.path.name, "values": {}})


def _checkpoint(run: RunDir, name: str) -> None:
    """A safetensors file of one tensor of two numbers, as the format's description has it."""
    config = load_config(run.config).model_dump(mode="json")
    meta = {"format": 1, "run_id": run.path.name, "epoch": run.read_state()["epoch"], "config": config}
    tensor = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    header = json.dumps({"__metadata__": {"amlris": json.dumps(meta)}, "model/weight": tensor}).encode()
    run.checkpoints.mkdir(exist_ok=True)
    run.checkpoint(name).write_bytes(struct.pack("<Q", len(header)) + header + struct.pack("<2f", 1.5, -2.0))
    write_json(run.checkpoints / f"{name}.json", {"run_id": run.path.name, "epoch": 2})


def tree(root: Path) -> dict[str, bytes]:
    """Every file below a folder, with its content; folders too."""
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else b"" for path in sorted(root.rglob("*"))
    }


def unpack(file: Path) -> Entries:
    """What an archive holds, by name."""
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(file: Path, entries: Entries) -> Path:
    """An archive of these entries, whatever they are."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return file


def agree(entries: Entries) -> Entries:
    """The entries with a manifest that names exactly them, as somebody would make who covers a change up."""
    manifest = json.loads(entries[MANIFEST])
    names = [name for name in entries if name != MANIFEST]
    manifest["files"] = [{"path": n, "size": len(entries[n]), "sha256": digest(entries[n])} for n in names]
    manifest["runs"] = sorted({name.split("/")[1] for name in names if name.count("/") > 1})
    return {MANIFEST: json.dumps(manifest).encode(), **{name: entries[name] for name in names}}


def edit_json(data: bytes, **changes: Any) -> bytes:
    """A JSON object with some entries replaced."""
    return json.dumps({**json.loads(data), **changes}).encode()


def state_of(run: RunDir) -> dict[str, Any]:
    """A run's state."""
    return dict(read_json(run.state))
