"""Batches of gRefCOCO: merged and empty targets, sampling over expressions, refused pairings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hand_made import annotation, rectangle, ref_record, write_grefs

from amlrepro.config import EvalConfig, RunConfig
from amlrepro.data.loader import open_evaluation, open_training
from amlrepro.errors import UserError
from amlrepro.models.spec import Protocol

MakeConfig = Callable[..., RunConfig]
SIZE = 80  # twice the width of the 40 x 30 pictures


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Train: a ref to two objects with three sentences, one to none with two, one to one object with one. Val: one ref
    each to two objects and to none. Objects: rectangles of 10 x 15 pixels, 20 x 40 at input size."""
    refs = [
        ref_record(1, [11, 12], 1, "train", ["both", "the two", "two boxes"]),
        ref_record(2, [-1], 1, "train", ["the giraffe", "a dog"]),
        ref_record(3, [13], 2, "train", ["left one"]),
        ref_record(4, [14, 15], 3, "val", ["all"]),
        ref_record(5, [-1], 3, "val", ["a cat"]),
    ]
    left, right = rectangle(0, 0, 10, 15), rectangle(20, 15, 30, 30)
    places = ((11, 1, left), (12, 1, right), (13, 2, left), (14, 3, left), (15, 3, right))
    return write_grefs(tmp_path / "root", refs, [annotation(i, image, [shape]) for i, image, shape in places])


@pytest.fixture
def config(root: Path, config_for: MakeConfig) -> RunConfig:
    return config_for(root, data__train="grefcoco", data__image_size=SIZE, data__sampling="expression")


@pytest.fixture
def general(protocol: Protocol) -> Protocol:
    return replace(protocol, multi_target=True, rasterize="input")


def test_an_epoch_visits_every_expression_once(config: RunConfig, general: Protocol) -> None:
    data = open_training(config, general)
    assert (data.n_refs, data.n_sentences, data.steps_per_epoch) == (3, 6, 3)
    ids = {
        text: tuple(data.tokenizer.encode(text, 6)[0]) for ref in data.refs for text in (s.sent for s in ref.sentences)
    }
    orders = []
    for epoch in range(4):
        seen = [tuple(row) for b in data.batches(3 * epoch, 3 * epoch + 3) for row in b.input_ids.tolist()]
        assert Counter(seen) == Counter(ids.values())
        orders.append(tuple(seen))
    assert len(set(orders)) > 1
    # a ref with three sentences is visited as often as refs with fewer where an epoch goes over refs
    by_ref = open_training(config.with_changes({"data.sampling": "ref", "train.batch": 3}), general)
    assert by_ref.steps_per_epoch == 1
    three = set(list(ids.values())[:3])
    for update in range(4):
        (batch,) = by_ref.batches(update, update + 1)
        assert sum(tuple(row) in three for row in batch.input_ids.tolist()) == 1


def test_targets_are_merged_or_empty(config: RunConfig, general: Protocol) -> None:
    data = open_training(config.with_changes({"train.batch": 6}), general)
    (batch,) = data.batches(0, 1)
    expected = {"both": 1600, "the two": 1600, "two boxes": 1600, "the giraffe": 0, "a dog": 0, "left one": 800}
    by_ids = {tuple(data.tokenizer.encode(text, 6)[0]): area for text, area in expected.items()}
    assert batch.target.dtype == torch.int64
    assert batch.no_target is not None
    for row, mask, nothing in zip(batch.input_ids.tolist(), batch.target, batch.no_target.tolist(), strict=True):
        assert int(mask.sum()) == by_ids[tuple(row)]
        assert nothing == (by_ids[tuple(row)] == 0)
    moved = batch.to("cpu").no_target
    assert moved is not None
    assert torch.equal(moved, batch.no_target)
    shown = next(m for row, m in zip(batch.input_ids.tolist(), batch.target, strict=True) if by_ids[tuple(row)] == 1600)
    assert shown[:40, :20].all()
    assert shown[40:, 40:60].all()


def test_ranks_share_the_expressions(config: RunConfig, general: Protocol) -> None:
    data = open_training(config, general)
    (whole,) = data.batches(1, 2)
    shares = [next(data.batches(1, 2, rank, 2)) for rank in range(2)]
    assert torch.equal(torch.cat([share.input_ids for share in shares]), whole.input_ids)


@pytest.mark.parametrize("resolution", ["resized", "original"])
def test_evaluation_says_what_names_nothing(config: RunConfig, general: Protocol, resolution: str) -> None:
    tokenizer = open_training(config, general).tokenizer
    evaluation = EvalConfig.model_validate({"dataset": "grefcoco", "split": "val", "resolution": resolution})
    data = open_evaluation(config, evaluation, tokenizer, general)
    (batch,) = data.batches()
    assert [ids[0] for ids in batch.ids] == [4, 5]
    assert batch.no_target is not None
    assert batch.no_target.tolist() == [False, True]
    masks = batch.target if resolution == "resized" else batch.original
    assert masks is not None
    assert [int(mask.sum()) for mask in masks] == ([1600, 0] if resolution == "resized" else [300, 0])


def test_single_target_data_have_no_such_flag(training_root: Path, config_for: MakeConfig, protocol: Protocol) -> None:
    config = config_for(training_root)
    training = open_training(config, protocol)
    tokenizer = training.tokenizer
    assert training.batch(0).no_target is None
    assert training.batch(0).to("cpu").no_target is None
    (batch,) = open_evaluation(config, EvalConfig(dataset="refcoco", split="val"), tokenizer, protocol).batches()
    assert batch.no_target is None


def test_single_target_models_are_refused(config: RunConfig, general: Protocol, protocol: Protocol) -> None:
    with pytest.raises(UserError, match="gRefCOCO may name several objects or none"):
        open_training(config, protocol)
    tokenizer = open_training(config, general).tokenizer
    with pytest.raises(UserError, match="gRefCOCO may name several objects or none"):
        open_evaluation(config, EvalConfig(dataset="grefcoco", split="val"), tokenizer, protocol)


def test_run_names_stay(config: RunConfig) -> None:
    """Over refs is neutral: a recipe that does not ask for expressions keeps its name."""
    assert "data" not in RunConfig().identity()
    over_refs = config.with_changes({"data.sampling": "ref"})
    assert "sampling" not in over_refs.identity()["data"]
    assert config.identity()["data"]["sampling"] == "expression"


def test_real_entries_train_and_evaluate(shared: Path, config_for: MakeConfig, general: Protocol) -> None:
    config = config_for(
        shared / "data" / "refcoco_mini", data__train="grefcoco", data__sampling="expression", train__batch=1
    )
    training = open_training(config, general)
    assert (training.n_refs, training.steps_per_epoch) == (1, 1)
    (batch,) = training.batches(0, 1)
    assert 0 < int(batch.target.sum()) < 32 * 32
    data = open_evaluation(config, EvalConfig(dataset="grefcoco", split="testB"), training.tokenizer, general)
    (shown,) = data.batches()
    assert shown.no_target is not None
    assert shown.target is not None
    assert shown.no_target.tolist() == [False] * 18 + [True] * 2
    assert torch.equal(shown.no_target, ~shown.target.flatten(1).any(1))
