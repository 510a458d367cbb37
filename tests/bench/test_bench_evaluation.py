"""The benchmark of evaluations at smoke size: both ways give the same records, and the gate sees when they do not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from amlrepro.bench import evaluation as module
from amlrepro.bench.deformable import time_samplers
from amlrepro.bench.evaluation import Subject, compare, gate_of, our_masks, prepare
from amlrepro.bench.official_way import official_masks, official_records
from amlrepro.bench.spec import Setting
from amlrepro.engine.evaluate import evaluate, reduced_precision
from amlrepro.engine.numerics import full_precision
from amlrepro.models.caris.model import CARIS
from amlrepro.models.layers.regroup import Regrouped

SMOKE = Setting(sizes="smoke")


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "UPDATES", 3)
        patch.setattr(module, "IMAGES", {"cpu": 4})
        made = prepare(SMOKE, tmp_path_factory.mktemp("bench") / "synth")
    assert isinstance(made.model, CARIS)
    with torch.no_grad():  # so that masks have edges after three updates too
        for parameter in made.model.decoder.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)), alpha=0.3)
    return made


def test_both_ways_give_the_same_records_of_masks_with_edges(subject: Subject) -> None:
    model, data = subject.model, subject.data
    masks = official_masks(model, data, "cpu")
    inside = masks.flatten(1).float().mean(1)
    assert ((inside > 0.01) & (inside < 0.99)).float().mean() > 0.5
    assert (masks == our_masks(subject, full_precision("cpu"))).float().mean() > 0.9999
    reference, ours = official_records(model, data, "cpu"), evaluate(model, data, "resized")
    assert reference.predicted_area.tolist() == masks.flatten(1).sum(1).tolist()
    assert (reference.sent_id == ours.sent_id).all()
    assert (reference.target_area == ours.target_area).all()
    assert abs(reference.intersection - ours.intersection).max() <= 2
    assert {part.regroup for part in model.modules() if isinstance(part, Regrouped)} == {"inference"}


def test_measurement_and_gate(subject: Subject) -> None:
    found = compare(subject, full_precision("cpu"), rounds=2)
    assert found.gate is not None
    assert found.gate.passed
    assert [len(side) for side in found.sides.values()] == [2, 2]
    assert found.details["images"] == 4
    reference = official_records(subject.model, subject.data, "cpu")
    full, reduced = full_precision("cpu"), reduced_precision("cpu")
    worse = replace(
        reference,
        intersection=reference.intersection * 0,
        union=reference.predicted_area + reference.target_area,
    )
    assert not gate_of(reference, worse, 1.0, 0.9, full).passed
    assert not gate_of(reference, reference, 0.9998, 0.9, full).passed
    assert not gate_of(reference, reference, 1.0, 0.1, full).passed
    assert gate_of(reference, reference, 0.9998, 0.9, reduced).passed


def test_deformable_sampling_is_timed_and_gated() -> None:
    found = time_samplers(Setting(sizes="smoke", rounds=2))
    assert found.gate is not None
    assert found.gate.passed
    assert [len(side) for side in found.sides.values()] == [2, 2]
