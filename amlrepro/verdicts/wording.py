"""Verdicts in one sentence each, for people. A difference within the noise between seeds is never called better."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlrepro.verdicts.labels import (
    COMPATIBLE,
    CONTRADICTED,
    EQUAL,
    HERE,
    LARGER,
    ONE_READING,
    REPRODUCED,
    SMALLER,
    TOO_EARLY,
    UNDECIDABLE,
    UNDECIDED,
    UNDER_HALF,
    UNKNOWN,
    WRONG_SIGN,
    WRONG_SIZE,
    Label,
)
from amlrepro.verdicts.noise import ENOUGH
from amlrepro.verdicts.power import AFFORDABLE

if TYPE_CHECKING:
    from amlrepro.verdicts.verdict import Verdict

# How a label is shown in a narrow column.
SHORT: dict[Label, str] = {
    COMPATIBLE: "direction, size compatible",
    SMALLER: "direction, smaller",
    LARGER: "direction, larger",
    UNDER_HALF: "real, under half",
    ONE_READING: "not under this reading",
}


def number(value: float, beside: float = 0.0) -> str:
    """A difference as it is shown: two decimals; four where it, and what stands beside it, is small."""
    digits = 2 if max(abs(value), abs(beside)) >= 0.1 or value == beside == 0 else 4
    return f"{round(value, digits) + 0.0:+.{digits}f}"


def interval(low: float, high: float) -> str:
    """`-0.12 to +1.92`."""
    return f"{number(low, high)} to {number(high, low)}"


def sentence(verdict: Verdict) -> str:
    """What is said of a claim."""
    if verdict.why_not is not None:
        return _not_run(verdict)
    text = _said(verdict, verdict.provisional or verdict.label)
    if verdict.repeated:
        several = len(verdict.pairs) > 1
        text += (
            f" Of {len(verdict.claim.pairs)} comparisons {len(verdict.pairs)} differ{'' if several else 's'} here; the "
            "others are the same numbers again, and count once."
        )
    if verdict.later is not None:
        text += f" Decided at {verdict.look} seeds; the later look decides nothing."
    if not verdict.gates:
        return text
    reasons = "; ".join(verdict.gates)
    return f"Invalid: {reasons}. Without that: {text}" if verdict.look else f"{text} Besides: {reasons}."


def _not_run(verdict: Verdict) -> str:
    needed = ""
    if verdict.expected and verdict.seeds_to_decide is not None:
        seeds = verdict.seeds_to_decide
        more = f", more than {AFFORDABLE}: not to be decided" if seeds > AFFORDABLE else ""
        needed = f" By the printed effect and the noise known beforehand it takes {seeds} seeds an arm{more}."
    return f"Not run: {verdict.why_not}.{needed}"


def _said(verdict: Verdict, label: Label) -> str:
    if label == UNKNOWN:
        nu = min(pair.nu for pair in verdict.pairs)
        return f"Variance unknown: {nu} of {ENOUGH} degrees of freedom. {_plain(verdict)}"
    if label == TOO_EARLY:
        return f"Before the first look: {verdict.seeds} of 3 seeds an arm. {_plain(verdict)}"
    found = _found(verdict)
    if label == ONE_READING:
        others = ", ".join(f"{name}: {said}" for name, said in verdict.readings.items())
        rest = others or "the other reading has not been run"
        return f"{found}: {verdict.failed_as} under the reading {verdict.reading}; {rest}."
    if label in (UNDECIDED, UNDECIDABLE):
        return f"{found}: {_open(verdict)}."
    return f"{found}: {_decided(verdict, label)}."


def _plain(verdict: Verdict) -> str:
    """What is there, without a word on whether it means anything."""
    pair = verdict.lead
    if pair.estimate is None:
        return ""
    return f"The difference is {number(pair.estimate)} so far, which says nothing yet."


def _found(verdict: Verdict) -> str:
    pair = verdict.lead
    if pair.estimate is None or pair.low is None or pair.high is None:
        return ""
    which = f" ({pair.first.row} against {pair.second.row}, {pair.first.column})" if len(verdict.pairs) > 1 else ""
    weakest = "weakest of " + str(len(verdict.pairs)) + ": " if len(verdict.pairs) > 1 else ""
    return f"{weakest}{number(pair.estimate)}{which}, interval {interval(pair.low, pair.high)}"


def _decided(verdict: Verdict, label: Label) -> str:
    printed, outcome = verdict.printed, verdict.outcome
    assert outcome is not None
    if label in (COMPATIBLE, SMALLER, LARGER) and printed is not None and outcome.band is not None:
        band = interval(*outcome.band)
        how = {COMPATIBLE: "compatible with", SMALLER: "smaller than", LARGER: "larger than"}[label]
        return f"the direction is reproduced, the size is {how} the printed {number(printed)} (compatible: {band})"
    if label in (WRONG_SIZE, UNDER_HALF) and printed is not None:
        real = "there is an effect, but it is" if label == UNDER_HALF else "it is"
        return f"{real} under half of the printed {number(printed)}"
    if label == WRONG_SIGN:
        return "it goes the other way"
    if label == EQUAL:
        return f"the two differ by less than the margin {verdict.claim.margin:g}"
    if label in CONTRADICTED:
        return f"the two differ by more than the margin {verdict.claim.margin:g}"
    if label in REPRODUCED:
        return "ahead everywhere" if verdict.claim.kind == "all_splits" else str(label)
    return {value: f"{value}, of small models' own numbers" for value in HERE.values()}.get(label, str(label))


def _open(verdict: Verdict) -> str:
    seeds = verdict.seeds_to_decide
    within = "not told apart from no effect" if verdict.claim.kind != "equivalence" else "neither equal nor different"
    if verdict.sigma == 0 and verdict.estimate == 0:
        return f"{within}: every seed of both gives the same number"
    if seeds is None:
        return f"{within}, and no number of seeds would decide it as it stands"
    if seeds > AFFORDABLE:
        return (
            f"{within}; it would take {seeds} seeds an arm, more than {AFFORDABLE}, if the truth is what is estimated"
        )
    return f"{within}; {seeds} seeds an arm would decide it if the truth is what is estimated"
