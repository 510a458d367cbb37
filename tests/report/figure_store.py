"""Made-up probes in a made-up store, so that figures can be built without training."""

from __future__ import annotations

from typing import Any

import numpy as np

from amlrepro.files import write_json
from amlrepro.metrics.alignment import PatchScores, statistics
from amlrepro.suite.plan import Plan, ProbeRequest
from amlrepro.suite.store import Store

SIDE = 56  # pixels of a picture with maps
SENTENCES = ("the red disk", "small disk on the left costing $5 or $6")


def scores(mean: float, seed: int, pairs: int = 20, patches: int = 49) -> PatchScores:
    """S around `mean`, cut to [0, 1]."""
    random = np.random.default_rng(seed)
    count = pairs * patches
    similarity = np.clip(random.normal(mean, 0.2, count), 0.02, 1).astype(np.float32)
    ids = {
        "pair": np.repeat(np.arange(pairs), patches),
        "patch": np.tile(np.arange(patches), pairs),
        "ref_id": np.repeat(np.arange(pairs), patches),
        "sent_id": np.repeat(np.arange(pairs), patches),
        "image_id": np.repeat(np.arange(pairs), patches),
    }
    return PatchScores(ids, similarity, random.random(count).astype(np.float32), {})


def write_alignment(store: Store, request: ProbeRequest, found: PatchScores, epoch: int) -> None:
    """An alignment probe as the engine leaves it."""
    found.write(store.run(request.run_id).probes / f"{request.probe_id}.parquet")
    _write_json(store, request, epoch, {"values": statistics(found)})


def disk_maps(confidence: float, number: int) -> dict[str, np.ndarray]:
    """Arrays of sample `number`: a disk in a picture, with maps that see it with that confidence."""
    y, x = np.mgrid[:SIDE, :SIDE]
    distance = np.hypot(x - 20 - 8 * number, y - 25)
    image = np.stack([np.where(distance < 12, 220, 60), 3 * x, 4 * y], axis=-1).astype(np.uint8)
    plus = (confidence * (14 - distance) / 4 + np.sin(x / 9)).astype(np.float32)
    minus = (-0.8 * plus).astype(np.float32)
    maps = {"image": image, "target": distance < 12, "zplus": plus, "zminus": minus, "mask": plus > minus}
    return {f"{name}_{number}": value for name, value in maps.items()}


def write_maps(
    store: Store, request: ProbeRequest, confidence: float, epoch: int, shape: tuple[int, int] = (SIDE, SIDE)
) -> None:
    """A maps probe of as many samples as there are `SENTENCES`; shape: height and width of the pictures themselves."""
    arrays = {name: value for i in range(len(SENTENCES)) for name, value in disk_maps(confidence, i).items()}
    path = store.run(request.run_id).probes / f"{request.probe_id}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        np.savez(file, **arrays)
    size = {"height": shape[0], "width": shape[1]}
    samples = [{"index": i, "sentence": s, "ref_id": i, "sent_id": i, **size} for i, s in enumerate(SENTENCES)]
    _write_json(store, request, epoch, {"values": {"samples": len(samples)}, "samples": samples})


def write_probes(store: Store, plan: Plan, shape: tuple[int, int] = (SIDE, SIDE)) -> None:
    """All probes that the plan's figures are drawn from; methods differ in order of their rows."""
    for figure in plan.figures:
        for rank, requests in enumerate(figure.requests.values()):
            for request in requests:
                epoch = plan.runs[request.run_id].until
                if request.probe.kind == "maps":
                    write_maps(store, request, 0.6 + 0.3 * rank, epoch, shape)
                else:
                    write_alignment(store, request, scores(0.4 + 0.1 * rank, rank), epoch)


def _write_json(store: Store, request: ProbeRequest, epoch: int, more: dict[str, Any]) -> None:
    head = {
        "probe_id": request.probe_id,
        "probe": request.probe.model_dump(mode="json"),
        "run_id": request.run_id,
        "epoch": epoch,
        "weights_sha256": "0" * 64,
    }
    write_json(store.run(request.run_id).probe(request.probe_id), {**head, **more})
