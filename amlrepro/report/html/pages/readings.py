"""The page on readings: which of them fits the paper's printed statistics."""

from __future__ import annotations

from amlrepro.report.html.content import Chapter, Grid, Page, Text, Tile, Tone, grid
from amlrepro.verdicts.readings import ReadingResult, ReadingsReport, Screening

_LEAD = (
    "The paper's equations, its tables and its released code contradict each other. Here each reading of the method is "
    "measured before training; those that come near what the paper prints are trained for epoch 1, measured again and "
    "ranked by their distance from print."
)
_TONES: dict[str, Tone] = {"nearest": "good", "not told apart": "open", "farther": "bad", "not measured": ""}
_HOW = "`amlris readings` measures them; `--dry-run` says first what that costs, `--epoch0-only` takes minutes."


def readings_page(readings: ReadingsReport | None) -> Page:
    """The ranking, and what each reading's distance is made of."""
    if readings is None:
        chapters: tuple[Chapter, ...] = (
            Chapter("outcome", "Outcome", ("Not measured yet: the reading that the tables use is unverified.", _HOW)),
        )
    else:
        screened = () if readings.screening is None else (_screening(readings.screening, readings.initial_only),)
        found = _outcome(readings), _ranking(readings)
        chapters = (*found, *screened, _statistics(readings), _left_out(readings))
    return Page(
        "readings",
        "Which code produced this paper?",
        "Readings",
        _LEAD,
        chapters,
        seeds=readings.seeds if readings else (),
    )


def _outcome(report: ReadingsReport) -> Chapter:
    stale = ("The distances were changed since: run it again.",) if report.stale else ()
    aim = "the printed numbers" if report.target == "printed" else f"a run of {report.target} (a known answer)"
    tiles = [Tile("Target", aim), _measured(report)]
    tiles.append(Tile("Seeds", ", ".join(map(str, report.seeds)) or "none"))
    if report.fit:
        tiles.append(Tile("The nearest", report.fit))
    return Chapter("outcome", "Outcome", stale, tuple(tiles), report.text)


def _measured(report: ReadingsReport) -> Tile:
    if report.screening is None or report.initial_only:
        return Tile("Readings measured", f"{len(report.ranked)} of {len(report.readings)}")
    note = f"{len(report.screening.left_out)} screened out before training"
    return Tile("Readings trained", f"{len(report.ranked)} of {len(report.screening.readings)}", note)


def _ranking(report: ReadingsReport) -> Chapter:
    lines = [_line(report, rank, each) for rank, each in enumerate(report.readings, 1)]
    groups = [f">{title}" for title in report.groups.values()]
    headers = ["Reading", "Ranked", ">Distance", ">95 % of draws", ">Nearest in", *groups]
    note = (
        "A distance of 1 is as far as the tolerances allow on average; these are fixed in a file whose hash the result "
        "keeps. `Nearest in` is the share of draws (of seeds and of pairs) in which a reading comes first. Draws add "
        "noise, so they lie farther out than what was measured."
    )
    return Chapter("ranking", "Ranking", grids=(grid("Nearest first", headers, lines, note),))


def _line(report: ReadingsReport, rank: int, each: ReadingResult) -> list[Text | str]:
    same = f"the same measurement as {', '.join(each.same_as)}" if each.same_as else f"preset {each.preset}"
    name = Text(f"{rank}. {each.title}" if each.distance is not None else each.title, detail=same)
    label = Text(each.label, _TONES[each.label], detail=each.reason or "")
    if each.distance is None:
        return [name, label, *["–"] * (3 + len(report.groups))]
    interval = "–" if each.low is None or each.high is None else f"{each.low:.2f} to {each.high:.2f}"
    nearest = "–" if each.nearest is None else f"{100 * each.nearest:.0f} %"
    groups = [_number((each.groups or {}).get(group)) for group in report.groups]
    return [name, label, f"{each.distance:.2f}", interval, nearest, *groups]


def _statistics(report: ReadingsReport) -> Chapter:
    """What the distance of the nearest and of its rivals is made of."""
    grids = [_deviations(each, report.groups) for each in report.candidates if each.statistics]
    return Chapter("statistics", "What the distances are made of", grids=tuple(grids))


def _deviations(reading: ReadingResult, groups: dict[str, str]) -> Grid:
    lines = [
        [each.name, groups.get(each.group, each.group), _plain(each.ours), _plain(each.target), f"{each.deviation:.2f}"]
        for each in reading.statistics
    ]
    read_as = f" (Table 13 read as {reading.variant})" if reading.variant else ""
    return grid(f"{reading.title}{read_as}", ["Statistic", "Table", ">Here", ">Target", ">In tolerances"], lines)


def _screening(found: Screening, initial_only: bool) -> Chapter:
    """All readings before training: which of them were trained, and why the others were not."""
    lines: list[list[Text | str]] = []
    for rank, each in enumerate(found.readings, 1):
        same = f"the same numbers as {', '.join(each.same_as)}" if each.same_as else ""
        label = Text("trained" if each.trained else "screened out", "good" if each.trained else "", detail=each.reason)
        lines.append([Text(f"{rank}. {each.title}", detail=same), _number(each.distance), f"{each.hours:.1f}", label])
    said = (
        "The rule was written down before any training on real data, in the file whose hash the result keeps. All "
        "readings are measured before training; the presets are always trained, then the nearest of the others, as "
        "many as fit "
        f"into {found.hours:g} A800 hours by the paper's rates. {'They would take' if initial_only else 'These take'} "
        f"{found.spent:.1f} h, {found.common:.1f} of them for measuring before training and for CARIS without masks."
    )
    headers = ["Reading", ">Distance before training", ">A800 hours", "Then"]
    note = (
        "The distance before training is made of Table 13's numbers of epoch 0 alone. Hours: training for epoch 1 and "
        "scoring, all seeds together, in the paper profile."
    )
    return Chapter(
        "screening", "Screening", (said,), grids=(grid("Nearest before training first", headers, lines, note),)
    )


def _left_out(report: ReadingsReport) -> Chapter:
    """Departures that are no readings of their own."""
    points = tuple(f"{name}: {reason}" for name, reason in report.left_out)
    return Chapter("left-out", "No readings of their own", () if points else ("None.",), points=points)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _plain(value: float) -> str:
    return f"{value:.4g}"
