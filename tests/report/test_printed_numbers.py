"""The printed numbers against each other: sums, repeats and differences that the paper states in its prose."""

from __future__ import annotations

from decimal import Decimal

import pytest

from amlrepro.suite.printed import load_all_printed, load_printed

TABLE1 = ("table1_miou", "table1_oiou", "table1_combined")


def exact(table: str, row: str, column: str) -> Decimal:
    """A printed number with its digits."""
    value = load_printed(table).value(row, column)
    assert value is not None
    return Decimal(value.text)


def test_every_table_is_there() -> None:
    """Tables 1 (three blocks) to 18, and 225 numbers in Table 1: 10, 9 and 7 rows of 9, less the dashes."""
    tables = load_all_printed()
    numbers = {t.printed_in.partition(",")[0] for t in tables.values() if t.type == "table"}
    assert numbers == {f"Table {n}" for n in range(1, 19)}
    counts = [sum(v is not None for r in load_printed(t).rows for v in r.values.values()) for t in TABLE1]
    assert counts == [10 * 9 - 6, 9 * 9 - 3, 7 * 9]


def test_nineteen_of_23_averages_agree() -> None:
    """Audit T1-AVG1 to T1-AVG5: the others are LAVT and CGFormer (mIoU), PolyFormer and Ours (combined)."""
    agree, wrong = [], {}
    for name in TABLE1:
        table = load_printed(name)
        for row in table.rows:
            printed = row.values["avg"]
            if printed is None:
                continue
            cells = [exact(name, row.key, c.key) for c in table.columns if not c.derived]
            mean = sum(cells, Decimal(0)) / 8
            if abs(mean - Decimal(printed.text)) <= Decimal("0.05"):
                agree.append(row.key)
            else:
                wrong[name, row.key] = mean
    assert len(agree) + len(wrong) == 23
    assert {key: round(value, 2) for key, value in wrong.items()} == {
        ("table1_miou", "lavt"): Decimal("68.16"),
        ("table1_miou", "cgformer"): Decimal("71.05"),
        ("table1_combined", "polyformer"): Decimal("69.90"),
        ("table1_combined", "caris_aml"): Decimal("71.64"),
    }


@pytest.mark.parametrize(
    ("table", "columns", "gains"),
    [
        ("table1_miou", "refcoco.val refcoco.testA refcoco.testB", "1.12 0.50 0.43"),
        ("table1_oiou", "refcoco.val refcoco.testA refcoco.testB", "0.80 0.50 0.42"),
        ("table1_miou", "refcoco+.val refcoco+.testA refcoco+.testB", "2.00 1.10 1.92"),
        ("table1_oiou", "refcoco+.val refcoco+.testA refcoco+.testB", "1.83 1.33 1.54"),
        ("table1_miou", "refcocog.test", "1.22"),
        ("table1_oiou", "refcocog.test", "1.78"),
        ("table1_combined", "refcoco.val refcoco+.val refcocog.val", "0.53 0.96 1.40"),
    ],
)
def test_gains_quoted_in_the_prose(table: str, columns: str, gains: str) -> None:
    """Section 4.2 of the paper: gains of AML over CARIS."""
    found = [exact(table, "caris_aml", c) - exact(table, "caris", c) for c in columns.split()]
    assert found == [Decimal(gain) for gain in gains.split()]


def test_rows_repeated_from_table_to_table() -> None:
    for column in ("refcoco+.val", "refcoco+.testA", "refcoco+.testB"):
        for row in ("caris", "caris_aml", "detris"):
            assert exact("table2", row, column) == exact("table1_oiou", row, column)
    for column in ("refcoco.val", "refcoco+.val", "refcocog.val"):
        assert exact("table4", "caris", column) == exact("table1_oiou", "caris", column)
        assert exact("table4", "caris_aml", column) == exact("table1_oiou", "caris_aml", column)


def test_means_over_perturbations() -> None:
    """Table 15's fourteen lines average to the numbers quoted for Figure 1(d): 58.98, 62.48, 51.36, 53.69 mIoU."""
    table = load_printed("table15")
    for method in ("caris", "caris_aml"):
        rows = [r for r in table.rows if r.attrs.get("method") == method and not r.derived]
        assert len(rows) == 7
        for dataset in ("refcoco", "refcocog"):
            mean = sum((exact("table15", r.key, f"{dataset}.val.miou") for r in rows), Decimal(0)) / 7
            assert abs(mean - exact("fig1d_quoted", method, f"{dataset}.val")) <= Decimal("0.005")


def test_printed_differences() -> None:
    """Every bracketed difference is that of its cells, except where an erratum says so (T3-B)."""
    pairs = {
        ("table3", "caris_aml_10ep"): "magnet_10ep",
        ("table3", "rela_aml_5k"): "rela_5k",
        ("table18", "caris_feature_mask"): "caris",
        ("table18", "caris_aml"): "caris",
    }
    wrong = []
    for (name, row), base in pairs.items():
        for column, delta in load_printed(name).row(row).delta.items():
            if exact(name, row, column) - exact(name, base, column) != Decimal(delta.text):
                wrong += [e.see for e in load_printed(name).errata_of(row, column)]
    assert wrong == ["T3-B"]
