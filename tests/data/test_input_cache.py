"""Network inputs kept on disk: the same bits with and without, whatever happens to the files."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hand_made import annotation, picture_name, rectangle, ref_record, write_grefs
from PIL import Image

from amlrepro.config import EvalConfig, RunConfig
from amlrepro.data import disk_cache, inputs, source
from amlrepro.data.buffers import lend
from amlrepro.data.cache import ArrayCache
from amlrepro.data.disk_cache import DiskCache
from amlrepro.data.images import open_image
from amlrepro.data.loader import TrainingData, open_evaluation, open_training
from amlrepro.data.masks import ref_mask
from amlrepro.data.segments import DATA, INDEX, Segment, segments
from amlrepro.data.transforms import network_input, normalize, normalize_planes
from amlrepro.models.registry import get_spec
from amlrepro.models.spec import Protocol

MakeConfig = Callable[..., RunConfig]
GIB = 1 << 30


@pytest.fixture(autouse=True)
def each_visit_to_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is remembered in memory, small disks are written to as well, and each test opens its own cache."""
    monkeypatch.setattr(source, "_cache", ArrayCache(limit=0))
    monkeypatch.setattr(disk_cache.DiskCache.__init__, "__defaults__", (0,))
    inputs._opened.cache_clear()
    yield
    inputs._opened.cache_clear()


def same(a: Any, b: Any) -> bool:
    """Every field of two batches the same, to the bit."""

    def equal(x: Any, y: Any) -> bool:
        if isinstance(x, list) and x and isinstance(x[0], torch.Tensor):
            return len(x) == len(y) and all(map(torch.equal, x, y))
        return torch.equal(x, y) if isinstance(x, torch.Tensor) else bool(x == y)

    return all(equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))


def array(number: int, length: int = 3000) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(number).integers(0, 256, length, dtype=np.uint8)


def key(number: int) -> bytes:
    return hashlib.blake2b(str(number).encode(), digest_size=16).digest()


def fill(cache: DiskCache, numbers: range, length: int = 3000) -> int:
    """Ask for arrays by number, check each, and say how many had to be made."""
    made = []
    for number in numbers:

        def make(number: int = number) -> np.ndarray[Any, np.dtype[np.uint8]]:
            made.append(number)
            return array(number, length)

        assert np.array_equal(cache.get(key(number), make, packed=number % 2 == 0), array(number, length))
    return len(made)


def kept(root: Path) -> int:
    return sum(segment.size for segment in segments(root))


def opened(config: RunConfig, protocol: Protocol, folder: Path | str) -> TrainingData:
    """Training data as a process that has just started opens them."""
    inputs._opened.cache_clear()
    return open_training(config.with_changes({"exec.cache_dir": str(folder)}), protocol)


def test_normalising_by_channel_gives_the_same_bits_for_every_value() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    found = normalize_planes(list(pixels.transpose(0, 3, 1, 2).copy()), mean, std)
    assert torch.equal(found, normalize(torch.from_numpy(pixels), mean, std))
    by_hand = (np.arange(256, dtype=np.float32) / np.float32(255) - np.float32(0.485)) / np.float32(0.229)
    assert np.array_equal(found[0, 0].flatten().numpy(), by_hand)
    assert found.is_contiguous()
    assert found.data_ptr() % 64 == 0


@pytest.mark.parametrize("model", ["caris", "detris", "rela"])
def test_real_batches_are_the_same_cold_warm_and_without(
    tmp_path: Path, shared: Path, config_for: MakeConfig, model: str
) -> None:
    """Stretched, warped with soft masks, and drawn at input size."""
    protocol = get_spec(model).protocol
    name = "grefcoco" if protocol.multi_target else "refcoco"
    config = config_for(shared / "data" / "refcoco_mini", data__train=name, data__image_size=96, train__batch=8)
    plain = opened(config, protocol, "off")
    assert plain.source.inputs is None
    updates = range(plain.steps_per_epoch + 1)
    expected = [plain.batch(update) for update in updates]
    for row, number in enumerate(plain.order.refs(expected[0].index.numpy())):  # against the steps one by one
        ref = plain.refs[number]
        picture = open_image(plain.source.folder / plain.source.data.image_of(ref).file_name)
        pixels = torch.from_numpy(network_input(picture, 96, protocol).copy())[None]
        assert torch.equal(expected[0].image[row], normalize(pixels, protocol.mean, protocol.std)[0])
    if protocol.soft_target:
        assert ((expected[0].target > 0) & (expected[0].target < 1)).any()
    for _ in ("cold", "warm"):
        data = opened(config, protocol, tmp_path)
        assert all(same(data.batch(update), batch) for update, batch in zip(updates, expected, strict=True))
        again = [data.batch(update) for update in updates]  # checksums are known now
        assert all(map(same, again, expected))
    threaded = opened(config.with_changes({"exec.workers": 3}), protocol, tmp_path)
    assert all(map(same, threaded.batches(0, len(updates)), expected))
    assert kept(tmp_path / "amlris-inputs") > 0


