"""How processes of a run notice that another is gone; here the processes are threads with a store between them."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import torch.distributed as dist

from amlrepro.engine import peers
from amlrepro.engine.peers import Peers, Word


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> object:
    """Where they meet, and patience that fits a test."""
    for name, seconds in (("BEAT_SECONDS", 0.05), ("SILENCE_SECONDS", 1.0), ("GRACE_SECONDS", 0.2)):
        monkeypatch.setattr(peers, name, seconds)
    opened = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(opened.port))
    return opened


def soon(condition: Callable[[], object], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return bool(condition())


def make(number: int, ended: list[tuple[int, Word]]) -> list[Peers]:
    return [Peers(rank, number, lambda word, rank=rank: ended.append((rank, word))) for rank in range(number)]


def test_nothing_happens_while_all_live(store: object) -> None:
    ended: list[tuple[int, Word]] = []
    all_of_them = make(3, ended)
    for each in all_of_them:
        each.start()
    time.sleep(1.5)
    for each in all_of_them:
        each.stop()
    assert ended == []


def test_the_first_word_is_everybodys(store: object) -> None:
    ended: list[tuple[int, Word]] = []
    first, second, third = make(3, ended)
    for each in (first, second, third):
        each.start()
    assert first.heard() is None
    second.tell(Word(1, "crash", "process 1: ValueError: a bug"))
    third.tell(Word(2, "crash", "process 2: lost process 1"))
    word = Word(1, "crash", "process 1: ValueError: a bug")
    assert first.heard() == third.heard() == word
    assert soon(lambda: len(ended) == 2)
    assert sorted(ended) == [(0, word), (2, word)], "the one that told it ends by itself"
    for each in (first, second, third):
        each.stop()


def test_a_silent_one_is_noticed(store: object) -> None:
    ended: list[tuple[int, Word]] = []
    first, second = make(2, ended)
    first.start()
    second.start()
    time.sleep(0.3)
    second.stop()  # its beat stops, as that of a killed process or a machine without power
    assert soon(lambda: ended)
    ((rank, word),) = ended
    assert (rank, word.rank, word.kind) == (0, 1, "silent")
    assert "no sign of life" in word.reason


def test_waiting_for_a_word_has_an_end(store: object) -> None:
    (alone,) = make(1, [])
    begin = time.monotonic()
    assert alone.heard(0.3) is None
    assert 0.3 <= time.monotonic() - begin < 3
