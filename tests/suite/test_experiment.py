"""Experiment files: what is accepted and what is said otherwise."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from amlrepro.errors import UserError
from amlrepro.suite.experiment import experiment_names, load_experiment, load_experiments
from amlrepro.suite.folder import experiments_folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the experiment files that a test may spoil."""
    copy = tmp_path / "experiments"
    shutil.copytree(experiments_folder(), copy)
    monkeypatch.setenv("AMLRIS_EXPERIMENTS", str(copy))
    return copy


def spoil(folder: Path, old: str, new: str) -> None:
    path = folder / "table1.yaml"
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")


def test_every_shipped_experiment_loads() -> None:
    for experiment in load_experiments(["all"]):
        assert [
            line.split()[0] for line in experiment.comment.splitlines() if line[:1].isalpha() and "  " in line[:9]
        ] == [
            "Shows",
            "Needs",
            "Costs",
            "Expect",
        ]
        assert experiment.blocks or experiment.figures


def test_the_whole_experimental_part_is_there() -> None:
    """Tables 1 to 18 and the figures that need an experiment (experiments of the paper, sections 9 and 10)."""
    figures = ["figure1c", "figure1d", "figure4a", "figure4b", "figure5", "figure6", "figure7", "figure8"]
    assert experiment_names() == [*(f"table{n}" for n in range(1, 19)), *figures]


def test_table1_trains_caris_with_and_without_aml_and_detris_without() -> None:
    table1 = load_experiment("table1")
    assert [block.printed for block in table1.blocks] == ["table1_miou", "table1_oiou", "table1_combined"]
    caris = {"caris": "baseline", "caris_aml": "aml"}
    for block in table1.blocks:
        expected = caris if block.id == "combined" else {**caris, "detris": "baseline"}
        assert {key: row.preset for key, row in block.rows.items()} == expected
    assert {row.train for row in table1.block("combined").rows.values()} == {"combined"}
    assert {row.train for row in table1.block("miou").rows.values()} == {"own"}


def test_named_twice_is_once(folder: Path) -> None:
    assert [e.id for e in load_experiments(["table1", "table1"])] == ["table1"]
    (folder / "table19.yaml").write_text("{}")
    assert experiment_names().index("table19") == 18


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("preset: baseline", "prest: baseline", "did you mean 'blocks.0.rows.caris.preset'"),
        ("metric: miou", "metrics: miou", "did you mean 'blocks.0.metric'"),
        ('title: "Sep', 'titel: "Sep', "did you mean 'blocks.0.title'"),
        ("at_least: 10", "at_lest: 10", "did you mean"),
        ("printed: table1_miou", "printed: table1_miuo", "unknown printed table"),
        ("caris: {model", "cariss: {model", "unknown row 'cariss'"),
        ("train: combined", "train: combnied", "unknown data set"),
        ("row: caris\n", "row: caries\n", "unknown row 'caries'"),
        ("block: oiou", "block: oiuo", "unknown block"),
        ("id: table1", "id: table2", "file's name"),
    ],
)
def test_mistakes_are_named(folder: Path, old: str, new: str, says: str) -> None:
    spoil(folder, old, new)
    with pytest.raises(UserError) as error:
        load_experiment("table1")
    assert says in str(error.value)


def test_unknown_experiment() -> None:
    with pytest.raises(UserError, match="unknown experiment 'tabel1'") as error:
        load_experiment("tabel1")
    assert "did you mean 'table1'" in str(error.value)


def test_missing_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AMLRIS_EXPERIMENTS", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="AMLRIS_EXPERIMENTS"):
        experiment_names()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("metric: miou", "metric: mious", "unknown metric 'mious'"),
        ("preset: aml", "preset: amll", "did you mean 'aml'"),
        ("{afm.tau: 0.2}", "{afm.tua: 0.2}", "afm.tua"),
        ("split: val", "split: vall", "vall"),
    ],
)
def test_a_typo_in_an_own_layout_is_told_with_file_and_key(folder: Path, old: str, new: str, says: str) -> None:
    text = """# Shows    a table of our own
id: mine
title: "Mine"
blocks:
  - id: scores
    title: "Scores"
    layout:
      columns: {m: {header: "mIoU", metric: miou, dataset: refcoco+, split: val}}
      rows: {ours: "Ours"}
    rows:
      ours: {model: caris, preset: aml, set: {afm.tau: 0.2}}
"""
    (folder / "mine.yaml").write_text(text)
    assert load_experiment("mine").blocks[0].table().columns[0].metric == "miou"
    assert old in text
    (folder / "mine.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(UserError) as caught:
        load_experiment("mine")
    assert says in str(caught.value)
    assert "mine.yaml" in str(caught.value)
