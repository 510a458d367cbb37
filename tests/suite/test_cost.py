"""What scoring costs: a third of Table 9's rate, by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from amlrepro.config import EvalConfig, ProbeConfig, RunConfig
from amlrepro.suite.cost import (
    evaluation_hours,
    forward_hours,
    official_counts,
    probe_hours,
    training_hours,
    validation_hours,
)
from amlrepro.suite.inputs import Inputs
from amlrepro.suite.profile import load_profile, resolve


def config(model: str = "caris", preset: str = "baseline", train: str = "refcoco+") -> RunConfig:
    return resolve(load_profile("paper"), model, preset, train)


def test_a_forward_pass_is_a_third_of_a_step() -> None:
    """CARIS: 30.16 minutes for 42,278 samples (Table 9); RefCOCO+ val has 10,758 sentences."""
    assert forward_hours(config(), 42278) == pytest.approx(30.16 / 60 / 3)
    val = EvalConfig(dataset="refcoco+", split="val")
    assert evaluation_hours(config(), [val, val], official_counts) == pytest.approx(2 * 10758 / 42278 * 30.16 / 60 / 3)


def test_scoring_needs_no_stage_one() -> None:
    assert forward_hours(config(preset="inferred"), 1000) == forward_hours(config(), 1000)
    assert training_hours(config(preset="inferred"), 1, 1000) == pytest.approx(35.35 / 60 * 1000 / 42278)


def test_validation_follows_the_models_protocol() -> None:
    """CARIS validates after epochs 1, 11, 21, 31 and the last 16; a run that stops after the first, once."""
    once = 10758 / 42278 * 30.16 / 60 / 3
    assert validation_hours(config(), 50, official_counts) == pytest.approx(20 * once)
    assert validation_hours(config(), 1, official_counts) == pytest.approx(once)
    never = config().with_changes({"exec.validate_at": []})
    assert validation_hours(never, 50, official_counts) == 0
    combined = validation_hours(config(train="combined"), 1, official_counts)
    assert combined == pytest.approx(10834 / 42278 * 30.16 / 60 / 3)


def test_a_timed_step_is_charged_in_full() -> None:
    pairs = ProbeConfig(kind="alignment", dataset="refcoco+", split="val", pairs=1600)
    steps = ProbeConfig(kind="cost", steps=200)
    minutes = 1600 / 42278 * 30.16 / 3 + 200 * 16 / 42278 * 35.35
    assert probe_hours(config(preset="inferred"), [pairs, steps]) == pytest.approx(minutes / 60)


def test_small_models_have_no_price() -> None:
    small = resolve(load_profile("demo"), "caris", "baseline", "refcoco")
    assert forward_hours(small, 100) is None
    assert validation_hours(small, 5, official_counts) is None
    assert evaluation_hours(small, [], official_counts) is None


def test_counts_are_official_or_those_of_the_data_root(shared: Path) -> None:
    official = Inputs("refer").counts("refcoco", "testA")
    assert (official.refs, official.sentences) == (1975, 5657)
    there = Inputs("refer", shared / "data" / "refcoco_mini")
    mini = there.counts("refcoco", "testA")
    assert (mini.refs, mini.sentences) == (10, 30)
    assert there.counts("refcoco", "val").sentences == 0
    assert (
        sum(official_counts("grefcoco", split).sentences or 0 for split in ("train", "val", "testA", "testB")) == 259859
    )


def test_no_probes_cost_nothing_where_epochs_are_periods() -> None:
    """ReLA's epoch is 5,000 updates whatever the data: neither no probe nor one of 10 steps takes a whole one."""
    rela = resolve(load_profile("paper"), "rela", "baseline", "grefcoco")
    assert rela.train.epoch_refs == 80_000
    assert probe_hours(rela, []) == 0
    steps = probe_hours(rela, [ProbeConfig(kind="cost", steps=10)])
    assert steps == pytest.approx(10 * 16 / 42278 * 30.16 / 60 * (480 / 448) ** 2)
