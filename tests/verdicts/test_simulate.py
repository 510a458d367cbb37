"""Error rates of the procedure: those that were worked out beforehand, and those that families and looks must hold."""

from __future__ import annotations

import math

import pytest

from amlrepro.verdicts.labels import (
    COMPATIBLE,
    CONTRADICTED,
    DIRECTION,
    LARGER,
    SMALLER,
    UNDECIDABLE,
    UNDECIDED,
    Label,
)
from amlrepro.verdicts.simulate import Truth, simulate, simulate_family

DRAWS = 10_000
REPRODUCED = (DIRECTION, COMPATIBLE, SMALLER, LARGER)


def rate(rates: dict[Label, float], *labels: Label) -> float:
    return sum(rates.get(label, 0.0) for label in labels)


def near(expected: float) -> object:
    """Within four standard errors of the simulation, and half a percent for the rounding of what was expected."""
    return pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / DRAWS) + 0.005)


def test_rates_worked_out_beforehand() -> None:
    """sigma 0.45, 3 seeds, nu 4, d = 1.83, one look at the whole 5 %: true 1.83, 0.9 and 0."""
    as_printed, half, none = (simulate(effect, 1.83, draws=DRAWS) for effect in (1.83, 0.9, 0.0))
    assert rate(as_printed, COMPATIBLE) == near(0.95)
    assert rate(half, COMPATIBLE) == near(0.41)
    assert rate(half, UNDECIDED, UNDECIDABLE) == near(0.52)
    assert rate(none, *CONTRADICTED) == near(0.47)
    assert rate(none, UNDECIDED, UNDECIDABLE) == near(0.51)
    assert rate(none, COMPATIBLE) == near(0.01)
    assert rate(none, *REPRODUCED) < 0.025 + 4 * math.sqrt(0.025 / DRAWS)


def test_equality_is_seldom_said_of_what_differs_by_the_margin() -> None:
    at_margin = simulate(0.5, None, margin=0.5, sigma=0.1, draws=4000)
    assert at_margin["equal within the margin"] == pytest.approx(0.05, abs=4 * math.sqrt(0.05 / 4000))


@pytest.mark.slow
def test_a_family_without_effects_is_seldom_decided_wrongly() -> None:
    """Ten headline claims without any effect, two looks: at most 5 % of papers get one wrong decision, also where the
    printed effects let most be contradicted in size (rightly) and so hand their level on."""
    for printed in (None, 1.83):
        found = simulate_family([Truth(0.0, printed)] * 10, "holm", draws=2000)
        assert found.any_wrong < 0.05 + 4 * math.sqrt(0.05 * 0.95 / 2000)


@pytest.mark.slow
def test_false_discoveries_stay_below_the_level() -> None:
    """Half of ten claims true: of what is decided, at most 5 % is wrong on average."""
    found = simulate_family([Truth(0.0)] * 5 + [Truth(1.83)] * 5, "benjamini-hochberg", draws=2000)
    assert found.wrong_share < 0.05
    assert rate(dict(found.labels[9]), *REPRODUCED) > 0.5


def test_a_second_look_does_not_undo_the_first() -> None:
    """Two looks at 2.5 % each find more than one of them and err in less than 5 %."""
    both = simulate_family([Truth(1.0)], "holm", draws=2000)
    first = simulate_family([Truth(1.0)], "holm", looks=(3,), draws=2000)
    null = simulate_family([Truth(0.0)], "holm", draws=2000)
    assert rate(dict(both.labels[0]), DIRECTION) > rate(dict(first.labels[0]), DIRECTION) + 0.1
    assert null.any_wrong < 0.05 + 4 * math.sqrt(0.05 * 0.95 / 2000)
