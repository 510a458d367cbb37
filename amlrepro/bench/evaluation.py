"""Evaluation of a split, ours against the official way (`official_way.py`).

Both sides segment the same samples of synthetic scenes, whose pictures lie in memory after the warm-up, and count
pixels. The model has been trained for some updates: a fresh one may say the same everywhere, and then equal masks would
prove nothing.
"""

from __future__ import annotations

import statistics
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from amlrepro.aml.strategies import build_strategy
from amlrepro.bench.official_way import BATCH, official_masks, official_records
from amlrepro.bench.spec import Gate, Kind, Measurement, Setting
from amlrepro.bench.timing import alternate
from amlrepro.config import EvalConfig, RunConfig
from amlrepro.data.loader import EvaluationData, TrainingData, open_evaluation, open_training
from amlrepro.data.synth import ensure_synth
from amlrepro.engine.evaluate import evaluate, reduced_precision, segment
from amlrepro.engine.numerics import Precision, full_precision, seed_torch
from amlrepro.engine.optim import build_optimizer, clip_gradients
from amlrepro.metrics.compute import value
from amlrepro.metrics.records import Records
from amlrepro.models import build_model
from amlrepro.models.contract import RISModel
from amlrepro.models.registry import get_spec
from amlrepro.suite.profile import load_profile, resolve

ROUNDS = 7
IMAGES: dict[Kind, int] = {"cpu": 16, "cuda": 64}
UPDATES = 40
LEAST_RATE = 3e-4  # a model that starts from nothing needs more than the rate for pretrained encoders
PARTED = 0.25  # at least this share of masks must be neither empty nor full, or their equality says little
POINTS, PIXELS = 0.02, 0.9999  # the gate: points of oIoU and mIoU, share of equal pixels
FRESH = {"init.vision": "scratch", "init.text": "scratch", "data.vocabulary": "words"}
SHORT = {"train.encoder_lr": 1.0, "train.class_weights": (0.7, 1.5)}  # so that some updates show


@dataclass(frozen=True)
class Subject:
    """A model, and the split it is evaluated on."""

    model: RISModel
    data: EvaluationData
    device: str


def time_float32(setting: Setting) -> Measurement:
    """CARIS, both sides in float32."""
    return _time(setting, full_precision(setting.device))


def time_bf16(setting: Setting) -> Measurement:
    """CARIS, ours in bf16, as `amlris evaluate --precision bf16` does it."""
    return _time(setting, reduced_precision(setting.device))


def _time(setting: Setting, precision: Precision) -> Measurement:
    with tempfile.TemporaryDirectory() as folder:
        subject = prepare(setting, Path(folder) / "synth")
        return compare(subject, precision, setting.rounds or ROUNDS)


def prepare(setting: Setting, root: Path) -> Subject:
    """CARIS at a profile's sizes after some updates on synthetic scenes, and the val split of these."""
    images = IMAGES[setting.device]
    profile = load_profile(setting.sizes)
    config = resolve(profile, "caris", "baseline", "refcoco", source="synth", overrides={**FRESH, **SHORT})
    scenes = {"train_images": images, "eval_images": images, "image_size": config.data.image_size}
    changes = {f"data.synth.{key}": number for key, number in scenes.items()}
    rate = max(config.train.lr, LEAST_RATE)
    config = config.with_changes({**changes, "exec.data_root": str(root), "train.lr": rate}, "benchmark")
    ensure_synth(config.data.synth, root, workers=1)
    protocol = get_spec("caris").protocol
    training = open_training(config, protocol)
    model = _trained_briefly(config, training, setting.device)
    evaluation = EvalConfig(dataset="refcoco", split="val")
    return Subject(model, open_evaluation(config, evaluation, training.tokenizer, protocol), setting.device)


