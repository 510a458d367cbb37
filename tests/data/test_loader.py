"""Batches: what they hold, and that workers, ranks and restarts do not change them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hand_made import HEIGHT, WIDTH, picture_name
from PIL import Image
from torchvision import transforms as tv

from amlrepro.config import EvalConfig, RunConfig
from amlrepro.data.batch import Batch
from amlrepro.data.loader import open_evaluation, open_training, other_sentences
from amlrepro.data.refer import load_refer
from amlrepro.errors import UserError
from amlrepro.models.spec import Protocol

MakeConfig = Callable[..., RunConfig]


def equal(a: Batch, b: Batch) -> bool:
    """Every field the same, to the bit; `update` is a number and `no_target` may be absent."""
    pairs = [(getattr(a, f.name), getattr(b, f.name)) for f in fields(Batch)]
    return all(torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y for x, y in pairs)


def test_training_batch_by_hand(training_root: Path, config_for: MakeConfig, protocol: Protocol) -> None:
    data = open_training(config_for(training_root), protocol)
    assert (data.n_refs, data.n_sentences, data.n_images, data.steps_per_epoch) == (5, 1 + 2 + 3 + 4 + 5, 4, 2)
    (batch,) = data.batches(1, 2)
    assert batch.update == 1
    assert batch.index.tolist() == [2, 3]
    assert (batch.image.shape, batch.image.dtype) == ((2, 3, 32, 32), torch.float32)
    assert (batch.target.shape, batch.target.dtype) == ((2, 32, 32), torch.int64)
    assert (batch.input_ids.shape, batch.input_ids.dtype, batch.attention_mask.dtype) == (
        (2, 6),
        torch.int64,
        torch.int64,
    )
    official = tv.Compose([tv.Resize((32, 32)), tv.ToTensor(), tv.Normalize(protocol.mean, protocol.std)])
    refs = load_refer(training_root, "refcoco").split("train")
    for row, index in enumerate(data.order.refs(batch.index.numpy())):
        ref = refs[index]
        with Image.open(training_root / "images/train2014" / picture_name(ref.image_id)) as picture:
            assert torch.equal(batch.image[row], official(picture.convert("RGB")))
        # the mask is the rectangle from x = ref_id to 20, y = 2 to 9; nearest takes the pixel at each centre
        x = ((np.arange(32) + 0.5) * WIDTH / 32).astype(int)
        y = ((np.arange(32) + 0.5) * HEIGHT / 32).astype(int)
        expected = ((y >= 2) & (y < 9))[:, None] & ((x >= ref.ref_id) & (x < 20))[None, :]
        assert batch.target[row].bool().numpy().tolist() == expected.tolist()
        sentences = [data.tokenizer.encode(s.sent, 6)[0] for s in ref.sentences]
        assert batch.input_ids[row].tolist() in sentences
        assert batch.attention_mask[row].tolist() == [int(i != 0) for i in batch.input_ids[row]]


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_do_not_matter(training_root: Path, config_for: MakeConfig, protocol: Protocol, workers: int) -> None:
    plain = open_training(config_for(training_root), protocol)
    threaded = open_training(config_for(training_root, exec__workers=workers), protocol)
    expected = list(plain.batches(0, 9))
    found = list(threaded.batches(0, 9))
    assert len(found) == 9
    assert all(map(equal, found, expected))
    # leaving early ends the threads, and starting in the middle gives the same batches
    iterator = threaded.batches(4, 9)
    assert equal(next(iterator), expected[4])
    iterator.close()


def test_ranks_partition_the_global_batch(training_root: Path, config_for: MakeConfig, protocol: Protocol) -> None:
    data = open_training(config_for(training_root, train__batch=4), protocol)
    (whole,) = data.batches(2, 3)
    shares = [next(data.batches(2, 3, rank, 2)) for rank in range(2)]
    for name in ("image", "input_ids", "attention_mask", "target", "index"):
        assert torch.equal(torch.cat([getattr(s, name) for s in shares]), getattr(whole, name))


def test_a_small_cache_gives_the_same(
    training_root: Path, config_for: MakeConfig, protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    from amlrepro.data import source
    from amlrepro.data.cache import ArrayCache

    data = open_training(config_for(training_root), protocol)
    expected = list(data.batches(0, 6))
    small = ArrayCache(limit=4000)  # one 32 x 32 picture has 3072 bytes
    monkeypatch.setattr(source, "_cache", small)
    assert all(map(equal, data.batches(0, 6), expected))
    assert 0 < small.size <= 4000


def test_evaluation_keeps_images_whole_and_covers_every_sample_once(
    training_root: Path, config_for: MakeConfig, protocol: Protocol
) -> None:
    config = config_for(training_root, exec__eval_batch=3)
    training = open_training(config, protocol)
    data = open_evaluation(config, EvalConfig(dataset="refcoco", split="val"), training.tokenizer, protocol)
    batches = list(data.batches())
    # file order: refs 6 and 8 and 9 in image 5, ref 7 in image 6; image 5 first, with its four sentences together
    assert data.n_samples == 5
    assert [b.positions for b in batches] == [[0, 1, 3, 4], [2]]
    assert [b.ids for b in batches] == [
        [
            (6, 600, 5, HEIGHT, WIDTH),
            (6, 601, 5, HEIGHT, WIDTH),
            (8, 800, 5, HEIGHT, WIDTH),
            (9, 900, 5, HEIGHT, WIDTH),
        ],
        [(7, 700, 6, HEIGHT, WIDTH)],
    ]
    assert [tuple(b.image.shape) for b in batches] == [(1, 3, 32, 32), (1, 3, 32, 32)]
    assert batches[0].image_index.tolist() == [0, 0, 0, 0]
    assert batches[0].target is not None
    assert (batches[0].target.dtype, tuple(batches[0].target.shape)) == (torch.bool, (4, 32, 32))
    assert batches[0].original is None
    together = replace(data, batch=5)
    (one,) = together.batches()
    assert one.image_index.tolist() == [0, 0, 0, 0, 1]
    threaded = replace(data, workers=2)
    assert [b.ids for b in threaded.batches()] == [b.ids for b in batches]


def test_evaluation_at_original_size(training_root: Path, config_for: MakeConfig, protocol: Protocol) -> None:
    config = config_for(training_root)
    tokenizer = open_training(config, protocol).tokenizer
    evaluation = EvalConfig(dataset="refcoco", split="val", resolution="original")
    (batch,) = open_evaluation(config, evaluation, tokenizer, protocol).batches()
    assert batch.target is None
    assert batch.original is not None
    # rectangle from x = ref_id to 20, y = 2 to 9; ref 9 points at object 16, whose last row is its own rectangle
    by_ref = {ids[0]: mask for ids, mask in zip(batch.ids, batch.original, strict=True)}
    assert {m.dtype for m in by_ref.values()} == {torch.bool}
    assert {tuple(m.shape) for m in by_ref.values()} == {(HEIGHT, WIDTH)}
    assert int(by_ref[7].sum()) == 13 * 7
    assert int(by_ref[8].sum()) == 12 * 7
    assert torch.equal(by_ref[6], by_ref[9])


def test_the_other_sentence_is_about_another_object(
    training_root: Path, config_for: MakeConfig, protocol: Protocol
) -> None:
    config = config_for(training_root, data__vocabulary="bert")
    tokenizer = open_training(config, protocol).tokenizer
    evaluation = EvalConfig(dataset="refcoco", split="val", text="other")
    data = open_evaluation(config, evaluation, tokenizer, protocol)
    # ref 7 is alone in its image and left out; refs 6 and 9 share object 16 and may not lend each other sentences
    assert [s.ref.ref_id for s in data.samples] == [6, 6, 8, 9]
    assert [s.position for s in data.samples] == [0, 1, 3, 4]
    texts = [s.text for s in data.samples]
    assert texts[0] == texts[1] == texts[3] == "the dog"
    assert texts[2] in {"the cat", "grey cat", "cat again"}
    (batch,) = data.batches()
    assert [ids[:2] for ids in batch.ids] == [(6, 600), (6, 601), (8, 800), (9, 900)]
    assert batch.input_ids[0].tolist() == tokenizer.encode("the dog", 6)[0]
    again = other_sentences(list(reversed(data.samples)), "sent")
    assert [s.text for s in reversed(again)] == texts


def test_raw_or_cleaned_text(training_root: Path, config_for: MakeConfig, protocol: Protocol) -> None:
    raw = open_training(config_for(training_root, data__text="raw"), protocol)
    assert "word1" in open_training(config_for(training_root), protocol).tokenizer.vocabulary
    assert "0!" in raw.tokenizer.vocabulary


def test_bad_input_is_one_error_before_any_batch(
    training_root: Path, config_for: MakeConfig, protocol: Protocol
) -> None:
    with pytest.raises(UserError, match="no data root"):
        open_training(RunConfig(), protocol)
    with pytest.raises(UserError, match="data root does not exist"):
        open_training(config_for(training_root / "none"), protocol)
    with pytest.raises(UserError, match="unknown data set"):
        open_training(config_for(training_root, data__train="refcoc"), protocol)
    tokenizer = open_training(config_for(training_root), protocol).tokenizer
    for dataset, split, message in (
        ("refcoco", "testC", "unknown split"),
        ("refcoco", "testA", "'testA' of refcoco"),
        ("refcocog", "val", "not under this data root"),
    ):
        with pytest.raises(UserError, match=message):
            open_evaluation(config_for(training_root), EvalConfig(dataset=dataset, split=split), tokenizer, protocol)
    path = training_root / "images/train2014" / picture_name(3)
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(UserError, match="unreadable image"):
        open_training(config_for(training_root), protocol)
    path.unlink()
    with pytest.raises(UserError, match="1 of 4 images missing"):
        open_training(config_for(training_root), protocol)


def test_no_sample_with_another_object_is_an_error(
    tmp_path: Path, config_for: MakeConfig, protocol: Protocol, shared: Path
) -> None:
    config = config_for(shared / "data" / "refcoco_mini")
    tokenizer = open_training(config, protocol).tokenizer
    evaluation = EvalConfig(dataset="refcoco", split="testA", text="other")
    with pytest.raises(UserError, match="no other sentence"):
        open_evaluation(config, evaluation, tokenizer, protocol)


def test_real_pictures_train_and_evaluate(shared: Path, config_for: MakeConfig, protocol: Protocol) -> None:
    config = config_for(shared / "data" / "refcoco_mini", train__batch=16)
    training = open_training(config, protocol)
    assert (training.n_refs, training.n_sentences, training.n_images, training.steps_per_epoch) == (47, 147, 18, 2)
    evaluation = EvalConfig(dataset="refcoco", split="testB")
    data = open_evaluation(config, evaluation, training.tokenizer, protocol)
    assert sorted(p for b in data.batches() for p in b.positions) == list(range(14))
