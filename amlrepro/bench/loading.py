"""Training batches through the cache on disk, against making every input anew at each visit."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from itertools import count
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor

from amlrepro.bench.spec import Gate, Measurement, Setting
from amlrepro.bench.timing import alternate
from amlrepro.config import RunConfig
from amlrepro.data import inputs, source
from amlrepro.data.batch import Batch
from amlrepro.data.cache import ArrayCache
from amlrepro.data.images import image_path, open_image
from amlrepro.data.loader import TrainingData, open_training
from amlrepro.data.masks import ref_mask, ref_mask_drawn, resize_mask
from amlrepro.data.refer import Ref
from amlrepro.data.segments import segments
from amlrepro.data.synth import ensure_synth
from amlrepro.data.transforms import network_input, normalize
from amlrepro.models.geometry import fit_aspect, warp_mask
from amlrepro.models.registry import get_spec
from amlrepro.sections import SynthConfig

ROUNDS = 24
BATCHES = 3  # the rounds go over these
# pictures of COCO's size, from 480 x 480 to 640 x 480 pixels
SCENES = SynthConfig(image_size=480, train_images=48, eval_images=1)
SMALL = SynthConfig(image_size=64, train_images=24, eval_images=1)


def caris(setting: Setting) -> Measurement:
    """Stretched pictures and masks."""
    return _measure("caris", setting)


def detris(setting: Setting) -> Measurement:
    """Pictures and masks warped by cubic and linear filters; masks keep soft edges."""
    return _measure("detris", setting)


def rela(setting: Setting) -> Measurement:
    """Masks drawn at input size, for several objects or none."""
    return _measure("rela", setting)


@contextmanager
def _nothing_remembered() -> Iterator[None]:
    """No cache in memory meanwhile, and no word of one on disk that is full or off."""
    log = logging.getLogger("amlrepro.data")
    cache, level = source._cache, log.level
    source._cache = ArrayCache(limit=0)
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        source._cache = cache
        log.setLevel(level)


def _measure(model: str, setting: Setting) -> Measurement:
    """Seconds a batch of 16 at 448 x 448 takes one worker, at all sizes but `smoke`.

    Nothing is remembered in memory on either side, token ids neither; files lie in the system's page cache.
    """
    smoke = setting.sizes == "smoke"
    with _nothing_remembered(), tempfile.TemporaryDirectory(prefix="amlris-bench-") as folder:
        root = ensure_synth(SMALL if smoke else SCENES, Path(folder, "data"))
        off = _opened(model, root, "off", smoke)
        filling, cached = (_opened(model, root, folder, smoke) for _ in range(2))
        updates = range(BATCHES)
        cold = [_seconds(filling, update) for update in updates]
        first = [_seconds(cached, update) for update in updates]  # as a process that finds the cache full
        expected = [straightforward(off, update) for update in updates]
        same = [_same(cached.batch(update), batch) for update, batch in zip(updates, expected, strict=True)]
        rows = [count(start=1) for _ in range(3)]
        sides = alternate(
            {
                "each visit anew": lambda: straightforward(off, next(rows[0]) % BATCHES),
                "through the cache": lambda: _without_memory(cached).batch(next(rows[1]) % BATCHES),
                "cache off": lambda: _without_memory(off).batch(next(rows[2]) % BATCHES),
            },
            setting.rounds or ROUNDS,
            warmup=2,
        )
        n_pictures = len({ref.image_id for update in updates for ref in _refs(off, update)})
        kept = sum(segment.size for segment in segments(Path(folder, "amlris-inputs")))
    details = {
        "batch": off.order.batch,
        "side": off.source.size,
        "seconds, cache off": median(sides.pop("cache off")),
        "seconds, while it is filled": median(cold),
        "seconds, first visit of a process": median(first),
        "MiB a picture with its masks": kept / n_pictures / (1 << 20),
    }
    gate = Gate("batches byte for byte", f"{sum(same)} of {len(same)}", "all", all(same))
    return Measurement(sides, gate=gate, details=details)


def straightforward(data: TrainingData, update: int) -> Batch:
    """The batch of an update as a loader without any memory makes it: each picture decoded, resized and normalised,
    each mask drawn and resized, each sentence cut into tokens."""
    protocol, size, tables = data.source.protocol, data.source.size, data.source.data
    positions = data.order.positions(update)
    refs, numbers = data._visited(positions)
    tokenizer = _without_memory(data).tokenizer
    texts = [ref.sentences[number] for ref, number in zip(refs, numbers, strict=True)]
    tokens = [tokenizer.encode(text.raw if data.text == "raw" else text.sent, data.max_tokens) for text in texts]
    pictures = [open_image(image_path(data.source.folder, tables.image_of(ref))) for ref in refs]
    pixels = np.stack([network_input(picture, size, protocol) for picture in pictures])
    return Batch(
        image=normalize(torch.from_numpy(pixels), protocol.mean, protocol.std),
        input_ids=torch.tensor([ids for ids, _ in tokens]),
        attention_mask=torch.tensor([mask for _, mask in tokens]),
        target=_target(data, refs),
        index=torch.from_numpy(positions),
        update=update,
        no_target=torch.tensor([not ref.ann_ids for ref in refs]) if protocol.multi_target else None,
    )


def _target(data: TrainingData, refs: list[Ref]) -> Tensor:
    protocol, size, tables = data.source.protocol, data.source.size, data.source.data
    if protocol.resize == "affine":
        masks = [ref_mask(tables, ref) for ref in refs]
        warped = [warp_mask(mask, fit_aspect((mask.shape[0], mask.shape[1]), (size, size))) for mask in masks]
        return torch.from_numpy(np.stack(warped))
    if protocol.rasterize == "input":
        return torch.from_numpy(np.stack([ref_mask_drawn(tables, ref, size) for ref in refs])).long()
    return torch.from_numpy(np.stack([resize_mask(ref_mask(tables, ref), size) for ref in refs])).long()


def _opened(model: str, root: Path, cache: str, smoke: bool) -> TrainingData:
    """Training data as a process of its own opens them; official data, so that the cache is on."""
    protocol = get_spec(model).protocol
    inputs._opened.cache_clear()
    config = RunConfig().with_changes(
        {
            "data.train": "grefcoco" if protocol.multi_target else "refcoco",
            "data.image_size": 96 if smoke else 448,
            "data.vocabulary": "words" if smoke else "bert",
            "data.text": protocol.text,
            "data.sampling": protocol.sampling,
            "train.batch": 4 if smoke else 16,
            "exec.data_root": str(root),
            "exec.cache_dir": cache,
        }
    )
    data = open_training(config, protocol)
    if data.source.inputs is not None:
        data.source.inputs.arrays.reserve = 0
    return data


def _without_memory(data: TrainingData) -> TrainingData:
    data.tokenizer._cache.clear()
    return data


def _seconds(data: TrainingData, update: int) -> float:
    start = time.perf_counter()
    data.batch(update)
    return time.perf_counter() - start


def _refs(data: TrainingData, update: int) -> list[Ref]:
    return data._visited(data.order.positions(update))[0]


def _same(a: Batch, b: Batch) -> bool:
    pairs = [(getattr(a, field.name), getattr(b, field.name)) for field in fields(Batch)]
    return all(torch.equal(x, y) if isinstance(x, Tensor) else x == y for x, y in pairs)
