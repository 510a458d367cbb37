"""The claims file: cells exist, shapes fit, and the printed effects are those that the prose quotes."""

from __future__ import annotations

import pytest

from amlrepro.errors import UserError
from amlrepro.verdicts.claims import load_claims, parse_ref, pick_claim, printed_effect


def test_printed_effect_of_the_headline() -> None:
    """67.37 - 65.54 (Table 1, RefCOCO+ val)."""
    (pair,) = pick_claim("T1-D2-val").pairs
    assert printed_effect(pair) == pytest.approx(1.83)


def test_quoted_effects_are_the_printed_ones_or_an_audit_entry_says_why_not() -> None:
    for claim in load_claims():
        if claim.quoted is not None and len(claim.pairs) == 1 and not claim.see:
            assert printed_effect(claim.pairs[0]) == pytest.approx(claim.quoted, abs=0.0051), claim.id


def test_wrong_names_are_told_with_the_nearest() -> None:
    with pytest.raises(UserError) as told:
        pick_claim("T1-D2-vall")
    assert "T1-D2-val" in str(told.value)
    with pytest.raises(UserError):
        parse_ref("table1/oiou/caris")