def test_refs_to_several_objects_and_to_none(tmp_path: Path, config_for: MakeConfig, protocol: Protocol) -> None:
    refs = [ref_record(1, [11, 12], 1, "train", ["both"]), ref_record(2, [-1], 1, "train", ["none"])]
    shapes = ((11, rectangle(0, 0, 10, 15)), (12, rectangle(20, 15, 30, 30)))
    root = write_grefs(tmp_path / "root", refs, [annotation(i, 1, [shape]) for i, shape in shapes])
    config = config_for(root, data__train="grefcoco", data__image_size=80)
    general = replace(protocol, multi_target=True, rasterize="input")
    for folder in ("off", tmp_path, tmp_path):
        (batch,) = opened(config, general, folder).batches(0, 1)
        assert batch.no_target is not None
        sums = dict(zip(batch.no_target.tolist(), batch.target.sum((1, 2)).tolist(), strict=True))
        assert sums == {False: 2 * 20 * 40, True: 0}  # 10 x 15 pixels of 40 x 30 are 20 x 40 of 80 x 80


def test_lent_memory_comes_back_when_nothing_refers_to_it() -> None:
    first = lend((3, 50), torch.float32).fill_(1)
    place, row = first.data_ptr(), first[1]
    del first
    assert lend((3, 50), torch.float32).fill_(2).data_ptr() != place
    assert row.tolist() == [1] * 50
    del row
    again = [lend((3, 50), torch.float32) for _ in range(3)]
    assert place in [tensor.data_ptr() for tensor in again]
    assert lend((2, 2), torch.int64).dtype == torch.int64


