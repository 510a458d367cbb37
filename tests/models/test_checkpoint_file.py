"""Weight files: what is read, what is refused, and in which words."""

from __future__ import annotations

import argparse
import os
import pickle
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from torch import nn

from amlrepro.errors import UserError
from amlrepro.models import checkpoint_file
from amlrepro.models.checkpoint_file import read_tensors, write_tensors, write_torch


class Call:
    """Pickled, it asks for a call that would leave a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_nested_prefixed_and_beside_arguments(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.pth"
    content = {"model": {"module.a": torch.ones(2)}, "args": argparse.Namespace(lr=1.0), "epoch": 3}
    torch.save(content, file)
    (name, value), *others = read_tensors(file).items()
    assert (name, value.tolist(), others) == ("a", [1.0, 1.0], [])
    torch.save(content, file, _use_new_zipfile_serialization=False)
    assert read_tensors(file)["a"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("words", ["hello world\n", "checkpoint of caris\nfoo\n", "<html>\n<body>", "ein Ä" * 400])
def test_text_is_no_checkpoint(tmp_path: Path, words: str) -> None:
    file = tmp_path / "checkpoint.pth"
    file.write_text(words, encoding="utf-8")
    with pytest.raises(UserError, match="not a checkpoint file") as caught:
        read_tensors(file)
    assert caught.value.found == "text"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "not a checkpoint file"),
        (pickle.dumps({"a": 1}, protocol=4), "not a checkpoint file"),
        (b"", "not a readable weight file"),
        (b"\x80\x02", "not a readable weight file"),
        (b"PK\x03\x04 and no more", "not a readable weight file"),
    ],
)
def test_other_files(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "checkpoint.pth"
    file.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_tensors(file)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_no_pickle_runs_code(tmp_path: Path, protocol: int) -> None:
    file, made = tmp_path / "checkpoint.pth", tmp_path / "made"
    file.write_bytes(pickle.dumps({"model": Call(made)}, protocol=protocol))
    # a pickle of protocol 0 is text, and no checkpoint is stored so
    with pytest.raises(UserError, match="not a checkpoint file" if protocol == 0 else "asks to run code"):
        read_tensors(file)
    assert not made.exists()


def test_what_it_asks_for_is_named(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.pth"
    torch.save({"model": nn.Linear(1, 1)}, file)
    with pytest.raises(UserError, match="asks to run code") as caught:
        read_tensors(file)
    assert caught.value.found == "torch.nn.modules.linear.Linear"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_torch_files_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def on_full_device(**_: object) -> tuple[int, str]:
        (tmp_path / "temporary").symlink_to("/dev/full")
        return os.open(os.devnull, os.O_RDONLY), str(tmp_path / "temporary")

    monkeypatch.setattr(tempfile, "mkstemp", on_full_device)
    with pytest.raises(UserError, match="the disk is full"):
        write_torch(tmp_path / "out.pth", {"model": {"a": torch.zeros(100_000)}})
    assert list(tmp_path.iterdir()) == []


def test_safetensors_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoint_file, "save_file", full)
    with pytest.raises(UserError, match="the disk is full"):
        write_tensors(tmp_path / "out.safetensors", {"a": torch.zeros(2)}, {})
    assert list(tmp_path.iterdir()) == []
