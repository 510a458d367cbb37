"""The ranking in sentences."""

from __future__ import annotations

from dataclasses import replace

from amlrepro.verdicts.readings.distances import Distances
from amlrepro.verdicts.readings.result import ReadingsReport

FEW = 4  # names that a sentence lists


def sentences(report: ReadingsReport, rules: Distances) -> ReadingsReport:
    """The report with its `text`: what was found, how sure it is, and what it cannot say."""
    ranked = report.ranked
    if not ranked:
        reasons = dict.fromkeys(str(reading.reason) for reading in report.readings if reading.reason)
        return replace(report, text=(f"No reading is measured: {'; '.join(reasons)}.",))
    out = [_nearest(report), _rivals(report), _fit(report, rules), _variant(report, rules), *_screening(report)]
    if report.reference is not None:
        out.append(_reference(report.reference, rules))
    out += [_noise(report), *_missing(report), _worth(report)]
    return replace(report, text=tuple(sentence for sentence in out if sentence))


def _nearest(report: ReadingsReport) -> str:
    first = report.ranked[0]
    what = "the printed numbers" if report.target == "printed" else f"the target, a run of {report.target}"
    when = "before training" if report.initial_only else f"before training and after epoch {report.epoch}"
    same = f", which is the same measurement as {_names(first.same_as)}" if first.same_as else ""
    found = ""
    if report.target != "printed":
        own = report.find(report.target)
        place = None if own is None or own not in report.ranked else report.ranked.index(own) + 1
        right = first.name == report.target or report.target in first.same_as
        rank = "not trained" if place is None else f"rank {place}"
        found = " The known answer is found." if right else f" The known answer is {report.target}: {rank}."
    return (
        f"{_among(report)} measured {when}, {first.name} is nearest to {what}: distance "
        f"{first.distance:.2f} ({first.low:.2f} to {first.high:.2f}){same}.{found}"
    )


def _among(report: ReadingsReport) -> str:
    """Among how many the nearest was found."""
    number = len(report.ranked)
    if report.screening is None or report.initial_only:
        return f"Of {number} readings"
    return f"Among the {number} trained of {len(report.screening.readings)} readings,"


def _screening(report: ReadingsReport) -> list[str]:
    """Which readings were trained, and that nothing is known of the others."""
    found = report.screening
    if found is None:
        return []
    field, out = found.trained, found.left_out
    be, names = "would be" if report.initial_only else "were", ", ".join(field)
    spent = f"{found.spent:.1f} A800 hours by the paper's rates"
    if found.exceeded:
        line = f"{len(field)} {be} trained ({names}), which always are: {spent}, more than the {found.hours:g} given."
    else:
        line = (
            f"Chosen by the rule in readings.yaml, {len(field)} {be} trained ({names}): {spent}, {found.hours:g} given."
        )
    if not out or out[0].distance is None:
        return [line]
    rank = f"rank {found.place(out[0].name)} of {len(found.readings)} there, distance {out[0].distance:.2f}"
    unknown = "what they would measure after training is not known"
    return [
        line,
        f"{len(out)} {be} screened out before training, the nearest of them {out[0].name} ({rank}): {unknown}.",
    ]


def _rivals(report: ReadingsReport) -> str:
    first, rest = report.ranked[0], [r for r in report.candidates if r.label == "not told apart"]
    share = f"It is nearest in {100 * (first.nearest or 0):.0f} % of the draws"
    if not rest:
        return f"{share}; every other reading is farther beyond noise."
    farther = len(report.ranked) - 1 - len(rest)
    beyond = f", the other {farther} are farther beyond noise" if farther else ""
    return f"{share}; {len(rest)} cannot be told apart from it ({_names([r.name for r in rest])}){beyond}."


def _names(names: list[str] | tuple[str, ...]) -> str:
    shown = ", ".join(names[:FEW])
    return shown if len(names) <= FEW else f"{shown} and {len(names) - FEW} more"


