"""Messages for mistakes."""

from __future__ import annotations

import pickle

from amlrepro.errors import UserError, nearest, unknown_name


def test_message_has_the_known_parts_only() -> None:
    error = UserError("no such split", where="refcoco", hint="try val")
    assert str(error).splitlines() == ["no such split", "  where:    refcoco", "  next:     try val"]


def test_nearest_ignores_case_and_orders_by_likeness() -> None:
    assert nearest("TESTB", ["val", "testA", "testB"])[0] == "testB"
    assert nearest("zzz", ["val", "train"], 1) != []  # something is always offered


def test_unknown_name_offers_the_nearest() -> None:
    text = str(unknown_name("split", "tesA", ["train", "val", "testA"], "refcoco"))
    assert "unknown split 'tesA'" in text
    assert "did you mean 'testA'" in text
    assert "train, val, testA" in text


def test_errors_cross_process_borders() -> None:
    error = UserError("what", where="w", found="f", expected="e", hint="h")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