def _trained_briefly(config: RunConfig, data: TrainingData, device: str) -> RISModel:
    seed_torch(config.seed, "weights")
    model = build_model(config, data.tokenizer.vocab_size).to(device).train()
    strategy = build_strategy(config, model, data.tokenizer).to(device).train()
    optimizer = build_optimizer(model, strategy, config.train)
    precision = full_precision(device) if device == "cpu" else reduced_precision(device)
    for batch in data.batches(0, UPDATES):
        with precision.autocast():
            loss = strategy.losses(model, batch.to(device))["loss"]
        torch.autograd.backward(loss)
        clip_gradients(optimizer, config.train.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return model.eval()


def compare(subject: Subject, precision: Precision, rounds: int) -> Measurement:
    """Time both ways alternately; the gate is on metrics and, where both are in float32, on pixels."""
    model, data, device = subject.model, subject.data, subject.device
    sides = {
        "official way": lambda: official_records(model, data, device),
        "ours": lambda: evaluate(model, data, "resized", precision),
    }
    seconds = alternate(sides, rounds)  # both end with the counts on the host
    reference, ours = sides["official way"](), sides["ours"]()
    masks = official_masks(model, data, device)
    equal = float((masks == our_masks(subject, precision)).float().mean())
    inside = masks.flatten(1).float().mean(1)
    parted = float(((inside > 0) & (inside < 1)).float().mean())
    images = len({sample.ref.image_id for sample in data.samples})
    share = vision_share(subject)
    details = {
        "images": images,
        "sentences": data.n_samples,
        "batch": {"official way": BATCH, "ours": f"at least {data.batch}"},
        "updates_trained": UPDATES,
        "predicted_share_of_pixels": round(float(inside.mean()), 4),
        "masks_neither_empty_nor_full": round(parted, 4),
        "oiou": round(value("oiou", reference), 2),
        "vision_share_of_official_time": round(share, 3),
        "limit_by_sharing_vision_alone": round(1 / (1 - share + share * images / data.n_samples), 3),
    }
    return Measurement(seconds, gate=gate_of(reference, ours, equal, parted, precision), details=details)


def gate_of(reference: Records, ours: Records, equal: float, parted: float, precision: Precision) -> Gate:
    """Equality of two evaluations of the same samples. equal: the share of pixels that have the same value; parted: the
    share of masks that are neither empty nor full."""
    gaps = {name: abs(value(name, reference) - value(name, ours)) for name in ("oiou", "miou")}
    on_pixels = precision.dtype is None
    found = f"oIoU by {gaps['oiou']:.4f}, mIoU by {gaps['miou']:.4f} points; {equal:.4%} of pixels are equal"
    if parted < PARTED:
        found += f"; only {parted:.0%} of masks have edges"
    bound = f"{POINTS} points" + (f"; {PIXELS:.2%} of pixels" if on_pixels else "")
    passed = max(gaps.values()) <= POINTS and (equal >= PIXELS or not on_pixels) and parted >= PARTED
    return Gate("how far metrics and masks differ", found, bound, passed)


@torch.inference_mode()
def our_masks(subject: Subject, precision: Precision) -> Tensor:
    """Masks [N, H, W] bool in evaluation order, made as `evaluate` makes them."""
    found: list[Tensor] = []
    positions: list[int] = []
    for batch in subject.data.batches():
        with precision.autocast():
            output = segment(subject.model, batch, subject.device)
        output = replace(output, logits=output.logits.float())
        found.append(subject.model.predict(output, output.input_size).cpu())
        positions += batch.positions
    return torch.cat(found)[torch.from_numpy(np.argsort(positions))]


@torch.inference_mode()
def vision_share(subject: Subject) -> float:
    """The vision encoder's share of the seconds of a forward pass of eight sentences as the official code does it."""
    chunk = replace(subject.data, samples=subject.data.samples[:BATCH], batch=BATCH * BATCH)
    image = next(chunk.batches()).to(subject.device)
    whole = image.image.index_select(0, image.image_index)

    def vision() -> None:
        subject.model.encode_image(whole)
        if subject.device == "cuda":
            torch.cuda.synchronize()

    calls = {"all": lambda: official_records(subject.model, chunk, subject.device), "vision": vision}
    seconds = alternate(calls, rounds=5)
    return statistics.median(seconds["vision"]) / statistics.median(seconds["all"])
