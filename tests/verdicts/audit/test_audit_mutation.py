"""A changed printed number changes the answer: each check reads the numbers and copies nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from amlrepro.suite.printed import PrintedNumber
from amlrepro.verdicts.audit import run_audit
from amlrepro.verdicts.audit.checks import CHECKS, Outcome
from amlrepro.verdicts.audit.paper import Paper, load_paper

PAPER = load_paper()
TABLES = {
    "table1": ("table1_miou", "table1_oiou", "table1_combined"),
    "figure1d": ("fig1d_quoted", "table15"),
    "figure4b": ("fig4b_quoted",),
    "figure6": ("fig6_quoted",),
}
# Nothing in print would change these: a remark, a definition, facts of shapes or of code that are no numbers of tables.
CONSTANT = {
    "T7-C": "nothing is claimed",
    "EQ-S2": "true by definition",
    "EQ16": "true by definition",
    "EQ16B": "a shape that is not told",
    "EQ8": "shapes of the same letters",
    "X-CODE3": "a rule of the code",
    "EQ-S": "a simulation; the case below changes it",
    "F3-B": "a factor; the case below changes it",
    "T5-JL2": "a search among sizes that are not told",
}


def others(number: PrintedNumber) -> list[str]:
    """Other numbers with as many decimals: a little more, a little less, a fifth more."""
    step = 7 * 10.0**-number.decimals
    return [f"{value:.{number.decimals}f}" for value in (number + step, max(0.0, number - step), 1.2 * number)]


def answer(name: str, paper: Paper) -> Outcome | None:
    """What the check says, None for numbers with which nothing can be calculated."""
    try:
        return CHECKS[name].find(paper)
    except (KeyError, ZeroDivisionError, ValueError):
        return None


def changed(name: str) -> Iterator[Paper]:
    """The paper with one number changed, of those that concern a check."""
    entry = PAPER.entries[name]
    for key, numbers in entry.quoted.items():
        for place in range(len(numbers)):
            for text in others(numbers[place]):
                texts = [text if k == place else number.text for k, number in enumerate(numbers)]
                yield PAPER.with_quote(name, key, *texts)
    for key, numbers in entry.public.items():
        if len(numbers) == 1:
            yield PAPER.with_public(name, **{key: "0"})
            yield PAPER.with_public(name, **{key: entry.quoted.get(key, numbers)[0].text})
    tables = [table for each in entry.experiments for table in TABLES.get(each, (each,))]
    tables += ["appendix_a1_datasets"] * name.startswith("A1-")
    for table in dict.fromkeys(tables):
        for row in PAPER.tables[table].rows:
            for column, number in row.values.items():
                if number is not None:
                    for text in others(number):
                        yield PAPER.with_cell(table, row.key, column, text)
            for column in row.delta:
                yield PAPER.with_cell(table, row.key, f"delta:{column}", "7.77")


@pytest.mark.parametrize("name", [n for n, c in CHECKS.items() if c.by == "calculation" and n not in CONSTANT])
def test_a_changed_number_changes_the_answer(name: str) -> None:
    """What was consistent stops to be; what was wrong is wrong by other numbers, or right (cases by hand below)."""
    before = CHECKS[name].find(PAPER)
    answers = (found for paper in changed(name) if (found := answer(name, paper)) is not None)
    if before.verdict == "consistent":
        assert any(found.verdict != "consistent" for found in answers)
    else:
        assert any(found != before for found in answers)


@pytest.mark.parametrize(
    ("name", "cell", "verdict"),
    [
        ("T1-AVG5", ("table1_combined", "caris_aml", "avg", "71.6"), "consistent"),
        ("T1-AVG2", ("table1_miou", "lavt", "avg", "68.2"), "consistent"),
        ("T1-SOTA1", ("table1_oiou", "magnet", "refcoco.testA", "78.34"), "contradictory"),
        ("T1-D2", ("table1_miou", "caris", "refcoco+.val", "69.34"), "off_by"),
        ("T3-B", ("table3", "magnet_10ep", "refcoco+.oiou", "58.26"), "consistent"),
        ("T3-A", ("table3", "magnet_10ep", "refcoco.oiou", "68.53"), "off_by"),
        ("T4-B", ("table4", "caris_aml_tau030", "refcocog.val", "65.16"), "consistent"),
        ("T17-B", ("table17", "caris_aml_tau030", "refcoco+.testB", "59.74"), "consistent"),
        ("T5-JL", ("table5", "caris_aml", "jl_error", "0.2090"), "consistent"),
        ("T5-C", ("table5", "caris_aml_da4096", "oiou", "68.00"), "contradictory"),
        ("T9-A", ("table9", "detris_aml", "memory_mb", "12853"), "consistent"),
        ("T12-D", ("table12", "sim_mean", "ep5", "0.7900"), "off_by"),
        ("T13-A", ("table13", "tau020", "ep0", "0.0009"), "consistent"),
        ("T14-A", ("table14", "improvement_pct", "ep3", "12.9"), "off_by"),
        ("T15-C", ("table15", "highlight__caris", "refcoco.val.oiou", "56.65"), "consistent"),
        ("T15-E", ("table15", "haze__caris", "refcocog.val.pr50", "60.99"), "contradictory"),
        ("T16-B", ("table16", "caris_aml_tau040_rho12", "avg", "58.79"), "consistent"),
        ("T18-B", ("table18", "caris_aml", "delta:avg", "1.58"), "off_by"),
        ("A1-B", ("appendix_a1_datasets", "refcoco_plus", "train", "120191"), "consistent"),
        ("A1-A", ("appendix_a1_datasets", "refcoco", "val", "10835"), "contradictory"),
    ],
)
def test_cells_that_were_changed(name: str, cell: tuple[str, str, str, str], verdict: str) -> None:
    assert run_audit(PAPER.with_cell(*cell)).pick(name).verdict == verdict


@pytest.mark.parametrize(
    ("name", "key", "texts", "verdict"),
    [
        ("T2-B", "gains", ("0.81", "0.38", "0.98"), "consistent"),
        ("T7-A", "over_caris", ("4.6",), "contradictory"),
        ("T14-D", "high", ("26",), "contradictory"),
        ("T10-B", "epochs", ("9", "26", "43"), "consistent"),
        ("T15-B", "refcoco", ("3.50", "2.55", "3.47"), "contradictory"),
        ("EQ13", "kept", ("25",), "consistent"),
        ("F2-A", "constant", ("2",), "consistent"),
        ("F3-A", "proof", ("1",), "consistent"),
        ("F3-B", "factor", ("0.5",), "consistent"),
        ("EQ4", "vision", ("2048",), "consistent"),
    ],
)
def test_prose_that_was_changed(name: str, key: str, texts: tuple[str, ...], verdict: str) -> None:
    assert run_audit(PAPER.with_quote(name, key, *texts)).pick(name).verdict == verdict


def test_similarity_that_three_tokens_could_have() -> None:
    """S up to 0.787 with three tokens, none at 0.9: Table 12 would be possible."""
    paper = PAPER
    for epoch in range(1, 11):
        paper = paper.with_cell("table12", "sim_ge_090", f"ep{epoch}", "0.0000")
        paper = paper.with_cell("table12", "sim_mean", f"ep{epoch}", "0.7542")
    assert CHECKS["EQ-S"].find(paper).verdict == "consistent"
    assert CHECKS["EQ-S"].find(paper.with_cell("table12", "sim_mean", "ep9", "0.8000")).verdict == "contradictory"


def test_both_quotes_right() -> None:
    fixed = PAPER.with_quote("T7-A", "over_caris", "4.6").with_quote("T7-A", "over_learnable", "7.9")
    assert run_audit(fixed).pick("T7-A").verdict == "consistent"


def test_what_is_no_longer_wrong_no_longer_matters() -> None:
    def says(paper: Paper) -> set[str]:
        return {finding.id for matter in run_audit(paper).matters for finding in matter.findings}

    assert "T3-B" in says(PAPER)
    assert "T3-B" not in says(PAPER.with_cell("table3", "magnet_10ep", "refcoco+.oiou", "58.26"))
