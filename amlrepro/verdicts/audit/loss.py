"""Table 14: the training loss."""

from __future__ import annotations

from fractions import Fraction

from amlrepro.suite.printed import PrintedNumber
from amlrepro.verdicts.audit.checks import Outcome, check, judged, show, shows, texts
from amlrepro.verdicts.audit.paper import Paper
from amlrepro.verdicts.audit.rounding import change_rounds_to, exact, percent_change, rounds_to

CLOSE = 1  # percentage points by which the end of a range may miss and still count as off, not as wrong


def _losses(paper: Paper) -> dict[str, tuple[PrintedNumber, PrintedNumber]]:
    columns = [column.key for column in paper.tables["table14"].columns]
    return {key: (paper.number("table14", "caris", key), paper.number("table14", "caris_aml", key)) for key in columns}


def reductions(paper: Paper, phase: str | None = None) -> dict[str, Fraction]:
    """100 (1 - AML / CARIS) by epoch, of one printed phase or all."""
    kept = {c.key for c in paper.tables["table14"].columns if phase in (None, c.attrs["phase"])}
    return {key: -percent_change(*pair) for key, pair in _losses(paper).items() if key in kept}


def _epoch(key: str) -> str:
    return key.removeprefix("ep")


@check("T14-A")
def improvements(paper: Paper) -> Outcome:
    """The row of improvements."""
    wrong, close = [], []
    found = reductions(paper)
    for key, pair in _losses(paper).items():
        printed = paper.number("table14", "improvement_pct", key)
        case = f"epoch {_epoch(key)} is {show(found[key], 3)}, printed {printed.text}"
        if not change_rounds_to(*pair, printed):
            wrong.append(case)
        elif not rounds_to(found[key], printed):
            close.append(case)
    text = f"{len(found) - len(wrong) - len(close)} agree"
    text += f"; within the rounding of the losses: {'; '.join(close)}" * bool(close)
    text += f"; not: {'; '.join(wrong)}" * bool(wrong)
    return Outcome(
        judged(not wrong, "off_by"), f"{len(found)} values", text, {"wrong": len(wrong), "close": len(close)}
    )


def _range(paper: Paper, name: str, phase: str) -> Outcome:
    """A quoted range of reductions of one phase. An end that misses by less than a point is off, else it is false."""
    found = reductions(paper, phase).values()
    quotes = paper.quoted(name, "low"), paper.quoted(name, "high")
    ends = min(found), max(found)
    holds = all(rounds_to(end, quote) for end, quote in zip(ends, quotes, strict=True))
    close = all(abs(end - exact(quote)) < CLOSE for end, quote in zip(ends, quotes, strict=True))
    text = f"{show(ends[0], 1)} to {show(ends[1], 1)} %"
    numbers = {"low": float(ends[0]), "high": float(ends[1])}
    return Outcome(
        judged(holds, "off_by" if close else "contradictory"), f"{quotes[0].text} to {quotes[1].text} %", text, numbers
    )


@check("T14-B")
def early_phase(paper: Paper) -> Outcome:
    """Epochs 1 to 17."""
    return _range(paper, "T14-B", "early")


@check("T14-C")
def middle_phase(paper: Paper) -> Outcome:
    """Epochs 18 to 34."""
    return _range(paper, "T14-C", "mid")


@check("T14-D")
def late_phase(paper: Paper) -> Outcome:
    """Epochs 35 to 50."""
    return _range(paper, "T14-D", "late")


@check("T14-E")
def first_and_last(paper: Paper) -> Outcome:
    """The first and the last epoch."""
    losses = _losses(paper)
    quotes = paper.quoted("T14-E", "first"), paper.quoted("T14-E", "last")
    holds = all(change_rounds_to(*losses[key], quote) for key, quote in zip(("ep1", "ep50"), quotes, strict=True))
    values = [reductions(paper)[key] for key in ("ep1", "ep50")]
    numbers = {"first": float(values[0]), "last": float(values[1])}
    return Outcome(judged(holds, "off_by"), texts(quotes), shows(values), numbers)


@check("T14-F")
def gap_widens(paper: Paper) -> Outcome:
    """Whether the gap widens."""
    gaps = {key: exact(caris) - exact(aml) for key, (caris, aml) in _losses(paper).items()}
    relative = reductions(paper)
    keys = list(gaps)
    widest, peak = max(gaps, key=lambda key: gaps[key]), max(relative, key=lambda key: relative[key])
    text = f"absolute gap {show(gaps[keys[0]], 4)} (epoch {_epoch(keys[0])}), largest {show(gaps[widest], 4)} (epoch "
    text += f"{_epoch(widest)}), {show(gaps[keys[-1]], 4)} (epoch {_epoch(keys[-1])}). Relative gap at most "
    text += f"{show(relative[peak], 1)} % (epoch {_epoch(peak)}), {show(relative[keys[-1]], 1)} % at the end"
    holds = list(gaps.values()) == sorted(gaps.values()) or list(relative.values()) == sorted(relative.values())
    numbers = {"first": float(gaps[keys[0]]), "last": float(gaps[keys[-1]]), "peak": float(relative[peak])}
    return Outcome(judged(holds, "contradictory"), "widens", text, numbers)


@check("T14-G", "reading")
def two_losses(paper: Paper) -> Outcome:
    """What the two losses are of."""
    return Outcome(
        "unclear", "-", "AML's loss is taken on masked images (3.4), CARIS's on whole ones: not one quantity"
    )


@check("G4-CUR", "reading")
def curriculum(paper: Paper) -> Outcome:
    """Threshold and ratio over time."""
    taus = [str(row.label) for row in paper.tables["table13"].rows]
    text = "tau and rho are fixed (3.3, 4.1); S alone changes as the encoders train, and a dynamic tau was tried and "
    text += f"dropped (G.6.2). Table 13 has one row for each of the constants {', '.join(taus)}"
    return Outcome("contradictory", "control over time", text)
