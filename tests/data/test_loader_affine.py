"""DETRIS's input: aspect kept, border, soft targets; worked by hand for 40 x 30 pictures in a 32 x 32 input.

The scale is min(32 / 30, 32 / 40) = 0.8, so a picture takes 24 rows of 32 and 4 rows above and below are border. Row i
of the input reads the picture at (i - 4) / 0.8, column j at j / 0.8; both are multiples of 1/4, so nothing is rounded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hand_made import HEIGHT, WIDTH
from numpy.typing import NDArray

from amlrepro.config import EvalConfig, RunConfig
from amlrepro.data.loader import open_evaluation, open_training
from amlrepro.errors import UserError
from amlrepro.models.detris.spec import SPEC
from amlrepro.models.spec import Protocol

MakeConfig = Callable[..., RunConfig]


def warped_rectangle(ref_id: int) -> NDArray[np.float64]:
    """The rectangle from x = ref_id to 20, y = 2 to 9 at input size, linear between pixels and 0 outside."""
    x, y = np.zeros(WIDTH), np.zeros(HEIGHT)
    x[ref_id:20] = 1
    y[2:9] = 1
    rows = np.interp((np.arange(32) - 4) / 0.8, np.arange(HEIGHT), y, left=0, right=0)
    columns = np.interp(np.arange(32) / 0.8, np.arange(WIDTH), x, left=0, right=0)
    return np.outer(rows, columns)


def test_training_targets_are_soft(training_root: Path, config_for: MakeConfig) -> None:
    data = open_training(config_for(training_root, train__batch=5), SPEC.protocol)
    (batch,) = data.batches(0, 1)
    assert (batch.target.dtype, tuple(batch.target.shape)) == (torch.float32, (5, 32, 32))
    fractions = 0
    for row, index in enumerate(data.order.refs(batch.index.numpy())):
        expected = warped_rectangle(data.refs[index].ref_id)
        assert np.abs(batch.target[row].numpy() - expected).max() <= 0.5 / 255 + 1e-6
        fractions += int(((expected > 0.1) & (expected < 0.9)).sum())
    assert fractions > 0


def test_the_border_has_the_protocols_colour(training_root: Path, config_for: MakeConfig) -> None:
    (batch,) = open_training(config_for(training_root), SPEC.protocol).batches(0, 1)
    colour = (np.array(SPEC.protocol.border) / 255 - SPEC.protocol.mean) / SPEC.protocol.std
    border = batch.image[:, :, [0, 1, 2, 29, 30, 31]]
    difference = border - torch.tensor(colour, dtype=torch.float32)[None, :, None, None]
    assert difference.abs().max() < 1e-6
    assert batch.image[:, :, 5:27].std() > 0.3  # the picture itself, which is noise


def test_hard_targets_and_resized_evaluation_cut_at_one_half(training_root: Path, config_for: MakeConfig) -> None:
    hard = replace(SPEC.protocol, soft_target=False)
    config = config_for(training_root, train__batch=5)
    training = open_training(config, hard)
    (batch,) = training.batches(0, 1)
    assert batch.target.dtype == torch.int64
    for row, index in enumerate(training.order.refs(batch.index.numpy())):
        expected = warped_rectangle(training.refs[index].ref_id) >= 0.5  # one half is 128 of 255 in 8 bits
        assert batch.target[row].bool().numpy().tolist() == expected.tolist()
    evaluation = EvalConfig(dataset="refcoco", split="val")
    (shown,) = open_evaluation(config, evaluation, training.tokenizer, SPEC.protocol).batches()
    assert shown.target is not None
    by_ref = {ids[0]: mask.numpy() for ids, mask in zip(shown.ids, shown.target, strict=True)}
    assert by_ref[7].tolist() == (warped_rectangle(7) >= 0.5).tolist()


def test_original_size_hands_over_whole_masks(training_root: Path, config_for: MakeConfig) -> None:
    config = config_for(training_root)
    tokenizer = open_training(config, SPEC.protocol).tokenizer
    evaluation = EvalConfig(dataset="refcoco", split="val", resolution="original")
    (batch,) = open_evaluation(config, evaluation, tokenizer, SPEC.protocol).batches()
    assert tuple(batch.image.shape) == (2, 3, 32, 32)
    assert batch.original is not None
    by_ref = {ids[0]: (mask, ids[3:]) for ids, mask in zip(batch.ids, batch.original, strict=True)}
    mask, size = by_ref[7]
    assert (tuple(mask.shape), int(mask.sum()), size) == ((HEIGHT, WIDTH), 13 * 7, (HEIGHT, WIDTH))


def test_both_geometries_may_share_the_cache(training_root: Path, config_for: MakeConfig, protocol: Protocol) -> None:
    config = config_for(training_root)
    first = [next(open_training(config, p).batches(0, 1)) for p in (protocol, SPEC.protocol)]
    again = [next(open_training(config, p).batches(0, 1)) for p in (protocol, SPEC.protocol)]
    for one, two in zip(first, again, strict=True):
        assert torch.equal(one.image, two.image)
        assert torch.equal(one.target, two.target)
    assert not torch.equal(first[0].image, first[1].image)


def test_stretched_soft_targets_are_refused(training_root: Path, config_for: MakeConfig, protocol: Protocol) -> None:
    with pytest.raises(UserError, match="stretched masks are hard"):
        open_training(config_for(training_root), replace(protocol, soft_target=True))
