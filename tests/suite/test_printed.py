"""The printed numbers, as read."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import yaml

from amlrepro.errors import UserError
from amlrepro.suite.printed import PrintedNumber, load_all_printed, load_printed, tables_path


def test_digits_of_print_are_kept() -> None:
    value = load_printed("table1_miou").value("cris", "refcoco.testB")
    assert value == 66.1
    assert value is not None
    assert (value.text, value.decimals) == ("66.10", 2)
    assert pickle.loads(pickle.dumps(value)).text == "66.10"


def test_every_number_is_the_yaml_number() -> None:
    raw = yaml.safe_load(tables_path().read_text("utf-8"))
    tables = load_all_printed()
    assert list(tables) == list(raw)
    for key, table in tables.items():
        assert [c.key for c in table.columns] == raw[key]["columns"]
        for row, source in zip(table.rows, raw[key]["rows"], strict=True):
            assert dict(row.values) == source["values"]
            assert all(isinstance(v, PrintedNumber) for v in row.values.values() if v is not None)


def test_dashes_and_errata() -> None:
    table = load_printed("table1_miou")
    assert table.value("barleria", "refcocog.val") is None
    (erratum,) = table.errata_of("lavt", "avg")
    assert (erratum.printed, erratum.recomputed) == (68.0, 68.16)


def test_a_typo_names_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'table1_miou'"):
        load_printed("table1_mIou")
    with pytest.raises(UserError, match="did you mean 'caris_aml'"):
        load_printed("table1_miou").row("caris_alm")


def test_a_row_with_a_missing_column_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = yaml.safe_load(tables_path().read_text("utf-8"))["table2"]
    del raw["rows"][0]["values"]["refcoco+.val"]
    (tmp_path / "paper").mkdir()
    (tmp_path / "paper" / "tables.yaml").write_text(yaml.safe_dump({"table2": raw}))
    monkeypatch.setenv("AMLRIS_EXPERIMENTS", str(tmp_path))
    with pytest.raises(UserError, match="one value per column"):
        load_printed("table2")
