"""Rates measured in a store: what a GPU hour trains here, by hand from histories."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from amlrepro.config import RunConfig, dump_config
from amlrepro.files import write_json, write_text
from amlrepro.suite.cost import training_hours
from amlrepro.suite.profile import load_profile, resolve
from amlrepro.suite.rates import PAPER, measure_rates
from amlrepro.suite.store import Store


def config(model: str = "caris", preset: str = "baseline", seed: int = 0, profile: str = "paper") -> RunConfig:
    return resolve(load_profile(profile), model, preset, "refcoco+", seed)


def leave(
    store: Store, of: RunConfig, rows: list[dict[str, Any]], gpu: str, start: float = 1.0, world: int = 1
) -> None:
    """A run as the engine leaves it: configuration, one session, rows of its history."""
    run = store.run(of.run_id)
    write_text(run.config, dump_config(of))
    session = {"start": start, "from_step": 0, "world_size": world, "devices": [gpu] * world, "device": "auto"}
    write_json(run.provenance, {"run_id": of.run_id, "sessions": [session]})
    write_text(run.history, "".join(json.dumps(row) + "\n" for row in rows))


def epoch(number: int, pace: float, seconds: float = 100.0) -> dict[str, Any]:
    return {"kind": "epoch", "epoch": number, "step": 10 * number, "images_per_s": pace, "seconds": seconds}


def test_an_empty_store_has_the_papers_rates(tmp_path: Path) -> None:
    assert measure_rates(Store(tmp_path, "paper")) == PAPER
    assert PAPER.hours_per_sample(config(), False) == pytest.approx(30.16 / 60 / 42278)
    assert PAPER.source(config(), False) == "paper"


def test_measured_epochs_replace_the_papers_rate(tmp_path: Path) -> None:
    """100 s at 40 and 300 s at 60 images/s: 22,000 images in 400 s, 55 a second."""
    store = Store(tmp_path, "paper")
    leave(store, config(), [epoch(1, 40.0), epoch(2, 60.0, 300.0)], "NVIDIA H100 80GB HBM3")
    rates = measure_rates(store)
    assert (rates.gpu, rates.source(config(), False)) == ("H100 80GB HBM3", "measured")
    hours = training_hours(config(), 50, 42278, rates.hours_per_sample)
    assert hours == pytest.approx(50 * 42278 / 55 / 3600)


def test_what_was_not_measured_is_scaled(tmp_path: Path) -> None:
    """With AML by Table 9's 35.35 to 30.16; another model by the ratio of here to the paper's rate."""
    store = Store(tmp_path, "paper")
    leave(store, config(), [epoch(1, 50.0)], "A100")
    rates = measure_rates(store)
    assert rates.hours_per_sample(config(preset="inferred"), True) == pytest.approx(35.35 / 30.16 / 50 / 3600)
    factor = (1 / 50 / 3600) / (30.16 / 60 / 42278)
    assert rates.hours_per_sample(config("detris"), False) == pytest.approx(27.03 / 60 / 42278 * factor)
    assert rates.source(config("detris"), False) == "scaled"
    larger = config().with_changes({"data.image_size": 896})
    assert rates.hours_per_sample(larger, False) == pytest.approx(4 / 50 / 3600)


def test_processes_share_a_pace(tmp_path: Path) -> None:
    """200 images/s of four GPUs are 50 of one: a GPU hour trains as much either way."""
    store = Store(tmp_path, "paper")
    leave(store, config(), [epoch(1, 200.0)], "A100", world=4)
    assert measure_rates(store).hours_per_sample(config(), False) == pytest.approx(1 / 50 / 3600)


def test_the_gpu_used_last_counts(tmp_path: Path) -> None:
    store = Store(tmp_path, "paper")
    leave(store, config(), [epoch(1, 20.0)], "V100", start=1.0)
    leave(store, config(seed=1), [epoch(1, 50.0)], "A100", start=2.0)
    rates = measure_rates(store)
    assert (rates.gpu, rates.others) == ("A100", ("V100",))
    assert rates.hours_per_sample(config(), False) == pytest.approx(1 / 50 / 3600)


def test_windows_count_until_an_epoch_is_over_and_the_first_is_warm_up(tmp_path: Path) -> None:
    store = Store(tmp_path, "paper")
    windows = [{"kind": "step", "step": 10 * k, "images_per_s": pace} for k, pace in ((1, 1.0), (2, 30.0), (3, 50.0))]
    leave(store, config(), windows, "A100")
    assert measure_rates(store).hours_per_sample(config(), False) == pytest.approx(1 / 40 / 3600)


def test_small_models_get_a_price_once_one_has_been_trained(tmp_path: Path) -> None:
    store = Store(tmp_path, "demo")
    demo = config(profile="demo")
    assert PAPER.hours_per_sample(demo, False) is None
    leave(store, demo, [epoch(1, 80.0)], "cpu")
    rates = measure_rates(store)
    assert rates.gpu == "CPU"
    assert training_hours(demo, 50, None, rates.hours_per_sample) == pytest.approx(50 * 160 / 80 / 3600)
    other = config("detris", profile="demo")  # of no printed rate, never measured: as CARIS of that size and resolution
    area = (other.data.image_size / demo.data.image_size) ** 2
    assert rates.hours_per_sample(other, False) == pytest.approx(area / 80 / 3600)


def test_a_broken_run_says_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path, "paper")
    leave(store, config(), [epoch(1, 50.0)], "A100")
    broken = store.run("broken-s0")
    write_text(broken.config, "model: [")
    assert measure_rates(store).measured