def test_a_warm_cache_decodes_no_picture_and_draws_no_mask(
    tmp_path: Path, training_root: Path, config_for: MakeConfig, protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_for(training_root)
    expected = list(opened(config, protocol, tmp_path).batches(0, 6))
    for name in ("open_image", "ref_mask"):
        monkeypatch.setattr(source, name, lambda *_: pytest.fail("made again"))
    data = opened(config, protocol, tmp_path)
    assert all(map(same, data.batches(0, 6), expected))


def test_evaluations_too(tmp_path: Path, training_root: Path, config_for: MakeConfig, protocol: Protocol) -> None:
    affine = replace(protocol, resize="affine", border=(1, 2, 3))
    config = config_for(training_root)
    tokenizer = open_training(config, protocol).tokenizer
    for fed in (protocol, affine):
        for resolution in ("resized", "original"):
            evaluation = EvalConfig(dataset="refcoco", split="val", resolution=resolution)
            expected = list(open_evaluation(config, evaluation, tokenizer, fed).batches())
            for _ in range(2):
                on = config.with_changes({"exec.cache_dir": str(tmp_path)})
                assert all(map(same, open_evaluation(on, evaluation, tokenizer, fed).batches(), expected))
    on = config.with_changes({"exec.cache_dir": str(tmp_path)})
    before = kept(tmp_path / "amlris-inputs")
    perturbed = EvalConfig(dataset="refcoco", split="val", perturbation="contrast", severity=3)
    found = list(open_evaluation(on, perturbed, tokenizer, protocol).batches())
    assert all(map(same, found, open_evaluation(config, perturbed, tokenizer, protocol).batches()))
    assert kept(tmp_path / "amlris-inputs") == before  # perturbed pictures are not kept


def test_a_replaced_picture_or_outline_is_another_input(
    tmp_path: Path, training_root: Path, config_for: MakeConfig, protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "_cache", ArrayCache())  # what memory holds must change too
    config = config_for(training_root)
    data = opened(config, protocol, tmp_path)
    before = [data.batch(update) for update in range(3)]
    path = training_root / "images/train2014" / picture_name(4)
    with Image.open(path) as picture:
        turned = picture.convert("RGB").transpose(Image.Transpose.ROTATE_180)
    old = path.stat()
    beside = path.with_name("new.jpg")
    turned.save(beside, "jpeg", quality=100)
    os.utime(beside, ns=(old.st_atime_ns, old.st_mtime_ns))  # as a copy that keeps times would
    os.replace(beside, path)
    expected = [opened(config, protocol, "off").batch(update) for update in range(3)]
    assert not all(map(same, before, expected))
    assert all(same(data.batch(update), expected[update]) for update in range(3))  # in the process that saw the old one
    assert all(same(opened(config, protocol, tmp_path).batch(update), expected[update]) for update in range(3))

    annotations = training_root / "refcoco" / "instances.json"
    content = json.loads(annotations.read_text())
    for row in content["annotations"]:  # the rectangles end three pixels earlier
        row["segmentation"] = [[17 if v == 20 else v for v in polygon] for polygon in row["segmentation"]]
    annotations.write_text(json.dumps(content))
    moved = [opened(config, protocol, "off").batch(update) for update in range(3)]
    assert not any(torch.equal(a.target, b.target) for a, b in zip(moved, expected, strict=True))
    assert all(same(opened(config, protocol, tmp_path).batch(update), moved[update]) for update in range(3))


def test_the_same_picture_at_another_place_is_the_same_input(
    tmp_path: Path, training_root: Path, config_for: MakeConfig, protocol: Protocol
) -> None:
    list(opened(config_for(training_root), protocol, tmp_path / "c").batches(0, 3))
    size = kept(tmp_path / "c/amlris-inputs")
    shutil.copytree(training_root, tmp_path / "elsewhere")
    list(opened(config_for(tmp_path / "elsewhere"), protocol, tmp_path / "c").batches(0, 3))
    assert kept(tmp_path / "c/amlris-inputs") == size


def test_deleted_while_it_is_read(
    tmp_path: Path, training_root: Path, config_for: MakeConfig, protocol: Protocol
) -> None:
    config = config_for(training_root)
    expected = [opened(config, protocol, "off").batch(update) for update in range(6)]
    data, other = opened(config, protocol, tmp_path), opened(config, protocol, tmp_path)
    for update in range(6):
        assert same(data.batch(update), expected[update])
        assert same(other.batch(update), expected[update])
        shutil.rmtree(tmp_path / "amlris-inputs", ignore_errors=True)  # there is none while open files serve
        assert same(data.batch(update), expected[update])
    for reader in (data, other):
        assert reader.source.inputs is not None
        reader.source.inputs.arrays._next_touch = 0.0  # ten minutes later removed files are let go
    assert all(same(other.batch(update), expected[update]) for update in range(6))
    assert kept(tmp_path / "amlris-inputs") > 0  # it fills again


def test_it_stays_in_its_bounds_and_drops_what_is_idle(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    limit = 200_000
    cache = DiskCache(tmp_path, "a", limit)
    with caplog.at_level(logging.WARNING):
        assert fill(cache, range(200)) == 200
        assert fill(cache, range(200)) > 100
    assert limit * 0.9 < kept(tmp_path) <= limit
    assert [record.message.split(" (")[0] for record in caplog.records] == ["the cache of network inputs is full"]
    assert fill(DiskCache(tmp_path, "b", limit), range(20)) == 20
    assert fill(DiskCache(tmp_path, "b", limit), range(20)) == 20  # nothing made room: all segments are in use
    for index in sorted(tmp_path.glob(f"a/*{INDEX}"))[:8]:
        for path in (index, index.with_suffix(DATA)):
            os.utime(path, (1, 1))
    assert fill(DiskCache(tmp_path, "b", limit), range(10)) == 10
    assert fill(DiskCache(tmp_path, "b", limit), range(10)) == 0
    assert kept(tmp_path) <= limit
    assert any(path.stat().st_mtime == 1 for path in tmp_path.glob("a/*"))  # no more than had to


def test_damage_is_noticed_and_mended(tmp_path: Path) -> None:
    fill(DiskCache(tmp_path, "a", GIB), range(8))
    (data,) = tmp_path.glob(f"a/*{DATA}")
    content = bytearray(data.read_bytes())
    content[10] ^= 1
    content[-10] ^= 1
    data.write_bytes(content)
    cache = DiskCache(tmp_path, "a", GIB)
    assert fill(cache, range(8)) == 2
    assert fill(cache, range(8)) == 0
    for path in tmp_path.glob(f"a/*{INDEX}"):
        if path != data.with_suffix(INDEX):
            path.unlink()
    os.utime(data, (1, 1))  # its writer is long gone
    assert fill(DiskCache(tmp_path, "a", GIB), range(8)) == 8
    assert not data.exists()
    assert fill(DiskCache(tmp_path, "a", GIB), range(8)) == 0
    for path in tmp_path.glob(f"a/*{DATA}"):
        os.truncate(path, 100)
    assert fill(DiskCache(tmp_path, "a", GIB), range(8)) == 8
    for path in tmp_path.glob(f"a/*{INDEX}"):
        path.write_bytes(path.read_bytes()[:-7])  # a torn last row
    assert fill(DiskCache(tmp_path, "a", GIB), range(8)) > 0


def test_a_full_disk_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = DiskCache(tmp_path, "a", GIB)
    fill(cache, range(3))
    before = kept(tmp_path)
    monkeypatch.setattr(
        os, "pwrite", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device"))
    )
    with caplog.at_level(logging.WARNING):
        assert fill(cache, range(3, 9)) == 6
    assert len(caplog.records) == 1
    assert "No space left on device" in caplog.records[0].message
    assert kept(tmp_path) < before  # the last segment made room
    assert fill(DiskCache(tmp_path, "a", GIB, reserve=1 << 62), range(3)) == 3


def test_a_folder_that_cannot_be_made(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING):
        assert fill(DiskCache(tmp_path / "file", "a", GIB), range(3)) == 3
    assert len(caplog.records) == 1


def test_processes_share_and_a_killed_one_leaves_nothing_wrong(tmp_path: Path) -> None:
    """Writers are killed wherever they happen to be; whoever comes later reads what was asked for."""
    body = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path\n"
        "from test_input_cache import GIB, DiskCache, fill\n"
        "print('ready', flush=True)\n"
        "for _ in range(2): fill(DiskCache(Path(sys.argv[1]), 'a', GIB, 0), range(400), 100_000)\n"
    )
    arguments = [sys.executable, "-c", body, str(tmp_path), str(Path(__file__).parent)]
    processes = [subprocess.Popen(arguments, stdout=subprocess.PIPE) for _ in range(2)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
    while kept(tmp_path) < 3_000_000 and any(process.poll() is None for process in processes):
        time.sleep(0.005)
    for process in processes:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    cache = DiskCache(tmp_path, "a", GIB, 0)
    assert fill(cache, range(400), 100_000) < 400
    assert fill(DiskCache(tmp_path, "a", GIB, 0), range(400), 100_000) == 0


def test_one_process_finds_what_another_wrote_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = DiskCache(tmp_path, "a", GIB), DiskCache(tmp_path, "a", GIB)
    fill(first, range(4))
    assert fill(second, range(4)) == 0
    fill(first, range(4, 8))
    second._next_look = 0
    assert fill(second, range(8)) == 0
    stems = [segment.stem for segment in segments(tmp_path)]
    assert len(stems) == 1
    assert len(list(Segment(stems[0]).new_rows())) == 8


def test_outlines_and_sizes_have_keys_of_their_own(shared: Path, config_for: MakeConfig, protocol: Protocol) -> None:
    data = open_training(config_for(shared / "data" / "refcoco_mini"), protocol).source.data
    masks: dict[bytes, Any] = {}
    for ref in data.refs:
        found = inputs.mask_key("resized", 32, data.image_of(ref), data.annotations_of(ref))
        mask = ref_mask(data, ref)
        assert np.array_equal(masks.setdefault(found, mask), mask)
    objects = {(ref.image_id, ref.ann_ids) for ref in data.refs}
    assert len(masks) == len(objects)
    ref = data.refs[0]
    kinds = [inputs.mask_key(k, s, data.image_of(ref), data.annotations_of(ref)) for k in ("a", "b") for s in (1, 2)]
    assert len(set(kinds)) == 4


def test_where_it_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, protocol: Protocol) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("AMLRIS_CACHE")
    assert inputs.cache_folder() == tmp_path / "amlrepro" / "inputs"
    monkeypatch.setenv("AMLRIS_CACHE", str(tmp_path / "x"))
    assert inputs.cache_folder() == tmp_path / "x" / "amlris-inputs"
    assert inputs.cache_folder(str(tmp_path / "y")) == tmp_path / "y" / "amlris-inputs"
    monkeypatch.setenv("AMLRIS_CACHE", "off")
    assert inputs.cache_folder() is None
    config = RunConfig().with_changes({"exec.cache_dir": str(tmp_path), "exec.cache_gib": 0.0})
    assert inputs.open_inputs(config.exec, protocol, 32) is None
    assert config.run_id == RunConfig().run_id
