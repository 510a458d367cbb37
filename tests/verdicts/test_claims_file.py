"""The shipped claims: many enough, about cells that exist, and honest where the text misquotes."""

from __future__ import annotations

import pytest

from amlrepro.errors import UserError
from amlrepro.suite.printed import load_printed
from amlrepro.verdicts.claims import Claim, claims_path, find_cell, is_cited, load_claims, pick_claim, printed_effect
from amlrepro.verdicts.families import HEADLINE

MISQUOTED = {"T3-B", "T7-A-caris", "T7-A-learnable", "T2-B-val"}  # audit T3-B, T7-A, T2-B; and G.5's prose, T15-B


def test_there_are_forty_claims_and_more() -> None:
    assert len(load_claims()) >= 40
    assert {claim.kind for claim in load_claims()} == {"effect", "equivalence", "best_of", "all_splits"}


def test_every_cell_exists_and_only_rivals_are_cited() -> None:
    for claim in load_claims():
        for pair in claim.pairs:
            for ref in pair.refs:
                find_cell(ref)
            assert not is_cited(pair.refs[0]), claim.id
            assert pair.first != pair.second, claim.id


def test_quotes_that_differ_from_the_printed_cells_are_known() -> None:
    off = {
        claim.id
        for claim in load_claims()
        if claim.quoted is not None
        and printed_effect(claim.pairs[0]) != pytest.approx(claim.quoted, abs=0.0051)
        and not claim.id.startswith("T15-B")
    }
    assert off == MISQUOTED
    assert all(pick_claim(name).see for name in off)
    assert printed_effect(pick_claim("T3-B").pairs[0]) == pytest.approx(6.53)  # 63.79 - 57.26
    assert printed_effect(pick_claim("T7-A-caris").pairs[0]) == pytest.approx(4.61)  # 24.85 - 20.24
    assert printed_effect(pick_claim("F4B-A").pairs[0]) == pytest.approx(5.7)  # 9.4 - 3.7: less is better


@pytest.mark.parametrize("block", ["oiou", "miou", "combined"])
def test_state_of_the_art_is_against_the_strongest_cited_row_of_each_split(block: str) -> None:
    """Eight splits, CARIS in each, DETRIS where it is printed, and nobody cited who is above the one that is named."""
    claim = pick_claim({"oiou": "T1-SOTA1-oiou", "miou": "T1-SOTA1-miou", "combined": "T1-SOTA2"}[block])
    table = load_printed(f"table1_{block}")
    cited = [row.key for row in table.rows if row.kind == "cited"]
    for column in (column.key for column in table.columns if column.key != "avg"):
        rivals = {pair.refs[1].row for pair in claim.pairs if pair.refs[1].column == column}
        (named,) = rivals & set(cited)
        assert float(table.value(named, column) or 0) == max(float(table.value(row, column) or 0) for row in cited)
        run = {row.key for row in table.rows if row.kind == "reproduced" and table.value(row.key, column) is not None}
        assert rivals == {named} | run


def test_the_headline_is_small_and_about_printed_effects() -> None:
    headline = [claim for claim in load_claims() if claim.family == HEADLINE]
    effects = [printed_effect(claim.pairs[0]) for claim in headline]
    assert effects == pytest.approx([1.83, 1.33, 1.54, 0.80, 1.78])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"kind": "best_of"}, "two pairs or more"),
        ({"margin": 0.5}, "an equivalence has a margin"),
        ({"margn": 0.5}, "margn"),
        ({"margin": -0.5, "kind": "equivalence"}, "margin"),
        ({"pairs": [{"first": "table1/oiou/caris_amk/avg", "second": "table1/oiou/caris/avg"}]}, "caris_amk"),
    ],
)
def test_mistakes_are_told(changes: dict[str, object], told: str) -> None:
    from amlrepro.schema import parse_strict
    from amlrepro.verdicts.claims import _verify

    values = {**pick_claim("T1-D2-val").model_dump(mode="python"), **changes}
    with pytest.raises(UserError, match=told):
        _verify(parse_strict(Claim, values, claims_path()), "claims.yaml: T1-D2-val")
