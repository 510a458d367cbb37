"""Annotation pickles: Python 2's are read, code is refused, damage is named."""

from __future__ import annotations

import collections
import contextlib
import io
import pickle
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from amlrepro.data.pickles import load_plain_pickle
from amlrepro.errors import UserError


def python2_protocol0(value: Any) -> bytes:
    """Text opcodes as Python 2 writes them: byte strings as S'...', unicode as V..., without memo."""
    if value is None:
        return b"N"
    if isinstance(value, bool):
        return b"I01\n" if value else b"I00\n"
    if isinstance(value, int):
        return b"I%d\n" % value
    if isinstance(value, float):
        return f"F{value!r}\n".encode()
    if isinstance(value, bytes):
        return b"S" + repr(value)[1:].encode() + b"\n"
    if isinstance(value, str):
        return b"V" + value.encode("raw-unicode-escape") + b"\n"
    if isinstance(value, list):
        return b"(l" + b"".join(python2_protocol0(item) + b"a" for item in value)
    return b"(d" + b"".join(python2_protocol0(k) + python2_protocol0(v) + b"s" for k, v in value.items())


def python2_protocol2(value: Any) -> bytes:
    """Binary opcodes of protocol 2 as Python 2 writes them: byte strings as SHORT_BINSTRING."""
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value)
    if isinstance(value, bytes):
        return b"U" + bytes([len(value)]) + value
    if isinstance(value, list):
        return b"](" + b"".join(map(python2_protocol2, value)) + b"e"
    return b"}(" + b"".join(python2_protocol2(k) + python2_protocol2(v) for k, v in value.items()) + b"u"


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


RECORD: dict[bytes, Any] = {
    b"ref_id": 7,
    b"split": b"testA",
    b"sentences": [{b"sent": b"caf\xc3\xa9 left", b"raw": b"caf\xe9 left"}],
}
EXPECTED = {"ref_id": 7, "split": "testA", "sentences": [{"sent": "café left", "raw": "café left"}]}


def test_python2_protocol_0_with_utf8_and_latin1_text(tmp_path: Path) -> None:
    assert load_plain_pickle(write(tmp_path / "a.p", python2_protocol0([RECORD]) + b".")) == [EXPECTED]


def test_python2_protocol_2_with_utf8_and_latin1_text(tmp_path: Path) -> None:
    assert load_plain_pickle(write(tmp_path / "a.p", b"\x80\x02" + python2_protocol2([RECORD]) + b".")) == [EXPECTED]


def test_python2_scalars_and_unicode(tmp_path: Path) -> None:
    values = [1, -3, True, None, 2.5, "ünï"]
    assert load_plain_pickle(write(tmp_path / "a.p", python2_protocol0(values) + b".")) == values


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_python3_containers_of_every_protocol(tmp_path: Path, protocol: int) -> None:
    value = [
        {"a": [1, 2.5, True, None], "b": ("x", 2**70), "c": {1, 2}, "d": frozenset({3})},
        collections.OrderedDict(a=1),
    ]
    assert load_plain_pickle(write(tmp_path / "a.p", pickle.dumps(value, protocol))) == value


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_bytes_become_text(tmp_path: Path, protocol: int) -> None:
    data = pickle.dumps([{b"sent": b"caf\xc3\xa9", "ids": (1, b"x")}], protocol)
    assert load_plain_pickle(write(tmp_path / "a.p", data)) == [{"sent": "café", "ids": (1, "x")}]


class Touch:
    """Unpickling this with the ordinary module makes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return subprocess.call, (["touch", str(self.target)],)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_code_is_refused_and_not_executed(tmp_path: Path, protocol: int) -> None:
    target = tmp_path / "harmed"
    path = write(tmp_path / "refs(unc).p", pickle.dumps([{"ref_id": Touch(target)}], protocol, fix_imports=False))
    with pytest.raises(UserError, match="tries to execute code") as caught:
        load_plain_pickle(path)
    assert not target.exists()
    assert str(path) in str(caught.value)
    assert "subprocess.call" in str(caught.value)


@pytest.mark.parametrize("name", ["builtins eval", "__builtin__ eval", "os system", "posix system", "codecs encode"])
def test_dangerous_globals_are_refused(tmp_path: Path, name: str) -> None:
    module, function = name.split()
    data = f"c{module}\n{function}\n(S'1'\ntR.".encode()
    with pytest.raises(UserError, match="tries to execute code"):
        load_plain_pickle(write(tmp_path / "a.p", data))


def test_allowed_helpers_cannot_be_bent(tmp_path: Path) -> None:
    # the stand-in for _codecs.encode takes no other codec than the one Python 3 writes
    data = b"c_codecs\nencode\n(Vabc\nVrot13\ntR."
    with pytest.raises(UserError, match="damaged"):
        load_plain_pickle(write(tmp_path / "a.p", data))


def test_every_truncation_is_one_clear_error(tmp_path: Path) -> None:
    data = pickle.dumps([{"ref_id": 1, "sentences": ["a", "b"], "x": 1.5}], protocol=2)
    for length in range(len(data)):
        with pytest.raises(UserError, match="truncated or damaged"):
            load_plain_pickle(write(tmp_path / "a.p", data[:length]))


def test_damage_of_any_byte_never_escapes_as_another_error(tmp_path: Path) -> None:
    data = bytearray(pickle.dumps([{"ref_id": 1, "sentences": ["a", "b"]}], protocol=2))
    for i in range(len(data)):
        for bad in (0, 0x52, 0xFF):
            damaged = bytes(data[:i] + bytes([bad]) + data[i + 1 :])
            with contextlib.suppress(UserError):
                load_plain_pickle(write(tmp_path / "a.p", damaged))


def test_missing_file_and_persistent_ids(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        load_plain_pickle(tmp_path / "none.p")

    class WithPersistentIds(pickle.Pickler):
        def persistent_id(self, obj: Any) -> Any:
            return "id" if obj == "x" else None

    buffer = io.BytesIO()
    WithPersistentIds(buffer).dump(["x"])
    with pytest.raises(UserError, match="damaged"):
        load_plain_pickle(write(tmp_path / "a.p", buffer.getvalue()))