def _fit(report: ReadingsReport, rules: Distances) -> str:
    if report.target != "printed":
        return ""
    if report.fit == "fits":
        return f"It is within the tolerances ({rules.fits:g} or less)."
    if report.fit == "near":
        return f"It is beyond the tolerances ({rules.fits:g}), though not by much: nearest does not mean right."
    return f"No reading explains the printed numbers: even the nearest is beyond {rules.excluded:g} tolerances."


def _variant(report: ReadingsReport, rules: Distances) -> str:
    """How Table 13 is read to fit the nearest."""
    own = report.ranked[0].variant
    return "" if own is None else f"Table 13 fits it best as the {rules.variants[own]}."


def _reference(distance: float, rules: Distances) -> str:
    usable = distance <= rules.fits
    then = "so Tables 7 and 14 can tell readings apart" if usable else "so Tables 7 and 14 say little about readings"
    return f"CARIS without masks is {distance:.2f} tolerances from its own printed numbers, {then}."


def _noise(report: ReadingsReport) -> str:
    if report.degrees:
        seeds = f"spread between seeds, pooled over alike readings (up to {report.degrees} degrees of freedom)"
    else:
        seeds = "no spread between seeds, which takes two seeds"
    pairs = "the choice of the evaluated pairs" if report.sampled else "not the choice of the evaluated pairs"
    return f"In the intervals: {seeds}, and {pairs}; {report.draws} draws."


def _missing(report: ReadingsReport) -> list[str]:
    absent = [r for r in report.readings if r.distance is None]
    partly = [r.name for r in report.ranked if len(r.seeds) < len(report.seeds)]
    out = []
    if absent:
        out.append(f"{len(absent)} readings are not measured: {_names([r.name for r in absent])} ({absent[0].reason}).")
    if partly:
        out.append(f"With fewer seeds than others: {_names(partly)}.")
    return out


def _worth(report: ReadingsReport) -> str:
    """What the ranking does not say."""
    if report.watermark:
        return f"{report.watermark[0].upper()}{report.watermark[1:]}. A known answer tests the procedure."
    if report.complete:
        missed = "one that was screened out, " if report.screening is not None else ""
        return f"The answer may be a reading that is not among these: {missed}two axes at once, or none of them."
    if report.target != "printed":
        return "A known answer tests the procedure and says nothing about the paper."
    return (
        "This is no verification yet: that takes every reading, or those that the rule chooses from all, after epoch 1 "
        "with two seeds, in the paper profile."
    )


def preset_note(report: ReadingsReport | None, preset: str) -> str:
    """What a table says of the preset its rows were trained with: unverified, or how it ranks."""
    what = f"The reading of the masking method ({preset})"
    found = None if report is None else report.find(preset)
    if report is None or found is None:
        return f"{what} is unverified: it has not been tested against the printed statistics."
    if report.stale:
        return f"{what} is unverified: the distances it was tested by have changed since."
    if not report.complete or found.distance is None:
        return f"{what} is unverified: the test against the printed statistics is not complete."
    first, rank = report.ranked[0], report.ranked.index(found) + 1
    field = "" if report.screening is None else f" trained ({len(report.screening.left_out)} screened out before)"
    place = f"{what} was tested against the printed statistics: rank {rank} of {len(report.ranked)}{field}, "
    distance = f"distance {found.distance:.2f} ({found.low:.2f} to {found.high:.2f})"
    if found is first:
        rivals = len(report.candidates) - 1
        then = f", {rivals} others cannot be told apart from it" if rivals else ", farther ones beyond noise"
    else:
        apart = "farther than" if found.label == "farther" else "not told apart from"
        then = f", {apart} {first.name} ({first.distance:.2f})"
    return f"{place}{distance}{then}{_explains(report)}."


def _explains(report: ReadingsReport) -> str:
    return "; no reading explains the printed numbers" if report.fit == "does not fit" else ""
