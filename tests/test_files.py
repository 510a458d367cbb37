"""Files that are never half-written."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from amlrepro import files
from amlrepro.errors import UserError
from amlrepro.files import append_jsonl, atomic_path, canonical_hash, read_json, read_jsonl, sha256_file, write_json


def test_an_interrupted_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"x": 1})

    def write_half() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert read_json(path) == {"x": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_full_disk_is_said_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(UserError, match="the disk is full"):
        write_json(tmp_path / "a.json", [1])
    assert list(tmp_path.iterdir()) == []


def test_a_torn_last_line_is_ignored_and_the_next_row_survives(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    append_jsonl(path, {"step": 1})
    with path.open("ab") as f:
        f.write(b'{"step": 2, "lo')
    assert read_jsonl(path) == [{"step": 1}]
    append_jsonl(path, {"step": 3})
    assert read_jsonl(path) == [{"step": 1}, {"step": 3}]
    assert read_jsonl(path, re.compile(rb"3")) == [{"step": 3}]


def test_hashes(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    assert sha256_file(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, B.1
    assert canonical_hash({"b": 1, "a": [1, 2]}) == hashlib.sha256(b'{"a":[1,2],"b":1}').hexdigest()[:12]
    assert canonical_hash({"a": [1, 2], "b": 1}) == canonical_hash({"b": 1, "a": [1, 2]})


def test_broken_json_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_text("{")
    with pytest.raises(UserError, match=r"state\.json"):
        read_json(path)


def test_what_killed_writers_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    code = """
import os, signal, sys
from pathlib import Path
from amlrepro.files import atomic_path
with atomic_path(Path(sys.argv[1])):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    target = tmp_path / "runs" / "a" / "state.json"
    subprocess.run([sys.executable, "-c", code, str(target)], check=False)
    (left,) = target.parent.iterdir()
    foreign = target.parent / ".state.json.0123abcd-1.x.tmp"  # of another machine: it may live
    foreign.touch()
    with files.atomic_path(target) as mine:
        assert files.sweep(tmp_path) == [left]
        assert mine.exists()
    assert sorted(target.parent.iterdir()) == [foreign, target]


def test_a_guard_holds_a_write_back(tmp_path: Path) -> None:
    def refuse(path: Path) -> None:
        raise UserError("not yours", where=path)

    files.guards.append(refuse)
    try:
        for write in (lambda path: files.write_text(path, "x"), lambda path: files.append_jsonl(path, {})):
            with pytest.raises(UserError, match="not yours"):
                write(tmp_path / "file")
    finally:
        files.guards.remove(refuse)
    assert not list(tmp_path.iterdir())
